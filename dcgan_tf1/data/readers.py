"""Readers of data files, which are not trusted.

No more memory is allocated, and no more is decompressed or parsed, than the size of a file on disk can account for.
Whatever is wrong with a file ends in a `DataError` of one line.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dcgan_tf1.data import idx
from dcgan_tf1.errors import DataError, reason

_BLOCK_BYTES = 1 << 18  # files are read in blocks of at most this size
_NPY_HEADER_BYTES = 4096  # the longest .npy header that is read; those that NumPy writes for our arrays take 128
MOST_BYTES = 1 << 30  # the largest array that is read
# No deflate stream expands to more than this many times its size (see "maximum expansion factor" in zlib's technical
# details), so the size of a compressed file limits the size of the array in it.
_MAX_DEFLATE_RATIO = 1032
_EXPECTED_SHAPE = {3: "[N, 28, 28] or [N, 32, 32], and 3 channels in colour", 1: "[N]"}
# What follows the number of images or of labels in a shape, by the number of dimensions in grey.
_SHAPES = {3: ((28, 28), (32, 32), (28, 28, 3), (32, 32, 3)), 1: ((), (1,))}
_CIFAR_RECORD = 1 + 3 * 32 * 32
_EXPECTED_FILE = "expected a whole IDX (.gz or not) or .npz file of uint8"


def shorten(value: object, width: int = 40) -> str:
    """The text of `value`, or the end of it, since a message has only 200 characters for everything."""
    text = str(value)
    return text if len(text) <= width else "..." + text[3 - width :]


@contextlib.contextmanager
def data_errors(source: Path | str, expected: str = _EXPECTED_FILE) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a DataError of one line that names `source`.

    Our own checks raise a DataError that says what was found and what was expected. All other errors come from
    libraries. On hostile bytes these raise whatever their parsers trip over, documented or not, hence `Exception`.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{shorten(source, 80)}: {error}") from error
    except Exception as error:
        raise DataError(f"{shorten(source, 80)}: {expected}; {reason(error)}") from error


class _BoundedReader(io.BufferedReader):
    """A file that refuses long reads. `zipfile` reads the whole directory at once, however long the file says it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _BLOCK_BYTES:
            raise DataError(f"found a zip directory of {size} bytes, expected at most {_BLOCK_BYTES}")
        return super().read(size)


@contextlib.contextmanager
def open_data_file(path: Path, expected: str = _EXPECTED_FILE) -> Iterator[io.BufferedReader]:
    """The regular file at `path`, open for reading. Whatever goes wrong until it is closed is a DataError."""
    with data_errors(path, expected):
        mode = os.stat(path).st_mode  # before it is opened, since opening a pipe waits for its writer
        if stat.S_ISDIR(mode):
            raise DataError("found a folder, expected a file")
        if not stat.S_ISREG(mode):
            raise DataError("found a pipe, socket or device, expected a regular file")
        with _BoundedReader(io.FileIO(path)) as file:
            yield file


