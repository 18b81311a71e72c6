"""What people should know of a data set before they train on it: lines of the data, of its classes, and of what is odd.

Each function looks at one thing and returns a line, or none. Images are uint8 [N, side, side], or with 3 channels
behind in colour, and `files` names the file of each image, or is empty where the images have none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from dcgan_tf1.data.decoding import IN_ALPHA, NOT_SQUARE, Form
from dcgan_tf1.data.readers import shorten

if TYPE_CHECKING:
    from dcgan_tf1.data.sources import Dataset

_WIDTH = 140  # characters of a list in a line
_FEW = 10  # images of a class
_DARK = 32  # the least grey, of 255, of a brightest pixel
_BLACK = 0.1  # from this grey on, from 0 to 1, a border is no black paper
_CLEAR = 0.4  # borders that are this far from black, or from white, are of one kind
_CHANCE = 0.02  # the share of images that may be of the other kind by chance


def describe(data: "Dataset", form: Form, batch_size: int, tests: int) -> list[str]:
    """All lines of the training images `data`, of which a batch takes so many, and whose test split has `tests`."""
    count, counts = len(data.images), data.counts
    of_classes = f" of {_count(len(counts), 'class')}" if counts else " without labels"
    of_tests = f"; {_count(tests, 'test image')}" if tests else ""
    about = [f"data: {shorten(data.name)}, {_count(count, 'image')}{of_classes}{of_tests}"]
    about += [f"classes: {_listed(counts)}"] if counts else []
    notes = [
        *data.notes,
        *uniform(data.images, data.files),
        *dark(data.images, data.files),
        *borders(data.images, data.files, form),
        *few_of_a_class(counts),
        *small_batch(count, batch_size, data.files),
    ]
    return about + [f"note: {line}" for line in notes]


def few_of_a_class(counts: Mapping[str, int]) -> list[str]:
    """Classes with very few images."""
    few = {name: count for name, count in counts.items() if count < _FEW}
    return [f"less than {_FEW} images: {len(few)} of {len(counts)} classes, {_listed(few)}"] if few else []


def small_batch(count: int, batch_size: int, files: Sequence[str]) -> list[str]:
    """Fewer images than a batch has, which may be in a few sheets."""
    hint = "; a sheet of many digits is cut by --grid ROWSxCOLUMNS" if count == len(files) < _FEW else ""
    return [f"fewer images than a batch of {batch_size}: a batch has {count}{hint}"] if count < batch_size else []


def passed_over(others: Sequence[str], pictures: Sequence[str]) -> list[str]:
    """Files that are no pictures, and the folders that hold nothing but such files."""
    empty = sorted({name.partition("/")[0] for name in others if "/" in name} - {p.partition("/")[0] for p in pictures})
    left = f"; no picture is in {shorten(', '.join(empty), 60)}" if empty else ""
    return [f"passed over {by_suffix(others)}, the first {shorten(others[0])}{left}"] if others else []


def by_suffix(files: Sequence[str]) -> str:
    """How many `files` there are, and of which suffixes."""
    suffixes = Counter(PurePosixPath(name).suffix.lower()[:10] or "no suffix" for name in files)
    most = ", ".join(f"{suffix} ({count})" for suffix, count in suffixes.most_common(4))
    return f"{_count(len(files), 'file')}, {most}"


def odd_pictures(odd: Mapping[str, Sequence[str]], count: int, form: Form) -> list[str]:
    """Pictures, of `count`, that were not taken as they are; `odd` has their names by what `decoding.decode` says."""
    square = {
        "pad": "they are filled up with the grey of their borders; --fit crop cuts them",
        "crop": "what is outside the square in their middle is cut off; --fit pad keeps it",
    }
    done = {NOT_SQUARE: square[form.fit], IN_ALPHA: "it is taken for the picture"}
    return [_first(kind, len(odd[kind]), f"{count} pictures", odd[kind][0], done[kind]) for kind in odd]


def uniform(images: np.ndarray, files: Sequence[str]) -> list[str]:
    """Images of a single grey."""
    return _some(_is_uniform(images), files, "of a single grey")


def dark(images: np.ndarray, files: Sequence[str]) -> list[str]:
    """Images that are nearly black, as those of 12 bits in 16, and arrays of 0 and 1."""
    dark = images.max(axis=tuple(range(1, images.ndim))) < _DARK
    advice = f"no pixel reaches {_DARK} of 255; --stretch makes the brightest ones white"
    return _some(dark & ~_is_uniform(images), files, "nearly black", advice)


def borders(images: np.ndarray, files: Sequence[str], form: Form) -> list[str]:
    """Borders of grey images that are not the black paper which networks expect."""
    if images.ndim > 3:
        return []
    border = np.concatenate([images[:, [0, -1]], images[:, :, [0, -1]].swapaxes(1, 2)], 1).reshape(len(images), -1)
    papers = np.median(border, 1) / 255
    uniform = _is_uniform(images)
    bright, black = (papers > 1 - _CLEAR) & ~uniform, (papers < _CLEAR) & ~uniform
    if min(bright.sum(), black.sum()) > _CHANCE * len(images):
        return _some(
            bright, files, "bright at the border", f"{black.sum()} are dark there; dark ink on white must be inverted"
        )
    grey = papers[~uniform].mean() if not uniform.all() else 0
    if grey < _BLACK:
        return []
    if grey > 0.5:
        advice = "leave out --invert" if form.invert else "for dark ink on white paper, start with --invert"
        return [f"the borders of the images are bright, {grey:.0%} of white; {advice}"]
    advice = "give the images more contrast" if form.stretch else "--stretch makes the darkest pixels black"
    return [f"the borders of the images are grey, {grey:.0%} of white, and black is expected; {advice}"]


def _is_uniform(images: np.ndarray) -> np.ndarray:
    """Which images are of a single grey, bool [N]."""
    inner = tuple(range(1, images.ndim))
    return images.min(inner) == images.max(inner)


def _some(chosen: np.ndarray, files: Sequence[str], what: str, advice: str = "") -> list[str]:
    """A line about the images that were chosen, bool [N]; none where there are none."""
    index = int(chosen.argmax())
    name = files[index] if files else f"image {index}"
    return [_first(what, chosen.sum(), f"{len(chosen)} images", name, advice)] if chosen.any() else []


def _first(what: str, count: int, of: str, name: str, advice: str) -> str:
    """How many images are what, the first of them, and what to do."""
    return f"{what}: {count} of {of}, the first {shorten(name)}{advice and '; '}{advice}"


def _count(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def _listed(counts: Mapping[str, int]) -> str:
    """Names and their numbers; of many, the first ones and the last one."""
    parts = [f"{name} ({count})" for name, count in counts.items()]
    lengths = np.cumsum([len(part) + 2 for part in parts])
    if lengths[-1] <= _WIDTH:
        return ", ".join(parts)
    return ", ".join([*parts[: np.searchsorted(lengths, _WIDTH - len(parts[-1]))], "...", parts[-1]])
