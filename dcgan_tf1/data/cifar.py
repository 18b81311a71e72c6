"""The binary version of CIFAR-10 (Krizhevsky 2009)."""

import numpy as np

from dcgan_tf1.data.readers import MOST_BYTES, DataFile, read_exactly
from dcgan_tf1.errors import DataError

_RECORD = 1 + 3 * 32 * 32


def read(file: DataFile) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one file: uint8 [N, 32, 32, 3] and uint8 [N].

    It holds records of 3,073 bytes: a label, and 32x32 pixels of red, then of green, then of blue. Raises DataError if
    it is no such file.
    """
    if not 0 < file.limit <= MOST_BYTES or file.limit % _RECORD:
        raise DataError(f"found {file.limit} bytes, expected a multiple of {_RECORD}, as in CIFAR-10's files")
    records = np.frombuffer(read_exactly(file, file.limit), np.uint8).reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