def read_images(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the images of an IDX or .npz file, and the labels (`y_train`, `y_test` or `labels`) if an .npz has them.

    Args:
        path: an IDX file, gzipped or not, or an .npz file with x_train and x_test, images, arr_0 or one array alone.
        split: `train` or `test`; it decides between x_train and x_test.

    Returns:
        uint8 [N, 28, 28] or [N, 32, 32], with 3 channels behind in colour, and integers [N] or None. Raises DataError
        if the file is not such a file.
    """
    with open_data_file(path) as file:
        if file.peek(2)[:2] == b"PK":
            return _read_npz(file, split)
        return _read_idx(file, ndim=3), None


def read_labels(path: Path, count: int) -> np.ndarray:
    """Read an IDX file of `count` labels: uint8, int16 or int32 [count]. Raises DataError if it is no such file."""
    with open_data_file(path) as file:
        return _check_labels(_read_idx(file, ndim=1), count)


def read_cifar(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read files of CIFAR-10's binary version (Krizhevsky 2009): uint8 [N, 32, 32, 3] and uint8 [N].

    Each holds records of 3,073 bytes: a label, and 32x32 pixels of red, then of green, then of blue. Raises DataError
    if a file cannot be read, or is not such a file.
    """
    images, labels = [], []
    for path in paths:
        with open_data_file(path, "expected a whole file of CIFAR-10's binary version") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= MOST_BYTES or size % _CIFAR_RECORD:
                raise DataError(f"found {size} bytes, expected a multiple of {_CIFAR_RECORD}, as in CIFAR-10's files")
            records = np.frombuffer(_read_exactly(file.read, size), np.uint8).reshape(-1, _CIFAR_RECORD)
            labels.append(records[:, 0])
            images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return np.ascontiguousarray(np.concatenate(images)), np.concatenate(labels)


def _check_labels(labels: np.ndarray, count: int) -> np.ndarray:
    """`labels`, if there are `count` of them."""
    if len(labels) != count:
        raise DataError(f"found {len(labels)} labels, expected {count}, one for each image")
    return labels


def _check_shape(shape: tuple[int, ...], ndim: int, limit: int, item_size: int) -> int:
    """The number of bytes of images (or labels) of `shape`. Raises DataError if it is no such shape, or too large."""
    if not shape or min(shape) < 1 or shape[1:] not in _SHAPES[ndim]:
        raise DataError(f"found shape {shorten(list(shape))}, expected {_EXPECTED_SHAPE[ndim]}")
    count = math.prod(shape) * item_size
    if count > min(limit, MOST_BYTES):
        raise DataError(f"found shape {shorten(list(shape))}, expected {min(limit, MOST_BYTES)} bytes at most")
    return count


class _GzipMember:
    """A gzip file of one member, which is read forward, all of it in C.

    The gzip module reads file names and padding byte by byte, which a hostile file can make it do for minutes.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)  # expects gzip's header, and checks the CRC and length at its end

    def read(self, size: int, /) -> bytes:
        """At least 1 and at most `size` bytes, or none at the end."""
        content = b""
        while not content and not self._inflate.eof:
            block = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            if not block:
                raise DataError("found a truncated gzip file, expected a whole one")
            content = self._inflate.decompress(block, size)
        if self._inflate.eof and (self._inflate.unused_data or self._file.peek(1)):
            raise DataError("found bytes after the gzip data, expected none")
        return content


def _read_exactly(read: Callable[[int], bytes], count: int) -> bytearray:
    """The next `count` bytes. Memory grows with what is there, whatever the header says."""
    content = bytearray()
    while len(content) < count:
        block = read(min(count - len(content), _BLOCK_BYTES))
        if not block:
            raise DataError(f"found {len(content)} bytes and then the end, expected {count}")
        content += block
    return content


def _read_idx(file: io.BufferedReader, ndim: int) -> np.ndarray:
    """Read the array of `ndim` dimensions in an IDX file, gzipped or not: uint8 images, or labels of any integers."""
    size = os.fstat(file.fileno()).st_size
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    length = size
    if gzipped:  # what it says at its end shows most bad files before they are decompressed; a lie shows after that
        file.seek(max(0, size - 4))
        length = int.from_bytes(file.read(4), "little")
        file.seek(0)
    stream = _GzipMember(file) if gzipped else file
    magic = bytes(_read_exactly(stream.read, 4))
    dtype = np.dtype(idx.TYPES.get(magic[2], "uint8")).newbyteorder(">")
    of_labels = magic[:2] == b"\0\0" and magic[3] == ndim == 1 and dtype.kind == "i"
    in_colour = ndim == 3 and magic == bytes((0, 0, 0x08, 4))
    if magic != bytes((0, 0, 0x08, ndim)) and not of_labels and not in_colour:
        kind = f" ({idx.TYPES[magic[2]]}, {magic[3]} dimensions)" if magic[2] in idx.TYPES else ""
        raise DataError(f"found magic 0x{magic.hex()}{kind}, expected 0x0000080{ndim} (uint8, {ndim} dimensions)")
    shape = struct.unpack(f">{magic[3]}I", _read_exactly(stream.read, 4 * magic[3]))
    header = 4 + 4 * magic[3]
    limit = _MAX_DEFLATE_RATIO * size if gzipped else MOST_BYTES
    count = _check_shape(shape, ndim, limit, dtype.itemsize)
    if length != header + count:
        raise DataError(f"found {length} bytes (truncated or padded?), expected {header + count} for {list(shape)}")
    pixels = _read_exactly(stream.read, count)
    if stream.read(1):
        raise DataError(f"found bytes after the array, expected {header + count} in all")
    return np.frombuffer(pixels, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _read_npz(file: io.BufferedReader, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the images of `split` in an .npz file, and their labels if it has them."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        arrays = {member.filename.removesuffix(".npy"): member for member in members}
        if len(arrays) != len(members):
            raise DataError("found two arrays of one name, expected different names")
        limit = _MAX_DEFLATE_RATIO * os.fstat(file.fileno()).st_size

        def read(key: str, ndim: int) -> np.ndarray:
            def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
                if dtype != np.uint8 and not (ndim == 1 and dtype.kind in "iu"):
                    expected = "uint8" if ndim > 1 else "integers"
                    raise DataError(f"found {shorten(arrays[key].filename)!r} of {shorten(dtype)}, expected {expected}")
                _check_shape(shape, ndim, limit, dtype.itemsize)

            compressions = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
            return np.ascontiguousarray(read_npy(archive, arrays[key], compressions, check))

        only = next(iter(arrays)) if len(arrays) == 1 else None
        key = next((key for key in (f"x_{split}", "images", "arr_0", only) if key in arrays), None)
        if key is None:
            expected = f"expected x_{split}, images, arr_0 or a single array"
            raise DataError(f"found arrays {shorten(sorted(arrays))}, {expected}")
        images = read(key, 3)
        label_key = f"y_{split}" if key == f"x_{split}" else "labels"
        if label_key not in arrays:
            return images, None
        return images, _check_labels(read(label_key, 1).reshape(-1), len(images))  # Keras has [N, 1] for CIFAR-10


def read_npy(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    compressions: Sequence[int],
    check: Callable[[tuple[int, ...], np.dtype], object],
) -> np.ndarray:
    """Read the array in `member` of `archive`.

    Args:
        compressions: those of zipfile's that are allowed.
        check: is given the shape and the type before the array is read, and raises DataError if it wants no such array.

    Raises DataError: the member is compressed otherwise or encrypted, or is as long as no such array is.
    """
    name = shorten(member.filename)
    if member.flag_bits & 1:
        raise DataError(f"found {name!r} encrypted, expected no encryption")
    if member.compress_type not in compressions:
        expected = "none, as run.py writes" if len(compressions) == 1 else "deflate or none, as NumPy writes"
        raise DataError(f"found zip compression {member.compress_type}, expected {expected}")
    with archive.open(member) as stream:
        head = io.BytesIO(stream.read(_NPY_HEADER_BYTES))  # NumPy would read a header of whatever length it claims
        version = np.lib.format.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"found .npy version {version}, expected 1.0 or 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings(action="ignore"):  # of headers of Python 2, and of what a hostile one holds
            shape, fortran_order, dtype = read(head)
        offset = head.tell()
        check(shape, dtype)
        count = math.prod(shape) * dtype.itemsize
        if member.file_size != offset + count or min(shape, default=1) < 0:
            raise DataError(f"found {member.file_size} bytes in {name!r}, expected {offset + count}")
        stream.seek(offset)
        values = np.frombuffer(_read_exactly(stream.read, count), dtype).astype(dtype.newbyteorder("="), copy=False)
    return values.reshape(shape, order="F" if fortran_order else "C")
