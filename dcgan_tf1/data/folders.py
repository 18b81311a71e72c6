"""Folders of pictures: PNG, JPEG, BMP and WebP files become images of one size, once, and are kept in a cache.

The files are not trusted: each is decoded on its own, with a limit to its bytes. At the next start the images are
read from the cache.
"""

import hashlib
import json
import math
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import idx
from dcgan_tf1.data.classes import are_numbers, is_name, labels_of
from dcgan_tf1.data.decoding import EXPECTED, Form, decode, image_shape
from dcgan_tf1.data.readers import MOST_BYTES, data_errors, open_data_file, shorten
from dcgan_tf1.errors import DataError, OutputError, one_line, reason
from dcgan_tf1.files import cache_folder, make_folder, write_whole
from dcgan_tf1.machine import usable_cores

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_SPLITS = {"train", "test"}
_LARGEST_FILE = 1 << 28
_TASK = 32  # how many pictures a thread decodes at a time
_FORMAT = 2  # of the cache; another one is not read


class Pictures(NamedTuple):
    """The pictures of a folder."""

    images: np.ndarray  # uint8 [N, 28, 28], or [N, 32, 32, 3] in colour
    labels: np.ndarray | None  # int32 [N]; None for a folder without subfolders
    names: tuple[str, ...] | None
    """The names of the labels from 0 on; None where there are no labels, or where labels are numbers themselves."""
    digest: str  # the sha256, in hex, that the images have as an IDX file


class _File(NamedTuple):
    """A picture as a folder lists it."""

    name: str  # its path in the folder, with slashes
    size: int = 0
    changed: tuple[int, int] = (0, 0)  # when its content did, and when its place in the file system did, in nanoseconds
    fault: str = ""  # why it cannot be read, where that is known


_Bad = list[tuple[int, str]]  # the indices of the pictures that cannot be read, and their faults


def read_folder(root: Path, split: str, form: Form, announce: Callable[[str], object]) -> Pictures:
    """The pictures in the folder `root`, in the order of their file names.

    Its subfolders are classes, whatever lies how deep below them; without subfolders there are no labels. Where it has
    the two subfolders `train` and `test` and nothing else, these are the splits. Otherwise it is the same for both.

    Args:
        split: `train` or `test`.
        announce: is given a line about pictures that were passed over, and about a cache that cannot be used.

    Raises:
        DataError: there are no pictures, or one of them cannot be read and `form.skip_bad` is not given; it names it.
    """
    with data_errors(root, "expected a folder that can be read"):
        parts = _splits(root)
    listings = {part: _list_pictures(root / part) for part in parts}
    names = _class_names(root, [file.name for listing in listings.values() for file in listing if not file.fault])
    part = split if split in parts else ""
    files = listings[part]
    images, bad, digest = _decoded(root / part, files, form, announce)
    if bad:
        first, fault = files[bad[0][0]].name, bad[0][1]
        announce(one_line(f"passed over {len(bad)} of {len(files)} pictures; the first: {shorten(first)}: {fault}"))
    if not names:
        return Pictures(images, None, None, digest)
    labels = dict(zip(names, labels_of(names), strict=True))
    skipped = dict(bad)
    shown = [file.name.partition("/")[0] for index, file in enumerate(files) if index not in skipped]
    chosen = np.array([labels[name] for name in shown], np.int32)
    return Pictures(images, chosen, None if are_numbers(names) else names, digest)


def _splits(root: Path) -> tuple[str, ...]:
    """The subfolders that hold the splits, or the folder itself as an empty name."""
    with os.scandir(root) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    found = {entry.name for entry in shown if os.path.isdir(entry) or entry.name.lower().endswith(_SUFFIXES)}
    return tuple(sorted(_SPLITS)) if found == _SPLITS else ("",)


