"""Paths between latent vectors."""

import math
from statistics import NormalDist

import numpy as np

_STANDARD_NORMAL = NormalDist()
_SMALLEST_SHARE = 2**-25  # half the distance between two values of uniform z, so that -1 has a finite image


def latent_path(start: np.ndarray, stop: np.ndarray, steps: int, distribution: str = "uniform") -> np.ndarray:
    """Latent vectors on the way from `start` to `stop`, both included.

    The middle of a straight line between two z is nearer to the centre than any z that the generator was trained on.
    Spherical interpolation (Shoemake 1985; White 2016) keeps `normal` z at their usual distance from the centre.
    `uniform` z are first mapped to the Gaussian vectors that have them as their distribution function's values, and
    back afterwards. Each coordinate on the way is then uniform over [-1, 1], as in training, provided that the two
    ends are at right angles, which they nearly are in 100 dimensions (Agustsson et al. 2019 derive such maps by optimal
    transport).

    Args:
        start: float32 [n, z_dim].
        stop: float32 [n, z_dim].
        steps: how many vectors make a path; 2 or more.
        distribution: what z is drawn from, `uniform` or `normal`.

    Returns:
        float32 [n, steps, z_dim].
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
    shares = np.clip((z.astype(float) + 1) / 2, _SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
    return np.vectorize(_STANDARD_NORMAL.inv_cdf, otypes=[float])(shares)


def normal_to_uniform(x: np.ndarray) -> np.ndarray:
    """Standard normal numbers -> numbers that are uniform over [-1, 1], in the same order."""
    return 2 * np.vectorize(_STANDARD_NORMAL.cdf, otypes=[float])(x) - 1
