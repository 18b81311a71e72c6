"""What a folder, an archive or a file is: the one place that recognises it, and hands it to the reader of its kind."""

import contextlib
import functools
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dcgan_tf1.data import arrays, cifar, emnist, folders, idx, parquet, tables
from dcgan_tf1.data.classes import named
from dcgan_tf1.data.decoding import KINDS, SUFFIXES, Form
from dcgan_tf1.data.kinds import unread_kind
from dcgan_tf1.data.places import File, Place, is_zip, open_place
from dcgan_tf1.data.readers import (
    MOST_BYTES,
    DataFile,
    Images,
    data_errors,
    open_data_file,
    read_exactly,
    shorten,
    unzipped,
)
from dcgan_tf1.data.splits import choose, split_of
from dcgan_tf1.errors import DataError

_IDX = re.compile(r"(.*?)(images|labels)[-.]idx\d[-.](ubyte|int)(\.gz)?", re.IGNORECASE)
_CONVERT = "expected a kind that is read; see docs/pictures.md#converting"
_CIFAR = {"train": "data_batch_", "test": "test_batch."}


def read(path: Path, split: str, form: Form, announce: Callable[[str], object], labels: str = "") -> Images:
    """The images of `split` in a folder, an archive or a file of any of the kinds in docs/pictures.md.

    Args:
        labels: the path of a file of their labels; without it they are where the kind has them.
        announce: is given lines about pictures that were passed over and the like.

    Raises DataError where there are no images, or where it is not clear which are meant.
    """
    given = _read_labels(Path(labels)) if labels else []
    with data_errors(path), open_place(path) as place:
        kind, files = _recognise(place, alone=path.is_file() and place.path != path)
        if kind == "pictures":
            found = folders.read(place, files, split, form, announce, given)
        elif kind == "parquet":
            chosen = choose([(split_of(file.name), file) for file in files], split)
            opener = functools.partial(_open_seekable, place)
            found = parquet.read(place.path, _shards(chosen), opener, form, announce)
        else:
            found = {"idx": _read_idx, "cifar": _read_cifar, "arrays": _read_arrays, "csv": _read_csv}[kind](
                place, files, split
            )
            if form.invert:
                found = found._replace(pixels=255 - found.pixels)
        if given and kind != "pictures":
            found = Images(found.pixels, *named([label for _, label in given]))
        if found.labels is not None and len(found.labels) != len(found.pixels):
            raise DataError(f"found {len(found.labels)} labels, expected {len(found.pixels)}, one for each image")
        of_emnist = next((name for file in files if emnist.is_emnist(name := _base(file))), None)
        if of_emnist and kind in ("idx", "csv") and not given:
            found = found._replace(names=emnist.names_of(of_emnist))
        if kind == "idx" and not of_emnist and not form.transpose and "emnist" in str(path.resolve()).lower():
            announce("note: EMNIST's images lie on their sides, and so these may; --transpose puts them upright")
        if form.transpose or (of_emnist and kind in ("idx", "csv")):
            found = found._replace(pixels=np.ascontiguousarray(found.pixels.swapaxes(1, 2)))
        return found


def _base(file: File) -> str:
    return file.name.rpartition("/")[2]


def _recognise(place: Place, alone: bool) -> tuple[str, list[File]]:
    """The kind of what lies in a place, and the files of that kind: that of most bytes, if there are several.

    The kind of a file that is `alone` and not in a folder or an archive is told by its first bytes, whatever its name.
    """
    groups = defaultdict(list)
    for file in place.files:
        groups[_kind(file)].append(file)
    others = groups.pop("", [])
    if not groups and alone:
        with place.open(others[0]) as content:
            return _kind_of_content(content, others[0].name), others
    if not groups:
        raise DataError(_nothing(place, others))
    kind = max(groups, key=lambda kind: (kind in ("idx", "cifar"), sum(file.size for file in groups[kind])))
    return kind, groups[kind]


