"""What people should know of a data set before they train on it: lines of the data, of its classes, and of what is odd.

Images are uint8 [N, side, side], or with 3 channels behind in colour; `files` names the file of each, or is empty.
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
_DARK = 32  # of 255: an image whose brightest pixel is below it can hardly be seen
_BLACK = 0.1  # from this grey on, from 0 to 1, a border is no black paper
_CLEAR = 0.4  # a border this near to black, or to white, is dark or bright
_CHANCE = 0.02  # the share of images with the other kind of border that says nothing


def describe(data: "Dataset", form: Form, batch_size: int, tests: int) -> list[str]:
    """All lines of the training images `data`, of which a batch takes so many, and whose test split has `tests`."""
    count, counts = len(data.images), data.counts
    of_classes = f" of {_count(len(counts), 'class')}" if counts else " without labels"
    of_tests = f"; {_count(tests, 'test image')}" if tests else ""
    lines = [f"data: {shorten(data.name)}, {_count(count, 'image')}{of_classes}{of_tests}"]
    lines += [f"classes: {_listed(counts)}"] if counts else []
    notes = [*data.notes, *of_images(data.images, data.files, form)]
    if few := {name: number for name, number in counts.items() if number < _FEW}:
        notes.append(f"less than {_FEW} images: {len(few)} of {len(counts)} classes, {_listed(few)}")
    if count < batch_size:
        hint = "; a sheet of many digits is cut by --grid ROWSxCOLUMNS" if count == len(data.files) < _FEW else ""
        notes.append(f"fewer images than a batch of {batch_size}: a batch has {count}{hint}")
    return lines + [f"note: {line}" for line in notes]


def of_files(pictures: Sequence[str], others: Sequence[str], odd: Mapping[str, Sequence[str]], form: Form) -> list[str]:
    """Lines about picture files, by their names, about the `others` beside them, and about those that are `odd`.

    Of these `odd` has the names by what `decoding.decode` says of them.
    """
    lines = []
    if others:
        with_picture, without = (
            {name.partition("/")[0] for name in names if "/" in name} for names in (pictures, others)
        )
        empty = ", ".join(sorted(without - with_picture))
        left = f"; no picture is in {shorten(empty, 60)}" if empty else ""
        lines.append(f"passed over {by_suffix(others)}, the first {shorten(others[0])}{left}")
    square = {
        "pad": "they are filled up with the grey of their borders; --fit crop cuts them",
        "crop": "what is outside the square in their middle is cut off; --fit pad keeps it",
    }
    done = {NOT_SQUARE: square[form.fit], IN_ALPHA: "it is taken for the picture"}
    return lines + [_first(kind, len(odd[kind]), f"{len(pictures)} pictures", odd[kind][0], done[kind]) for kind in odd]


def by_suffix(files: Sequence[str]) -> str:
    """Say how many `files` there are, and of which suffixes."""
    suffixes = Counter(PurePosixPath(name).suffix.lower()[:10] or "no suffix" for name in files)
    most = ", ".join(f"{suffix} ({count})" for suffix, count in suffixes.most_common(4))
    return f"{_count(len(files), 'file')}, {most}"


def of_images(images: np.ndarray, files: Sequence[str], form: Form) -> list[str]:
    """Lines about images that are blank or can hardly be seen, and about grey ones whose border is no black paper."""
    inner = tuple(range(1, images.ndim))
    darkest, brightest = images.min(inner), images.max(inner)
    blank = darkest == brightest

    def some(chosen: np.ndarray, what: str, advice: str = "") -> list[str]:
        index = int(chosen.argmax())
        name = files[index] if files else f"image {index}"
        return [_first(what, chosen.sum(), f"{len(images)} images", name, advice)] if chosen.any() else []

    advice = f"no pixel reaches {_DARK} of 255; --stretch makes the brightest ones white"
    lines = some(blank, "of a single grey") + some((brightest < _DARK) & ~blank, "nearly black", advice)
    if images.ndim > 3 or blank.all():
        return lines
    border = np.concatenate([images[:, [0, -1]], images[:, :, [0, -1]].swapaxes(1, 2)], 1).reshape(len(images), -1)
    papers = np.median(border, 1) / 255
    dark, bright = (papers < _CLEAR) & ~blank, (papers > 1 - _CLEAR) & ~blank
    if min(dark.sum(), bright.sum()) > _CHANCE * len(images):
        return lines + some(
            bright, "bright at the border", f"{dark.sum()} are dark there; dark ink on white must be inverted"
        )
    grey = papers[~blank].mean()
    if grey > 0.5:
        advice = "leave out --invert" if form.invert else "for dark ink on white paper, start with --invert"
        lines.append(f"the borders of the images are bright, {grey:.0%} of white; {advice}")
    elif grey >= _BLACK:
        advice = "give the images more contrast" if form.stretch else "--stretch makes the darkest pixels black"
        lines.append(f"the borders of the images are grey, {grey:.0%} of white, and black is expected; {advice}")
    return lines


def _first(what: str, count: int, of: str, name: str, advice: str) -> str:
    """Say how many images are odd in one way, which is the first of them, and what can be done."""
    return f"{what}: {count} of {of}, the first {shorten(name)}{advice and '; '}{advice}"


def _count(count: int, noun: str) -> str:
    """Say a number and a noun, which is plural unless there is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"


def _listed(counts: Mapping[str, int]) -> str:
    """List names with their numbers of images; of many, the first ones and the last one."""
    parts = [f"{name} ({count})" for name, count in counts.items()]
    lengths = np.cumsum([len(part) + 2 for part in parts])
    if lengths[-1] > _WIDTH:
        parts[np.searchsorted(lengths, _WIDTH - len(parts[-1])) : -1] = ["..."]
    return ", ".join(parts)
