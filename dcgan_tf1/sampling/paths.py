"""Paths between latent vectors, and the digits on them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dcgan_tf1.arguments import argument_error, check_integer
from dcgan_tf1.config import LARGEST_SEED
from dcgan_tf1.data.classes import find_class, one_hot
from dcgan_tf1.sampling.request import Request

if TYPE_CHECKING:
    from dcgan_tf1.sampling.trained_gan import TrainedGan

_SMALLEST_SHARE = 2**-25  # half the distance between two values of uniform z, so that -1 has a finite image


def interpolate(
    gan: "TrainedGan",
    steps: int,
    rows: int = 1,
    labels: tuple[str | int | None, str | int | None] = (None, None),
    seeds: tuple[int | None, int | None] = (None, None),
) -> np.ndarray:
    """Generate paths from the first digits of one seed to the first digits of another: uint8 [rows, steps, 32, 32].

    Args:
        steps: how many digits make a path, its two ends included; 2 or more.
        rows: 1 or more.
        labels: the classes of the digits at the start and at the end, as `sample` takes them; None: any.
        seeds: of the digits at the start and at the end, 0 to 2**63 - 1; None: another one on each call.

    Raises:
        ValueError: an argument is of the wrong type or out of range.
        CheckpointError: the generator makes no digit of one of `labels`.
    """
    check_integer("steps", steps, 2, 2**31)
    check_integer("rows", rows, 1, 2**31)
    for name, pair in (("labels", labels), ("seeds", seeds)):
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise argument_error(name, repr(pair), "two, for the start and the end")
    for label, seed in zip(labels, seeds, strict=True):
        find_class("labels", label, gan.classes)
        if seed is not None:
            check_integer("seeds", seed, 0, LARGEST_SEED)
    ends = [list(gan.select(Request(rows, label, seed))) for label, seed in zip(labels, seeds, strict=True)]
    start, stop = (np.concatenate([part.z for part in parts]) for parts in ends)
    z = latent_path(start, stop, steps, gan.config.z_distribution)
    classes = [np.concatenate([part.indices for part in parts]) if gan.classes else None for parts in ends]
    first, last = (one_hot(each, rows, gan.classes)[:, np.newaxis] for each in classes)
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, np.newaxis]
    mixed = (1 - share) * first + share * last  # they change evenly along the path
    images = gan.generate_mixed(z.reshape(rows * steps, -1), mixed.reshape(rows * steps, -1))
    return images.reshape(rows, steps, *images.shape[1:])


def latent_path(start: np.ndarray, stop: np.ndarray, steps: int, distribution: str = "uniform") -> np.ndarray:
    """Latent vectors on the way from `start` to `stop`, both included: float32 [n, steps, z_dim].

    The middle of a straight line between two z is nearer to the centre than any z that the generator was trained on.
    Spherical interpolation (Shoemake 1985; White 2016) keeps `normal` z at their usual distance from the centre.
    `uniform` z are first mapped to the Gaussian vectors that have them as their distribution function's values, and
    back afterwards. Each coordinate on the way is then uniform, as in training, if the two ends are at right angles,
    which they nearly are in 100 dimensions (Agustsson et al. 2019 derive such maps by optimal transport).

    Args:
        start, stop: float32 [n, z_dim].
        steps: how many vectors make a path; 2 or more.
        distribution: what z is drawn from, `uniform` or `normal`.
    """
    normal = distribution == "normal"
    a, b = ((z.astype(float) if normal else _uniform_to_normal(z))[:, np.newaxis] for z in (start, stop))
    cosine = (a * b).sum(2, keepdims=True) / np.sqrt((a * a).sum(2, keepdims=True) * (b * b).sum(2, keepdims=True))
    angle = np.arccos(np.clip(cosine, -1, 1)).clip(1e-6, math.pi - 1e-6)  # [n, 1, 1]
    t = np.linspace(0, 1, steps)[:, np.newaxis]
    way = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
    way = (way if normal else normal_to_uniform(way)).astype(np.float32)
    way[:, 0], way[:, -1] = start, stop  # exactly, in spite of rounding
    return way


def _uniform_to_normal(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtri  # here, since most commands need no SciPy, which takes a while

    return ndtri(np.clip((z.astype(float) + 1) / 2, _SMALLEST_SHARE, 1 - _SMALLEST_SHARE))


def normal_to_uniform(x: np.ndarray) -> np.ndarray:
    """Standard normal numbers -> numbers that are uniform over [-1, 1], in the same order."""
    from scipy.special import ndtr

    return 2 * ndtr(x) - 1
