"""Readers of data files, which are untrusted.

Nothing is allocated, decompressed or parsed beyond what a file's size on disk can back, and whatever is wrong with a
file ends in one `DataError` line.
"""

import contextlib
import io
import math
import os
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from dcgan_tf1.errors import DataError, one_line

_CHUNK = 1 << 18
_NPY_HEADER_BYTES = 4096
_MAX_BYTES = 1 << 30
_DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib, "Maximum Expansion Factor")
_IDX_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_EXPECTED_SHAPE = {3: "[N, 28, 28] or [N, 32, 32]", 1: "[N]"}
_EXPECTED_FILE = "expected a whole IDX (.gz or not) or .npz file of uint8"


def shorten(value: object, width: int = 40) -> str:
    """The text of `value`, or its end, for a message that has 200 characters for everything."""
    text = str(value)
    return text if len(text) <= width else "..." + text[3 - width :]


@contextlib.contextmanager
def data_errors(source: Path | str, expected: str = _EXPECTED_FILE) -> Iterator[None]:
    """Turn whatever goes wrong inside into a DataError of one line that names `source`.

    Checks inside raise a DataError that says what was found and what was expected. All else comes from libraries,
    which raise on hostile bytes whatever their parsers trip over, documented or not: hence `Exception`.
    """
    try:
        yield
    except DataError as error:
        raise DataError(one_line(f"{shorten(source, 80)}: {error}")) from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(one_line(f"{shorten(source, 80)}: {expected}; {reason}")) from error


class _ShortReads(io.BufferedReader):
    """A file that refuses long reads: `zipfile` takes in a directory whole, at the length the file claims for it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _CHUNK:
            raise DataError(f"found a zip directory of {size} bytes, expected at most {_CHUNK}")
        return super().read(size)


@contextlib.contextmanager
def open_data_file(path: Path, expected: str = _EXPECTED_FILE) -> Iterator[IO[bytes]]:
    """The regular file at `path`, opened to read; whatever goes wrong until it is closed is a DataError."""
    with data_errors(path, expected):
        mode = os.stat(path).st_mode  # before opening: to open a pipe is to wait for its writer
        if stat.S_ISDIR(mode):
            raise DataError("found a folder, expected a file; --data_dir takes the folder of MNIST's files")
        if not stat.S_ISREG(mode):
            raise DataError("found a pipe, socket or device, expected a regular file")
        with _ShortReads(io.FileIO(path)) as file:
            yield file


def read_images(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images in an IDX or .npz file, and the labels that the .npz file holds beside them."""
    with open_data_file(path) as file:
        if file.peek(2)[:2] == b"PK":
            return _read_npz(file, split)
        return _read_idx(file, ndim=3), None


def read_labels(path: Path, count: int) -> np.ndarray:
    """The `count` labels in an IDX file."""
    with open_data_file(path) as file:
        labels = _read_idx(file, ndim=1)
        _check_labels(labels, count)
        return labels


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """What the header of an .npy file says.

    Args:
        stream: the file, at its start. At most _NPY_HEADER_BYTES of it are read.

    Returns:
        The array's shape, whether it is in Fortran's order, its type, and how many bytes the header takes.

    Raises:
        DataError: the file is of another version than 1.0 and 2.0.
        ValueError, or anything else that NumPy's parser may raise: the header is malformed.
    """
    head = io.BytesIO(stream.read(_NPY_HEADER_BYTES))  # NumPy would read a header at whatever length it claims
    version = np.lib.format.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"found .npy version {version}, expected 1.0 or 2.0")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers of Python 2, and about what a hostile one makes it parse
        shape, fortran_order, dtype = read(head)
    return shape, fortran_order, dtype, head.tell()


def _check_labels(labels: np.ndarray, count: int) -> None:
    if len(labels) != count:
        raise DataError(f"found {len(labels)} labels, expected {count}, one an image")


def _check_shape(shape: tuple[int, ...], ndim: int, limit: int) -> int:
    """How many bytes a uint8 array of `shape` takes, provided it can be images (or labels) of at most `limit` bytes."""
    if len(shape) != ndim or min(shape) < 1 or shape[1:] not in ((), (28, 28), (32, 32)):
        raise DataError(f"found shape {shorten(list(shape))}, expected {_EXPECTED_SHAPE[ndim]}")
    count = math.prod(shape)
    if count > min(limit, _MAX_BYTES):
        raise DataError(f"found shape {shorten(list(shape))}, expected {min(limit, _MAX_BYTES)} bytes at most")
    return count