def _list_pictures(root: Path) -> list[_File]:
    """The pictures below `root`, of which there must be one, in the order of their file names. Links are followed."""
    files: list[_File] = []
    others: Counter[str] = Counter()
    folders, seen = [""], {(root.stat().st_dev, root.stat().st_ino)}
    while folders:
        folder = folders.pop()
        with data_errors(root / folder, "expected a folder that can be read"), os.scandir(root / folder) as entries:
            for entry in entries:
                name, suffix = folder + entry.name, os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):  # what programs keep for themselves
                    continue
                try:
                    status = entry.stat()
                except OSError as error:
                    files.append(_File(name, fault=error.strerror or "it cannot be read"))
                    continue
                if stat.S_ISDIR(status.st_mode):
                    if status.st_ino and (status.st_dev, status.st_ino) in seen:
                        files.append(_File(name, fault="found a link to a folder that is read already, expected none"))
                    else:
                        seen.add((status.st_dev, status.st_ino))
                        folders.append(f"{name}/")
                elif suffix not in _SUFFIXES:
                    others[suffix] += 1
                elif stat.S_ISREG(status.st_mode):
                    files.append(_File(name, status.st_size, (status.st_mtime_ns, status.st_ctime_ns)))
                else:
                    files.append(_File(name, fault="found a pipe, socket or device, expected a regular file"))
    if not files:
        most, count = others.most_common(1)[0] if others else ("", 0)
        beside = f" beside {count} other files ({shorten(most or 'no suffix', 10)})" if others else ""
        fault = f"found no picture{beside}, expected PNG, JPEG, BMP or WebP, or four IDX files"
        raise DataError(f"{shorten(root, 60)}: {fault}")
    return sorted(files, key=lambda file: (file.name.rpartition("/")[2], file.name))


def _class_names(root: Path, files: list[str]) -> tuple[str, ...]:
    """The sorted names of the classes of `files`; nothing where all of them lie in the folder itself."""
    classes = {name.partition("/")[0] for name in files if "/" in name}
    loose = next((name for name in files if "/" not in name), None)
    if classes and loose is not None:
        fault = f"found {shorten(loose)!r} beside the folder {shorten(min(classes))!r}"
        raise DataError(f"{shorten(root, 40)}: {fault}, expected all pictures in folders of classes, or none")
    for name in classes:
        if not is_name(name):
            fault = f"found a class named {shorten(name)!r}, expected up to 100 printable characters"
            raise DataError(f"{shorten(root, 40)}: {fault}")
    numeric = all(name.isdecimal() for name in classes)
    return tuple(sorted(classes, key=(lambda name: (int(name), name)) if numeric else None))


# Decoding


def _decoded(
    root: Path, files: list[_File], form: Form, announce: Callable[[str], object]
) -> tuple[np.ndarray, _Bad, str]:
    """The images of `files`, from the cache where they are there; those that are bad; and the digest of the images."""
    path = _cache_path(files, form)
    found = _read_cache(path, len(files), form, announce) if path else None
    images, bad, unread = (*found[:2], False) if found else _decode_all(root, files, form)
    if bad and not form.skip_bad:
        index, fault = bad[0]
        raise DataError(f"{shorten(root / files[index].name, 80)}: {fault}")
    if len(bad) == len(files):
        raise DataError(f"{shorten(root, 60)}: found {len(bad)} pictures and none that can be read")
    if found:
        return found
    digest = idx.digest(images)
    if path and not unread:
        try:
            make_folder(path.parent)
            write_whole(path, lambda file: (file.write(idx.header(images.shape)), file.write(images.data)))
            record = json.dumps({"format": _FORMAT, "sha256": digest, "bad": bad}).encode()
            write_whole(path.with_suffix(".json"), record)
        except OutputError as error:
            announce(one_line(f"warning: {error}; going on without, so the next start decodes the pictures again"))
    return images, bad, digest