def _kind(file: File) -> str:
    """The kind of a file by its name; nothing for one that is of no kind, or is a table of labels."""
    name = _base(file).lower()
    if _IDX.fullmatch(name):
        return "idx"
    if name.endswith(".bin") and name.startswith(tuple(_CIFAR.values())):
        return "cifar"
    if name.endswith((".csv", ".csv.gz")) and name not in folders.TABLES:
        return "csv"
    if name.endswith((".npy", ".npz", ".npy.gz")):
        return "arrays"
    return "parquet" if name.endswith(".parquet") else "pictures" if name.endswith(SUFFIXES) or file.fault else ""


def _kind_of_content(file: DataFile, name: str) -> str:
    """The kind of a file that is alone, by its first bytes. Raises DataError, which says what it is if it is none."""
    if is_zip(file):
        return "arrays"
    head = unzipped(file).peek(64)[:64]
    if head[:6] == b"\x93NUMPY":
        return "arrays"
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:2] == b"\0\0" and len(head) > 3 and head[2] in idx.TYPES:
        return "idx"
    if re.fullmatch(rb"[\x20-\x7e\t\r\n]*[0-9,;][\x20-\x7e\t\r\n]*", head) and not unread_kind(head, name):
        return "csv"
    known = unread_kind(head, name)
    if known:
        raise DataError(f"found {known}, {_CONVERT}")
    raise DataError("found a file of no known kind, expected one of those in docs/pictures.md")


def _nothing(place: Place, others: list[File]) -> str:
    """The fault of a place without anything to read, which says what is there instead."""
    suffixes = Counter(Path(file.name).suffix.lower() for file in others)
    if not suffixes:
        return f"found no picture, expected {KINDS}, or files of another kind in docs/pictures.md"
    suffix, count = suffixes.most_common(1)[0]
    first = min(file for file in others if Path(file.name).suffix.lower() == suffix)
    with place.open(first) as content:
        known = unread_kind(unzipped(content).peek(64)[:64], first.name)
    beside = f"found no picture beside {count} other files ({shorten(suffix or _base(first), 10)})"
    if known:
        return f"{beside}; {_base(first)} is {known}, {_CONVERT}"
    return f"{beside}, expected {KINDS}, or files of another kind in docs/pictures.md"


# Files of arrays


@contextlib.contextmanager
def _open_seekable(place: Place, file: File) -> Iterator[DataFile]:
    """A file that is not read forward alone: what lies in an archive is held in memory."""
    with place.open(file) as content:
        if place.path.is_file():
            if content.limit > MOST_BYTES:
                raise DataError(f"found {content.limit} bytes, expected at most {MOST_BYTES} in an archive")
            content = DataFile(io.BytesIO(read_exactly(content, content.limit)), content.limit)
        yield unzipped(content)


def _shards(files: list[File]) -> list[File]:
    """Files that are parts of one, in order, as `train-00000-of-00002.parquet` says."""
    if len({re.sub(r"\d+-of-(\d+)", r"\1", file.name) for file in files}) > 1:
        raise DataError(f"found {shorten([file.name for file in files])}, expected one for each split; give its path")
    return sorted(files)


