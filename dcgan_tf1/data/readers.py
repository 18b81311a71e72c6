"""Reading data files, which are not trusted.

No more memory is allocated, and no more is decompressed or parsed, than the size of a file on disk can account for.
Whatever is wrong with a file ends in a `DataError` of one line.
"""

import contextlib
import io
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from dcgan_tf1.errors import DataError, reason

BLOCK_BYTES = 1 << 18  # files are read in blocks of at most this size
MOST_BYTES = 1 << 30  # the largest array that is read
_MOST_TEXT = 1 << 31  # the longest text of numbers that is read, and whatever else a gzip file can hold
_MOST_NAMES = 1 << 25  # the longest directory of a zip file: of 400,000 files or so
# No deflate stream expands to more than this many times its size (see "maximum expansion factor" in zlib's technical
# details), so the size of a compressed file limits the size of the array in it.
MAX_DEFLATE_RATIO = 1032
_EXPECTED_FILE = "expected a whole file of one of the kinds in docs/pictures.md"
SHAPES = ((28, 28), (32, 32), (28, 28, 3), (32, 32, 3))
"""The shapes that images have in files of arrays."""


class Images(NamedTuple):
    """Images and what is known of them. The reader of each kind of file returns this."""

    pixels: np.ndarray  # uint8 [N, 28, 28] or [N, 32, 32], with 3 channels behind in colour
    labels: np.ndarray | None = None  # integers [N]; None where there are none
    names: tuple[str, ...] | None = None  # of the labels 0, 1, ...; None: labels are numbers, and have no other names
    files: tuple[str, ...] = ()  # the file of each image; nothing where one file holds them all
    notes: Sequence[str] = ()  # what was odd about the files, in lines
    tests: int | None = None  # how many images the test split has; None: that takes to read it


def shorten(value: object, width: int = 40) -> str:
    """The text of `value`, or the end of it, since a message has only 200 characters for everything."""
    text = str(value)
    return text if len(text) <= width else "..." + text[3 - width :]


@contextlib.contextmanager
def data_errors(source: Path | str, expected: str = _EXPECTED_FILE) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a DataError of one line that names `source`, if it has one.

    Our own checks raise a DataError that says what was found and what was expected. All other errors come from
    libraries. On hostile bytes these raise whatever their parsers trip over, documented or not, hence `Exception`.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DataError) and error.is_named:
            raise
        fault = str(error) if isinstance(error, DataError) else f"{expected}; {reason(error)}"
        raise DataError(f"{shorten(source, 80)}: {fault}" if source else fault, bool(source)) from error


class DataFile(io.BufferedReader):
    """A file, or a member of an archive, which is read forward.

    It refuses long reads: `zipfile` reads the whole directory at once, however long the file says it is, and `tarfile`
    the names of members.
    """

    def __init__(self, raw: IO[bytes] | io.RawIOBase, limit: int) -> None:
        super().__init__(cast(io.RawIOBase, raw), 1 << 16)
        self.limit = limit  # the most bytes that it can hold
        # A directory that is honest names at least as many bytes of members as it has itself.
        self._longest = max(BLOCK_BYTES, min(limit // 2, _MOST_NAMES))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._longest:
            raise DataError(f"found a directory or name of {size} bytes, expected at most {self._longest}")
        return super().read(size)


def open_regular(path: Path) -> DataFile:
    """The regular file at `path`, open for reading. Raises DataError: it is none, or OSError."""
    status = os.stat(path)  # before it is opened, since opening a pipe waits for its writer
    if stat.S_ISDIR(status.st_mode):
        raise DataError("found a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise DataError("found a pipe, socket or device, expected a regular file")
    return DataFile(io.FileIO(path), status.st_size)


@contextlib.contextmanager
def open_data_file(path: Path, expected: str = _EXPECTED_FILE) -> Iterator[DataFile]:
    """The regular file at `path`, open for reading. Whatever goes wrong until it is closed is a DataError."""
    with data_errors(path, expected), open_regular(path) as file:
        yield file


class _GzipMember(io.RawIOBase):
    """A gzip file of one member, which is read forward, all of it in C.

    The gzip module reads file names and padding byte by byte, which a hostile file can make it do for minutes.
    """

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)  # expects gzip's header, and checks the CRC and length at its end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = b""
        while not content and not self._inflate.eof:
            block = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            if not block:
                raise DataError("found a truncated gzip file, expected a whole one")
            content = self._inflate.decompress(block, len(buffer))
        if self._inflate.eof and (self._inflate.unused_data or self._file.peek(1)):
            raise DataError("found bytes after the gzip data, expected none")
        buffer[: len(content)] = content
        return len(content)


def unzipped(file: DataFile) -> DataFile:
    """What is in a gzip file; any other file itself."""
    if file.peek(2)[:2] != b"\x1f\x8b":
        return file
    return DataFile(_GzipMember(file), min(MAX_DEFLATE_RATIO * file.limit, _MOST_TEXT))


def open_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    compressions: Collection[int] = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
) -> DataFile:
    """The `member` of a zip file, open for reading. Raises DataError if it is encrypted or compressed otherwise."""
    if member.flag_bits & 1:
        raise DataError(f"found {shorten(member.filename)!r} encrypted, expected no encryption")
    if member.compress_type not in compressions:
        expected = "none, as run.py writes" if len(compressions) == 1 else "deflate or none"
        raise DataError(f"found zip compression {member.compress_type}, expected {expected}")
    if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
        raise DataError(f"found {member.file_size} bytes stored in {member.compress_size}, expected as many")
    return DataFile(archive.open(member), member.file_size)


def read_exactly(file: IO[bytes], count: int) -> bytearray:
    """The next `count` bytes. Memory grows with what is there, whatever the header says."""
    content = bytearray()
    while len(content) < count:
        block = file.read(min(count - len(content), BLOCK_BYTES))
        if not block:
            raise DataError(f"found {len(content)} bytes and then the end, expected {count}")
        content += block
    return content


def check_size(shape: tuple[int, ...], item_size: int, limit: int) -> int:
    """The number of bytes of an array of `shape`. Raises DataError if it has no items, or more bytes than `limit`."""
    if not shape or min(shape) < 1:
        raise DataError(f"found shape {shorten(list(shape))}, expected an array of images or of labels")
    count = math.prod(shape) * item_size
    if count > limit:
        raise DataError(f"found shape {shorten(list(shape))}, expected {limit} bytes at most")
    return count
