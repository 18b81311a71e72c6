"""Folders of pictures: which PNG, JPEG, BMP and WebP files there are, and what their folders say of them."""

import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import notes
from dcgan_tf1.data.classes import are_numbers, is_name, labels_of
from dcgan_tf1.data.decoding import EXPECTED, Form
from dcgan_tf1.data.pictures import File, decoded
from dcgan_tf1.data.readers import data_errors, shorten
from dcgan_tf1.errors import DataError, one_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_SPLITS = {"train", "test"}


class Pictures(NamedTuple):
    """The pictures of a folder."""

    images: np.ndarray  # uint8 [N, 28, 28], or [N, 32, 32, 3] in colour
    labels: np.ndarray | None  # int32 [N]; None for a folder without subfolders
    names: tuple[str, ...] | None
    """The names of the labels from 0 on; None where there are no labels, or where labels are numbers themselves."""
    digest: str  # the sha256, in hex, that the images have as an IDX file
    files: tuple[str, ...]  # the file of each image
    tests: int  # how many images the test split has, where this is not it
    notes: list[str]  # what was odd about the files, in lines


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
    names = _class_names(root, [file.name for files, _ in listings.values() for file in files if not file.fault])
    part = split if split in parts else ""
    tests = len(listings["test"][0]) if part == "train" else 0
    pictures = _read(root / part, *listings[part], form, announce)._replace(tests=tests)
    if not names:
        return pictures
    labels = dict(zip(names, labels_of(names), strict=True))
    chosen = np.array([labels[name.partition("/")[0]] for name in pictures.files], np.int32)
    return pictures._replace(labels=chosen, names=None if are_numbers(names) else names)


def read_picture(path: Path, form: Form, announce: Callable[[str], object]) -> Pictures:
    """The images in a single picture file, such as a sheet of many digits; see `read_folder`."""
    with data_errors(path, EXPECTED):
        status = path.stat()
    file = File(path.name, status.st_size, (status.st_mtime_ns, status.st_ctime_ns))
    return _read(path.parent, [file], [], form, announce)


def _read(root: Path, files: list[File], others: list[str], form: Form, announce: Callable[[str], object]) -> Pictures:
    """The pictures `files` in the folder `root`, without labels; `others` are the files beside them."""
    found = decoded(root, files, form, announce)
    if found.bad:
        (index, fault), *_ = found.bad
        told = f"passed over {len(found.bad)} of {len(files)} pictures; the first: {shorten(files[index].name)}"
        announce(one_line(f"{told}: {fault}"))
    names, bad = [file.name for file in files], {index for index, _ in found.bad}
    shown = tuple(name for i, name in enumerate(names) if i not in bad for _ in range(math.prod(form.grid)))
    odd = {kind: [names[i] for i in indices] for kind, indices in found.odd.items()}
    about = notes.of_files(names, others, odd, form)
    return Pictures(found.images, None, None, found.digest, shown, 0, about)


def _splits(root: Path) -> tuple[str, ...]:
    """The subfolders that hold the splits, or the folder itself as an empty name."""
    with os.scandir(root) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    found = {entry.name for entry in shown if os.path.isdir(entry) or entry.name.lower().endswith(SUFFIXES)}
    return tuple(sorted(_SPLITS)) if found == _SPLITS else ("",)


def _list_pictures(root: Path) -> tuple[list[File], list[str]]:
    """The pictures below `root`, of which there must be one, in the order of their file names, and the other files.

    Links are followed.
    """
    files: list[File] = []
    others: list[str] = []
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
                    files.append(File(name, fault=error.strerror or "it cannot be read"))
                    continue
                if stat.S_ISDIR(status.st_mode):
                    if status.st_ino and (status.st_dev, status.st_ino) in seen:
                        files.append(File(name, fault="found a link to a folder that is read already, expected none"))
                    else:
                        seen.add((status.st_dev, status.st_ino))
                        folders.append(f"{name}/")
                elif suffix not in SUFFIXES:
                    others.append(name)
                elif stat.S_ISREG(status.st_mode):
                    files.append(File(name, status.st_size, (status.st_mtime_ns, status.st_ctime_ns)))
                else:
                    files.append(File(name, fault="found a pipe, socket or device, expected a regular file"))
    if not files:
        beside = f" beside {notes.by_suffix(others)}" if others else ""
        fault = f"found no picture{beside}, expected PNG, JPEG, BMP or WebP, or four IDX files"
        raise DataError(f"{shorten(root, 60)}: {fault}")
    return sorted(files, key=lambda file: (file.name.rpartition("/")[2], file.name)), sorted(others)


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
