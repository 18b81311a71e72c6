"""Seeded random draws: batches of images, and latent vectors.

Each draw is a pure function of the seed and of a counter such as the step. A resumed run therefore sees what an
uninterrupted one would have seen, and there is no iterator to save.
"""

import functools
import math
from enum import IntEnum

import numpy as np

from dcgan_tf1.config import Config
from dcgan_tf1.errors import UsageError

CHUNK = 500
"""How many latent vectors one counter of `Stream.SAMPLE` makes; as many digits pass through a trained GAN together.

A digit therefore depends on the weights, the seed and its index alone, to the last bit on one kind of processor. The
value never changes.
"""


class Stream(IntEnum):
    """What random numbers are used for. Each use has a key of its own, so no two share numbers. Values never change."""

    SHUFFLE = 0  # the order of the images; the counter is the epoch
    TRAIN = 1  # z of the training steps; the counter is the step
    SNAPSHOT = 2  # the fixed z of the sample grids; the counter is 0
    SAMPLE = 3  # z of the digits that a trained GAN generates; the counter is the chunk of CHUNK digits
    EVALUATE = 4  # z of the digits that are measured during training; the counter is 0
    CALIBRATE = 5  # z of the digits whose statistics batch norm takes for averaged weights; the counter is 0


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The indices of the images, of `count`, that make the batch of one step: int64 [batch_size], read-only.

    An epoch goes through a new permutation of the images in count // batch_size steps. It shows no image twice, and
    leaves out the remainder of the division.

    Raises UsageError: `batch_size` is larger than `count`.
    """
    if batch_size > count:
        raise UsageError(f"--batch_size: found {batch_size}, expected at most {count}, the size of the data set")
    epoch, position = divmod(step, count // batch_size)
    return _permutation(count, seed, epoch)[position * batch_size :][:batch_size]


def latent(seed: int, stream: int, counter: int, shape: tuple[int, ...], distribution: str = "uniform") -> np.ndarray:
    """Random numbers that depend on the arguments alone, float32 of `shape`.

    Args:
        stream: what the numbers are used for; see `Stream`.
        counter: which draw of that stream, such as the step. It and `seed` are from 0 to 2**64 - 1.
        distribution: `uniform` over [-1, 1), or standard `normal` (Box and Muller 1958).
    """
    bits = _bits(seed, stream, counter, math.prod(shape))
    if distribution == "normal":  # the upper half of the bits gives the radius, the lower half the angle
        radius = np.sqrt(-2 * np.log(((bits >> 32) + 1) * 2.0**-32))
        return (radius * np.cos((bits & 0xFFFFFFFF) * (2 * np.pi * 2.0**-32))).astype(np.float32).reshape(shape)
    bits = bits >> 40  # 24 bits: each value is exact in float32
    return (bits.astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


def latents(config: Config, stream: int, counter: int, count: int) -> np.ndarray:
    """`count` latent vectors of a GAN of those settings, float32 [count, z_dim]; see `latent`."""
    return latent(config.seed, stream, counter, (count, config.z_dim), config.z_distribution)


@functools.lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of range(count), int64 [count]. It is read-only because the cache shares it among callers."""
    order = _bits(seed, Stream.SHUFFLE, epoch, count).argsort(kind="stable")
    order.setflags(write=False)
    return order


def _bits(seed: int, stream: int, counter: int, count: int) -> np.ndarray:
    """Random bits from a counter-based generator (Philox; Salmon et al. 2011), uint64 [count].

    Philox takes 128 bits of key and 256 of counter, so that each argument has 64 bits to itself and none is hashed.
    Raw bits are drawn because NumPy promises never to change them; what its `Generator` makes of them may change.
    """
    key = np.array([seed, stream], np.uint64)
    start = np.array([0, 0, 0, counter], np.uint64)  # Philox itself counts in the first word
    return np.random.Philox(key=key, counter=start).random_raw(count)
