"""IDX, the format of MNIST's files: how they are read and written, and the digest that names images."""

import gzip
import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dcgan_tf1.data.readers import MOST_BYTES, SHAPES, DataFile, check_size, read_exactly, shorten, unzipped
from dcgan_tf1.errors import DataError

TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
"""The types of the values, by the third byte of a file."""


def header(shape: tuple[int, ...], dtype: str = "uint8") -> bytes:
    """The first bytes of the file of an array: the type, the number of dimensions, and the sizes, big-endian."""
    code = next(code for code, name in TYPES.items() if name == dtype)
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)


def digest(array: np.ndarray) -> str:
    """The sha256, in hex, that an array of bytes has as an IDX file."""
    content = hashlib.sha256(header(array.shape))
    content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def write_gzipped(path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write an array of `shape`, given in parts of one type of TYPES, to a gzipped file, always the same bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:  # 6 is the level of the tool gzip
        for i, part in enumerate(parts):
            if i == 0:
                file.write(header(shape, part.dtype.name))
            file.write(part.astype(part.dtype.newbyteorder(">")).tobytes())


def read(file: DataFile, of_images: bool) -> np.ndarray:
    """The array in an IDX file, gzipped or not.

    Images are uint8 [N, 28, 28] or [N, 32, 32], with 3 channels behind in colour. Labels are integers [N]; of QMNIST's,
    which are [N, 8], the first column is the digit. Raises DataError if it is no such file.
    """
    file = unzipped(file)
    magic = bytes(read_exactly(file, 4))
    dtype = np.dtype(TYPES.get(magic[2], "float64")).newbyteorder(">")
    shape = struct.unpack(f">{min(magic[3], 4)}I", read_exactly(file, 4 * min(magic[3], 4)))
    if of_images:
        known = shape[1:] in SHAPES and dtype == np.uint8
        expected = "[N, 28, 28] or [N, 32, 32] of uint8, and 3 channels in colour"
    else:
        known, expected = shape[1:] in ((), (1,), (8,)) and dtype.kind in "iu", "labels [N] of integers"
    if magic[:2] != b"\0\0" or not known:
        found = f"{TYPES.get(magic[2], 'no known type')} {shorten(list(shape))}, {magic[3]} dimensions"
        raise DataError(f"found an IDX file of {found}, expected {expected}")
    count = check_size(shape, dtype.itemsize, min(file.limit, MOST_BYTES))
    content = read_exactly(file, count)
    if file.read(1):
        raise DataError(f"found bytes after the array, expected {count} for {list(shape)}")
    array = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    return array if of_images or array.ndim == 1 else array[:, 0].copy()
