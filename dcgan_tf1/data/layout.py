"""What a folder, an archive or a file is: the one place that recognises it, and hands it to the reader of its kind."""

import contextlib
import glob
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcgan_tf1.data import arrays, cifar, emnist, folders, idx, parquet, tables
from dcgan_tf1.data.classes import named
from dcgan_tf1.data.decoding import KINDS, SUFFIXES, Form, stretched
from dcgan_tf1.data.kinds import unread_kind
from dcgan_tf1.data.places import File, Place, npz, open_place
from dcgan_tf1.data.readers import DataFile, Images, data_errors, open_data_file, shorten, unzipped
from dcgan_tf1.data.splits import choose, split_of
from dcgan_tf1.errors import DataError

_IDX = re.compile(r"(.*?)(images|labels)[-.]idx\d[-.](ubyte|int)(\.gz)?", re.IGNORECASE)
_CONVERT = "expected a kind that is read, see docs/pictures.md#converting"
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
        if kind == "parquet":
            place = parquet.Rows(place, _shards(choose([(split_of(file.name), file) for file in files], split)))
            given, files = given or place.labels, place.files
        if kind in ("pictures", "parquet"):
            found = folders.read(place, files, split, form, announce, given)
        else:
            found = {"idx": _read_idx, "cifar": _read_cifar, "arrays": _read_arrays, "csv": _read_csv}[kind](
                place, files, split
            )
            if math.prod(form.grid) > 1:
                raise DataError("found images that are apart already, expected pictures for --grid to cut")
            if form.stretch:
                found = found._replace(pixels=np.stack([stretched(image) for image in found.pixels]))
            if form.invert:
                found = found._replace(pixels=255 - found.pixels)
            if kind == "csv" and len(files) == 1:
                found = found._replace(tests=0)  # to look for them would take as long again
        if given and kind not in ("pictures", "parquet"):
            values, names = named([label for _, label in given])
            found = found._replace(labels=values, names=names)
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


def _shards(files: list[File]) -> list[File]:
    """Files that are parts of one, in order, as `train-00000-of-00002.parquet` says."""
    if len({re.sub(r"\d+-of-(\d+)", r"\1", file.name) for file in files}) > 1:
        raise DataError(f"found {shorten([file.name for file in files])}, expected one for each split; give its path")
    return sorted(files)


def _read_idx(place: Place, files: list[File], split: str) -> Images:
    """IDX files named like MNIST's, of one set; or a single one of any name, whose labels may lie beside it."""
    lone = place.files == files and len(files) == 1
    sets: dict[tuple[str, str], list[File]] = defaultdict(list)
    if lone:
        match = _IDX.fullmatch(_base(files[0]))
        beside = sorted(place.path.glob(f"{glob.escape(match[1])}labels*")) if match and place.path.is_dir() else []
        sets["", "images"], sets["", "labels"] = files, [File(path.name) for path in beside]
    for file in () if lone else sorted(files):
        prefix, role = _IDX.fullmatch(_base(file)).group(1, 2)  # type: ignore[union-attr]
        sets[split_of(prefix), role.lower()].append(file)
    if len(keys := {re.sub(r"(train|test|t10k)\w*|\W", "", _IDX.sub(r"\1", _base(file))) for file in files}) > 1:
        raise DataError(f"found the sets {', '.join(sorted(keys))}, expected one; give the path of one's images")
    images, labels = (sets[split, role] or sets["", role] for role in ("images", "labels"))
    if not images or not (labels or lone):
        missing = f"{split if split == 'train' else 't10k'}-{'labels-idx1' if images else 'images-idx3'}-ubyte(.gz)"
        raise DataError(f"found no {missing} beside {_base(files[0])}, expected four IDX files named like MNIST's")
    with place.open(images[0]) as content:
        pixels = idx.read(content, True)
    if not labels:
        return Images(pixels)
    with place.open(labels[0]) as content:
        found = idx.read(content, False)
    return Images(pixels, found, _read_names(place, "classes.txt", found))


def _read_cifar(place: Place, files: list[File], split: str) -> Images:
    parts = []
    for file in sorted(file for file in files if _base(file).startswith(_CIFAR[split])):
        with place.open(file) as content:
            parts.append(cifar.read(content))
    if not parts:
        raise DataError(f"found no {_CIFAR[split]}*.bin beside {_base(files[0])}, expected CIFAR-10's files")
    pixels, labels = (np.ascontiguousarray(np.concatenate(each)) for each in zip(*parts, strict=True))
    return Images(pixels, labels, _read_names(place, "batches.meta.txt", labels))


def _read_names(place: Place, name: str, labels: np.ndarray) -> tuple[str, ...] | None:
    """The names of `labels` in the file called `name`, one on each line. None: there is no such file."""
    for file in place.files:
        if _base(file) == name:
            with place.open(file) as content:
                return tables.read_names(content, int(labels.max()) + 1)
    return None


def _read_arrays(place: Place, files: list[File], split: str) -> Images:
    found: list[tuple[str, Place, File]] = []
    with contextlib.ExitStack() as stack:
        for file in files:
            if file.name.lower().endswith(".npz"):
                inner = npz(place, file, stack)
                found += [(f"{file.name[:-4]}-{each.name}", inner, each) for each in inner.files]
            else:
                found.append((file.name, place, file))
        if len(files) > 1:
            stack.enter_context(data_errors(place.path))
        return arrays.read([(re.sub(r"\.npy(\.gz)?$", "", key), where, file) for key, where, file in found], split)


def _read_csv(place: Place, files: list[File], split: str) -> Images:
    (file,) = _shards(choose([(split_of(file.name), file) for file in files], split))
    with place.open(file) as content:
        return tables.read(unzipped(content))


# Labels in a file of their own


def _read_labels(path: Path) -> folders.Labels:
    """The labels in a table, or in an array, whose images have no names."""
    with open_data_file(path) as content:
        file = unzipped(content)
        head = file.peek(8)[:8]
        if head[:2] == b"PK":
            with open_place(path) as inner, inner.open(inner.files[0]) as member:
                found = arrays.read_labels(member)
        elif head[:6] == b"\x93NUMPY":
            found = arrays.read_labels(file)
        elif head[:2] == b"\0\0":
            found = idx.read(file, False), None
        else:
            return tables.read_labels(file)
        labels, names = found
        return [("", names[label] if names else str(label)) for label in labels.tolist()]