def _read_idx(place: Place, files: list[File], split: str) -> Images:
    """IDX files named like MNIST's, or a single one of any name."""
    lone = len(place.files) == 1
    if lone and _IDX.fullmatch(_base(files[0])):  # its labels may lie beside it
        prefix = _IDX.fullmatch(_base(files[0]))[1]  # type: ignore[index]
        beside = sorted(path.name for path in place.path.glob("*labels*idx*") if place.path.is_dir())
        files = files + [File(name) for name in beside if (found := _IDX.fullmatch(name)) and found[1] == prefix]
    elif lone:
        with place.open(files[0]) as content:
            return Images(_of(idx.read(unzipped(content)), True))
    sets: dict[tuple[str, str, str], File] = {}
    for file in sorted(files):
        prefix, role = _IDX.fullmatch(_base(file)).group(1, 2)  # type: ignore[union-attr]
        found_split = split if lone else split_of(prefix)
        key = re.sub(r"(train|test|t10k)\w*", "", prefix.lower()).strip("-_.")
        sets.setdefault((key, found_split, role.lower()), file)
    keys = sorted({key for key, _, _ in sets})
    if len(keys) > 1:
        raise DataError(f"found the sets {', '.join(keys)}, expected one; give the path of its file of images")
    images, labels = (sets.get((keys[0], split, role), sets.get((keys[0], "", role))) for role in ("images", "labels"))
    if images is None or (labels is None and not lone):
        there = next(iter(sets.values()))
        missing = f"{split if split == 'train' else 't10k'}-{'labels-idx1' if images else 'images-idx3'}-ubyte(.gz)"
        raise DataError(f"found no {missing} beside {_base(there)}, expected four IDX files named like MNIST's")
    with place.open(images) as content:
        pixels = _of(idx.read(unzipped(content)), True)
    if labels is None:
        return Images(pixels)
    with place.open(labels) as content:
        return Images(pixels, _of(idx.read(unzipped(content)), False))


def _of(array: np.ndarray, images: bool) -> np.ndarray:
    if (array.ndim > 1) != images:
        expected = ("labels", "images")[images]
        raise DataError(f"found an IDX file of shape {list(array.shape)}, expected one of {expected}")
    return array


def _read_cifar(place: Place, files: list[File], split: str) -> Images:
    parts = []
    for file in sorted(file for file in files if _base(file).startswith(_CIFAR[split])):
        with place.open(file) as content:
            parts.append(cifar.read(content))
    if not parts:
        raise DataError(f"found no {_CIFAR[split]}*.bin beside {_base(files[0])}, expected CIFAR-10's files")
    pixels, labels = (np.ascontiguousarray(np.concatenate(each)) for each in zip(*parts, strict=True))
    for file in place.files:
        if _base(file) == "batches.meta.txt":
            with place.open(file) as content:
                return Images(pixels, labels, cifar.read_names(content, int(labels.max()) + 1))
    return Images(pixels, labels)


def _read_arrays(place: Place, files: list[File], split: str) -> Images:
    openers: dict[str, arrays.Opener] = {}
    for file in files:
        opener = functools.partial(_open_seekable, place, file)
        key = re.sub(r"\.np[yz](\.gz)?$", "", file.name)
        with opener() as content:
            zipped = is_zip(content)
        if zipped:
            openers |= arrays.members(opener, "" if len(files) == 1 else f"{key}-")
        else:
            openers[key] = opener
    return arrays.read(openers, split)


def _read_csv(place: Place, files: list[File], split: str) -> Images:
    (file,) = _shards(choose([(split_of(file.name), file) for file in files], split))
    with place.open(file) as content:
        return tables.read(unzipped(content))


# Labels in a file of their own


def _read_labels(path: Path) -> folders.Labels:
    """The labels in a table, or in an array, whose images have no names."""
    with open_data_file(path) as content:
        place = Place(path.parent, [File(path.name)])
        file = unzipped(content)
        head = file.peek(8)[:8]
        if is_zip(file):
            openers = arrays.members(functools.partial(place.open, place.files[0]))
            if len(openers) != 1:
                raise DataError(f"found arrays {shorten(sorted(openers))}, expected a single one of labels")
            with next(iter(openers.values()))() as member:
                found = arrays.read_labels(member)
        elif head[:6] == b"\x93NUMPY":
            found = arrays.read_labels(file)
        elif head[:2] == b"\0\0":
            found = _of(idx.read(file), False), None
        else:
            return tables.read_labels(file)
        labels, names = found
        return [("", names[label] if names else str(label)) for label in labels.tolist()]
