"""Seeded draws: batches, and latent vectors.

Each is a pure function of the seed and a counter such as the step, so a resumed run sees what an uninterrupted one
would have seen, and there is no iterator to save.
"""

import functools
import math
from enum import IntEnum

import numpy as np

from dcgan_tf1.errors import UsageError

CHUNK = 500
"""How many latent vectors one counter of `Stream.SAMPLE` makes; as many digits pass through a trained GAN together.

A digit therefore depends on the weights, the seed and its index alone, to the last bit on one kind of processor. The
value never changes.
"""


class Stream(IntEnum):
    """What random numbers are for. Each use is a key of its own, so no two share numbers; the values are for ever."""

    SHUFFLE = 0
    """The order of the images, by epoch."""
    TRAIN = 1
    """z of the training steps, by step."""
    SNAPSHOT = 2
    """The fixed z of the sample grids, at counter 0."""
    SAMPLE = 3
    """z of the digits drawn once trained, by chunk."""
    EVALUATE = 4
    """z of the digits measured while training, at counter 0."""


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which of `count` images make the batch of the 0-based `step`: int64 [batch_size], read-only.

    An epoch is count // batch_size steps over a fresh permutation. It shows no image twice, and leaves out the
    remainder.

    Raises:
        UsageError: `batch_size` is more than `count`.
    """
    if batch_size > count:
        raise UsageError(f"--batch_size: found {batch_size}, expected at most {count}, the size of the data set")
    epoch, position = divmod(step, count // batch_size)
    return _permutation(count, seed, epoch)[position * batch_size :][:batch_size]


def latent(seed: int, stream: int, counter: int, shape: tuple[int, ...], distribution: str = "uniform") -> np.ndarray:
    """float32 of `shape`, `uniform` over [-1, 1) or standard `normal`: a pure function of its arguments.

    Args:
        seed: 0 to 2**64 - 1.
        stream: what for, see `Stream`.
        counter: which draw of that stream, say the step: 0 to 2**64 - 1.
    """
    bits = _bits(seed, stream, counter, math.prod(shape))
    if (
        distribution == "normal"
    ):  # Box and Muller 1958: the radius from the upper half of the bits, the angle from the rest
        radius = np.sqrt(-2 * np.log(((bits >> 32) + 1) * 2.0**-32))
        return (radius * np.cos((bits & 0xFFFFFFFF) * (2 * np.pi * 2.0**-32))).astype(np.float32).reshape(shape)
    bits = bits >> 40  # 24 bits: each value is exact in float32
    return (bits.astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


@functools.lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of range(count), int64 [count], read-only since it is shared."""
    order = _bits(seed, Stream.SHUFFLE, epoch, count).argsort(kind="stable")
    order.setflags(write=False)
    return order


def _bits(seed: int, stream: int, counter: int, count: int) -> np.ndarray:
    """uint64 [count] of random bits.

    Philox takes 128 bits of key and 256 of counter, so every argument has 64 bits to itself and none are hashed. Raw
    bits are drawn because NumPy keeps those for ever, and what `Generator` makes of them only until it knows better.
    """
    key = np.array([seed, stream], np.uint64)
    start = np.array([0, 0, 0, counter], np.uint64)  # Philox itself counts in the first word
    return np.random.Philox(key=key, counter=start).random_raw(count)
