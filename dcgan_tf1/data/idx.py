"""IDX, the format of MNIST's files: the types of its arrays, how they are written, and the digest that names images."""

import gzip
import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

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