def _decode_all(root: Path, files: list[_File], form: Form) -> tuple[np.ndarray, _Bad, bool]:
    """The images of `files` that can be read, and those that cannot: the first alone, unless `form.skip_bad`.

    And whether one of the files could not even be read: that may be otherwise the next time.
    """
    from tqdm import tqdm

    shape = len(files), *image_shape(form)
    if np.prod(shape, dtype=np.int64) > MOST_BYTES:
        fault = f"found {len(files)} pictures, expected {MOST_BYTES} bytes at most of {shorten(list(shape[1:]))}"
        raise DataError(f"{shorten(root, 60)}: {fault}")
    images, bad, unread = np.empty(shape, np.uint8), [], []

    def decode_task(start: int) -> _Bad:
        """Decode the pictures of one task into their places."""
        faults = []
        for index, file in enumerate(files[start : start + _TASK], start):
            try:
                with data_errors("", EXPECTED):
                    if file.fault:
                        raise DataError(file.fault)
                    unread.append(index)
                    content = _read(root / file.name, file)
                    unread.remove(index)
                    images[index] = decode(content, form)
            except DataError as error:
                faults.append((index, str(error).removeprefix(": ")))
        return faults

    with (
        warnings.catch_warnings(action="ignore"),  # Pillow warns of what is refused below, or of no concern
        ThreadPoolExecutor(usable_cores()) as pool,
        tqdm(total=len(files), unit=" pictures", disable=None) as bar,
    ):
        try:
            for faults in pool.map(decode_task, range(0, len(files), _TASK)):
                bad += faults
                if bad and not form.skip_bad:
                    return images[:0], bad[:1], bool(unread)
                bar.update(_TASK)
        finally:
            pool.shutdown(cancel_futures=True)
    return np.delete(images, [index for index, _ in bad], 0) if bad else images, bad, bool(unread)


def _read(path: Path, known: _File) -> bytes:
    """The content of a file, which must be as it was listed, before and after it is read."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:  # a pipe that has taken its place would be waited for otherwise
        if known.size > _LARGEST_FILE:
            raise DataError(f"found {known.size} bytes, expected at most {_LARGEST_FILE}")
        content = file.read(known.size + 1)
        status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (known.size, known.changed[0]) or len(content) != known.size:
        raise DataError("found it changed while it was read, expected it to stay; start again")
    return content


# The cache: an IDX file, whose sha256 is the digest of the images, and beside it a record in JSON


def _cache_path(files: list[_File], form: Form) -> Path | None:
    """Where the images of `files` are kept, named by everything that they depend on; None: there is no such place."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(repr((_FORMAT, form._replace(skip_bad=False))).encode())
    for file in files:
        numbers = b"%d %d %d" % (file.size, *file.changed)
        digest.update(b"%s %s %s\0" % (numbers, file.fault.encode(), os.fsencode(file.name)))
    return folder / "pictures" / f"{digest.hexdigest()[:32]}.idx"


def _read_cache(
    path: Path, count: int, form: Form, announce: Callable[[str], object]
) -> tuple[np.ndarray, _Bad, str] | None:
    """What `_decoded` kept at `path` of `count` files. None: nothing, or it is not what it was when it was written."""
    if not os.path.exists(path.with_suffix(".json")):  # one that may not be searched has nothing either
        return None
    try:
        with open_data_file(path.with_suffix(".json")) as file:
            record = json.loads(file.read())
        bad = [(int(index), str(fault)) for index, fault in record["bad"]]
        indices = [index for index, _ in bad]
        if indices != sorted(set(indices).intersection(range(count))):
            raise ValueError("its list of bad pictures does not hold")
        shape = (count - len(bad), *image_shape(form))
        with open_data_file(path) as file:
            file.seek(len(idx.header(shape)))
            images = np.fromfile(file, np.uint8, math.prod(shape)).reshape(shape)
        digest = idx.digest(images)
        if record["format"] != _FORMAT or digest != record["sha256"]:
            raise ValueError("its sha256 does not hold")
        return images, bad, digest
    except (DataError, OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        fault = f"is not used, since it is damaged ({reason(error):.60}); decoding again"
        announce(one_line(f"note: {shorten(path, 60)} {fault}"))
        return None
