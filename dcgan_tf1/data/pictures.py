"""Pictures become images of one size, once, and are kept in a cache.

The files are not trusted: each is decoded on its own, with a limit to its bytes. At the next start the images are
read from the cache.
"""

import hashlib
import itertools
import json
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import idx
from dcgan_tf1.data.decoding import EXPECTED, ODD, Form, decode, image_shape
from dcgan_tf1.data.places import Content, File, Place
from dcgan_tf1.data.readers import MOST_BYTES, data_errors, open_data_file, shorten
from dcgan_tf1.errors import DataError, OutputError, one_line, reason
from dcgan_tf1.files import cache_folder, make_folder, write_whole
from dcgan_tf1.machine import usable_cores

_LARGEST = 1 << 28  # file of a picture
_TASK = 32  # how many pictures a thread decodes at a time
_FORMAT = 4  # of the cache; another one is not read

_Bad = list[tuple[int, str]]  # the indices of the pictures that cannot be read, and their faults


class Decoded(NamedTuple):
    """The images that the pictures of a place were decoded to, and what was wrong or odd."""

    images: np.ndarray  # uint8 [N, 28, 28], or [N, 32, 32, 3] in colour
    bad: _Bad
    odd: dict[str, list[int]]  # the indices of the pictures that are odd, by what `decode` calls them

    def owners(self, count: int, form: Form) -> np.ndarray:
        """The picture, of `count`, of each image: its index, int64 [N]."""
        return np.delete(np.arange(count), [index for index, _ in self.bad]).repeat(math.prod(form.grid))


def read(place: Place, files: Sequence[File], form: Form, announce: Callable[[str], object]) -> Decoded:
    """Decode `files`, or read from the cache what they were decoded to.

    `announce` is given a line about pictures that were passed over, and about a cache that cannot be used. Raises
    DataError, which names it, if one of them cannot be read and `form.skip_bad` is not given.
    """
    path, count = _cache_path(files, form), len(files)
    found = _read_cache(path, count, form, announce) if path else None
    decoded, unread = (found, False) if found else _decode_all(place, files, form)
    images, bad, odd = decoded
    if bad and not form.skip_bad:
        index, fault = bad[0]
        with data_errors(place.path / files[index].name):
            raise DataError(fault)
    if len(bad) == count:
        raise DataError(f"found {count} pictures and none that can be read")
    if path and not found and not unread:
        try:
            make_folder(path.parent)
            write_whole(path, lambda file: (file.write(idx.header(images.shape)), file.write(images.data)))
            record = json.dumps({"format": _FORMAT, "sha256": idx.digest(images), "bad": bad, "odd": odd}).encode()
            write_whole(path.with_suffix(".json"), record)
        except OutputError as error:
            announce(one_line(f"warning: {error}; going on without, so the next start decodes the pictures again"))
    if bad:
        first, fault = files[bad[0][0]].name, bad[0][1]
        announce(one_line(f"passed over {len(bad)} of {count} pictures; the first: {shorten(first)}: {fault}"))
    return decoded


def _decode_all(place: Place, files: Sequence[File], form: Form) -> tuple[Decoded, bool]:
    """What `files` become; of those that cannot be read, the first alone is told, unless `form.skip_bad`.

    And whether one of the files could not even be read: that may be otherwise the next time.
    """
    from tqdm import tqdm

    shape, unread = (len(files), math.prod(form.grid), *image_shape(form)), []
    odd: dict[str, list[int]] = {kind: [] for kind in ODD}
    too_large = f"expected at most {_LARGEST}"
    faults = [file.fault or f"found {file.size} bytes, {too_large}" * (file.size > _LARGEST) for file in files]
    bad = [(index, fault) for index, fault in enumerate(faults) if fault]
    good = [index for index, fault in enumerate(faults) if not fault]
    if math.prod(shape) > MOST_BYTES:
        raise DataError(f"found {len(files)} pictures, expected {MOST_BYTES} bytes at most of {list(shape[1:])}")
    images = np.empty(shape, np.uint8)

    def decode_task(task: list[tuple[int, Content]]) -> _Bad:
        """Decode the pictures of one task into their places."""
        faults = []
        for place_in_good, read_content in task:
            index = good[place_in_good]
            try:
                with data_errors("", EXPECTED):
                    unread.append(index)
                    content = read_content()
                    unread.remove(index)
                    images[index], kinds = decode(content, form)
                    for kind in kinds:
                        odd[kind].append(index)
            except DataError as error:
                faults.append((index, str(error)))
        return faults

    with (
        warnings.catch_warnings(action="ignore"),  # Pillow warns of what is refused below, or of no concern
        ThreadPoolExecutor(usable_cores()) as pool,
        tqdm(total=len(images), unit=" pictures", disable=None) as bar,
    ):
        waiting: deque[Future[_Bad]] = deque()
        contents = place.contents([files[index] for index in good]) if form.skip_bad or not bad else iter(())
        try:
            while (task := list(itertools.islice(contents, _TASK))) or waiting:
                if task:
                    waiting.append(pool.submit(decode_task, task))
                if not task or len(waiting) > 2 * usable_cores():  # no more are read than are soon decoded
                    bad += waiting.popleft().result()
                    bar.update(_TASK)
                if bad and not form.skip_bad:
                    return Decoded(images[:0], bad[:1], {}), bool(unread)
        finally:
            pool.shutdown(cancel_futures=True)
    bad.sort()
    images = (np.delete(images, [index for index, _ in bad], 0) if bad else images).reshape(-1, *shape[2:])
    return Decoded(images, bad, {kind: sorted(indices) for kind, indices in odd.items() if indices}), bool(unread)


# The cache: an IDX file, whose sha256 is the digest of the images, and beside it a record in JSON


def _cache_path(files: Sequence[File], form: Form) -> Path | None:
    """Where the images of `files` are kept, named by everything that they depend on; None: there is no such place."""
    folder = cache_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(repr((_FORMAT, form._replace(skip_bad=False, transpose=False))).encode())
    for file in files:
        numbers = b"%d %d %d" % (file.size, *file.changed)
        digest.update(b"%s %s %s\0" % (numbers, file.fault.encode(), os.fsencode(file.name)))
    return folder / "pictures" / f"{digest.hexdigest()[:32]}.idx"


def _read_cache(path: Path, count: int, form: Form, announce: Callable[[str], object]) -> Decoded | None:
    """What `read` kept at `path` of `count` files. None: nothing, or it is not what it was when it was written."""
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
        if record["format"] != _FORMAT or idx.digest(images) != record["sha256"]:
            raise ValueError("its sha256 does not hold")
        return Decoded(images, bad, odd)
    except (DataError, OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        fault = f"is not used, since it is damaged ({reason(error):.60}); decoding again"
        announce(one_line(f"note: {shorten(path, 60)} {fault}"))
        return None