def _read_exactly(stream: IO[bytes], count: int) -> bytearray:
    """The next `count` bytes. Memory grows with what is there, whatever the header claims."""
    content = bytearray()
    while len(content) < count:
        block = stream.read(min(count - len(content), _CHUNK))
        if not block:
            raise DataError(f"found {len(content)} bytes and then the end, expected {count}")
        content += block
    return content


class _GzipMember:
    """A gzip file of one member, read forward.

    `zlib` does all of it in C; the gzip module walks file names and padding a byte at a time, for minutes if asked to.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)  # with gzip's header and trailer: checks the CRC and the length

    def read(self, size: int) -> bytes:
        """1 to `size` bytes, or none at the end."""
        content = b""
        while not content and not self._inflate.eof:
            block = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            if not block:
                raise DataError("found a truncated gzip file, expected a whole one")
            content = self._inflate.decompress(block, size)
        if self._inflate.eof and (self._inflate.unused_data or self._file.peek(1)):
            raise DataError("found bytes after the gzip data, expected none")
        return content


def _read_idx(file: IO[bytes], ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in an IDX file, gzipped or not."""
    size = os.fstat(file.fileno()).st_size
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    stream = _GzipMember(file) if gzipped else file
    magic = bytes(_read_exactly(stream, 4))
    if magic != bytes((0, 0, 0x08, ndim)):
        kind = f" ({_IDX_TYPES[magic[2]]}, {magic[3]} dimensions)" if magic[2] in _IDX_TYPES else ""
        raise DataError(f"found magic 0x{magic.hex()}{kind}, expected 0x0000080{ndim} (uint8, {ndim} dimensions)")
    shape = struct.unpack(f">{ndim}I", _read_exactly(stream, 4 * ndim))
    header = 4 + 4 * ndim
    count = _check_shape(shape, ndim, limit=_DEFLATE_RATIO * size if gzipped else _MAX_BYTES)
    found = _gzip_length(file, size) if gzipped else size
    if found != header + count:
        raise DataError(f"found {found} bytes (truncated or padded?), expected {header + count} for {list(shape)}")
    pixels = _read_exactly(stream, count)
    if stream.read(1):
        raise DataError(f"found bytes after the array, expected {header + count} in all")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _gzip_length(file: IO[bytes], size: int) -> int:
    """The uncompressed length that a gzip file of `size` bytes ends with: a lie there is caught later, at more cost."""
    here = file.tell()
    file.seek(size - 4)
    (length,) = struct.unpack("<I", file.read(4))
    file.seek(here)
    return length


def _read_npz(file: IO[bytes], split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of `split` in an .npz file, and their labels if it has them."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        arrays = {member.filename.removesuffix(".npy"): member for member in members}
        if len(arrays) != len(members):
            raise DataError("found two arrays of one name, expected different names")
        only = next(iter(arrays)) if len(arrays) == 1 else None
        key = next((key for key in (f"x_{split}", "images", "arr_0", only) if key in arrays), None)
        if key is None:
            raise DataError(
                f"found arrays {shorten(sorted(arrays))}, expected x_{split}, images, arr_0 or a single array"
            )
        images = _read_npy(archive, arrays[key], file, ndim=3)
        label_key = f"y_{split}" if key == f"x_{split}" else "labels"
        if label_key not in arrays:
            return images, None
        labels = _read_npy(archive, arrays[label_key], file, ndim=1)
        _check_labels(labels, len(images))
        return images, labels


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: IO[bytes], ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in `member` of the archive in `file`."""
    if member.flag_bits & 1:
        raise DataError(f"found {shorten(member.filename)!r} encrypted, expected it in clear")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"found zip compression {member.compress_type}, expected deflate or none, as NumPy writes")
    with archive.open(member) as stream:
        shape, fortran_order, dtype, offset = read_npy_header(stream)
        if dtype != np.uint8:
            raise DataError(f"found {shorten(member.filename)!r} of {shorten(dtype)}, expected uint8")
        size = os.fstat(file.fileno()).st_size
        count = _check_shape(shape, ndim, limit=_DEFLATE_RATIO * size)
        if member.file_size != offset + count:
            raise DataError(
                f"found {member.file_size} bytes in {shorten(member.filename)!r}, expected {offset + count}"
            )
        stream.seek(offset)
        pixels = np.frombuffer(_read_exactly(stream, count), np.uint8)
    return np.ascontiguousarray(pixels.reshape(shape, order="F" if fortran_order else "C"))
