"""Paths between latent vectors."""

import math
from statistics import NormalDist

import numpy as np


def path(start: np.ndarray, stop: np.ndarray, steps: int, distribution: str = "uniform") -> np.ndarray:
    """Latent vectors on the way between those of float32 [n, z_dim], ends included: float32 [n, steps, z_dim].

    On a straight line between two z the middle is too near the centre, where the generator has never been. Spherical
    interpolation (Shoemake 1985; White 2016) mends that for `normal` z, on whose sphere it stays. For `uniform` z
    it is done on the Gaussian vectors that z is the distribution function of: each coordinate along the way is then
    uniform over [-1, 1] as training's were, as far as the two ends are at right angles, which in 100 dimensions they
    nearly are (Agustsson et al. 2019 derive such maps by optimal transport).
    """
    normal = NormalDist()
    gaussian = np.vectorize(lambda x: normal.inv_cdf(min(max((x + 1) / 2, 2**-25), 1 - 2**-25)), otypes=[float])
    uniform = np.vectorize(lambda x: 2 * normal.cdf(x) - 1, otypes=[float])
    if distribution == "normal":
        gaussian = uniform = np.float64
    a, b = (gaussian(z)[:, np.newaxis] for z in (start, stop))
    cosine = (a * b).sum(2, keepdims=True) / np.sqrt((a * a).sum(2, keepdims=True) * (b * b).sum(2, keepdims=True))
    angle = np.arccos(np.clip(cosine, -1, 1)).clip(1e-6, math.pi - 1e-6)  # [n, 1, 1]
    t = np.linspace(0, 1, steps)[:, np.newaxis]
    way = uniform((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)).astype(np.float32)
    way[:, 0], way[:, -1] = start, stop
    return way
