"""Many picture files become images of one size, once, and are kept in a cache.

The files are not trusted: each is decoded on its own, with a limit to its bytes. At the next start the images are
read from the cache.
"""

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import idx
from dcgan_tf1.data.decoding import EXPECTED, ODD, Form, decode, image_shape
from dcgan_tf1.data.readers import MOST_BYTES, data_errors, open_data_file, shorten
from dcgan_tf1.errors import DataError, OutputError, one_line, reason
from dcgan_tf1.files import cache_folder, make_folder, write_whole
from dcgan_tf1.machine import usable_cores

_LARGEST_FILE = 1 << 28
_TASK = 32  # how many pictures a thread decodes at a time
_FORMAT = 3  # of the cache; another one is not read


class File(NamedTuple):
    """A picture as a folder lists it."""

    name: str  # its path in the folder, with slashes
    size: int = 0
    changed: tuple[int, int] = (0, 0)  # when its content did, and when its place in the file system did, in nanoseconds
    fault: str = ""  # why it cannot be read, where that is known


_Bad = list[tuple[int, str]]  # the indices of the pictures that cannot be read, and their faults


class Decoded(NamedTuple):
    """What the pictures of a folder became."""

    images: np.ndarray
    bad: _Bad
    odd: dict[str, list[int]]  # the indices of those that are odd, by what `decode` calls them
    digest: str  # of the images


def decoded(root: Path, files: list[File], form: Form, announce: Callable[[str], object]) -> Decoded:
    """What `files` become, from the cache where that is there."""
    path = _cache_path(files, form)
    cached = _read_cache(path, len(files), form, announce) if path else None
    found, unread = (cached, False) if cached else _decode_all(root, files, form)
    if found.bad and not form.skip_bad:
        index, fault = found.bad[0]
        raise DataError(f"{shorten(root / files[index].name, 80)}: {fault}")
    if len(found.bad) == len(files):
        raise DataError(f"{shorten(root, 60)}: found {len(files)} pictures and none that can be read")
    if cached or not path or unread:
        return found
    try:
        make_folder(path.parent)
        write_whole(path, lambda file: (file.write(idx.header(found.images.shape)), file.write(found.images.data)))
        record = {"format": _FORMAT, "sha256": found.digest, "bad": found.bad, "odd": found.odd}
        write_whole(path.with_suffix(".json"), json.dumps(record).encode())
    except OutputError as error:
        announce(one_line(f"warning: {error}; going on without, so the next start decodes the pictures again"))
    return found


def _decode_all(root: Path, files: list[File], form: Form) -> tuple[Decoded, bool]:
    """What `files` become; of those that cannot be read, the first alone is told, unless `form.skip_bad`.

    And whether one of the files could not even be read: that may be otherwise the next time.
    """
    from tqdm import tqdm

    shape = len(files), math.prod(form.grid), *image_shape(form)
    if np.prod(shape, dtype=np.int64) > MOST_BYTES:
        fault = f"found {len(files)} pictures, expected {MOST_BYTES} bytes at most of {shorten(list(shape[1:]))}"
        raise DataError(f"{shorten(root, 60)}: {fault}")
    images, bad, unread = np.empty(shape, np.uint8), [], []
    odd: dict[str, list[int]] = {kind: [] for kind in ODD}

    def decode_task(start: int) -> _Bad:
        """Decode the pictures of one task into their places."""
        faults = []
        for index, file in enumerate(files[start : start + _TASK], start):
            try:
                with data_errors("", EXPECTED):
                    if file.fault:
                        raise DataError(file.fault)
                    unread.append(index)
                    content = _content(root / file.name, file)
                    unread.remove(index)
                    images[index], kinds = decode(content, form)
                    for kind in kinds:
                        odd[kind].append(index)
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
                    return Decoded(images[:0], bad[:1], {}, ""), bool(unread)
                bar.update(_TASK)
        finally:
            pool.shutdown(cancel_futures=True)
    images = (np.delete(images, [index for index, _ in bad], 0) if bad else images).reshape(-1, *shape[2:])
    odd = {kind: sorted(indices) for kind, indices in odd.items() if indices}
    return Decoded(images, bad, odd, idx.digest(images)), bool(unread)


def _content(path: Path, known: File) -> bytes:
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


def _cache_path(files: list[File], form: Form) -> Path | None:
    """Where the images of `files` are kept, named by everything that they depend on; None: there is no such place."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(repr((_FORMAT, form._replace(skip_bad=False))).encode())
    for file in files:
        numbers = b"%d %d %d" % (file.size, *file.changed)
        digest.update(b"%s %s %s\0" % (numbers, file.fault.encode(), os.fsencode(file.name)))
    return folder / "pictures" / f"{digest.hexdigest()[:32]}.idx"


def _read_cache(path: Path, count: int, form: Form, announce: Callable[[str], object]) -> Decoded | None:
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
        known = dict(record["odd"])
        odd = {kind: [range(count)[index] for index in known[kind]] for kind in ODD if known.get(kind)}
        shape = ((count - len(bad)) * math.prod(form.grid), *image_shape(form))
        with open_data_file(path) as file:
            file.seek(len(idx.header(shape)))
            images = np.fromfile(file, np.uint8, math.prod(shape)).reshape(shape)
        digest = idx.digest(images)
        if record["format"] != _FORMAT or digest != record["sha256"]:
            raise ValueError("its sha256 does not hold")
        return Decoded(images, bad, odd, digest)
    except (DataError, OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        fault = f"is not used, since it is damaged ({reason(error):.60}); decoding again"
        announce(one_line(f"note: {shorten(path, 60)} {fault}"))
        return None
