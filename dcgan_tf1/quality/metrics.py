"""Distances between two sets of images, in NumPy, mostly over features [n, d] of a classifier's hidden layer.

All arithmetic is float64, but for the search for nearest neighbours among pixels.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

_CHUNK = 1000
"""Rows of a matrix of distances held at a time: 80 MB against 10,000 columns."""


class Statistics(NamedTuple):
    """What `frechet_distance` needs to know of a set: compute it once for a reference that stays."""

    mean: np.ndarray
    """float64 [d]."""
    covariance: np.ndarray
    """float64 [d, d]."""


def statistics(features: np.ndarray) -> Statistics:
    """Mean and unbiased covariance of `features` [n, d]."""
    features = features.astype(np.float64)
    return Statistics(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 and up (Dowson and Landau 1982; as FID, Heusel et al. 2017).

    C1 C2 has the eigenvalues of R C2 R with R = C1^(1/2), which is symmetric and positive: the trace of its root is
    stable even where features are constant and a covariance singular. Small samples read high: compare equal n.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace_of_root = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(0)).sum()
    difference = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return max(0.0, float(difference @ difference + traces - 2 * trace_of_root))


def kid(a: np.ndarray, b: np.ndarray, subset: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Kernel distance, its estimate and standard error (Binkowski et al. 2018).

    The unbiased squared maximum mean discrepancy under the kernel (x y / d + 1)^3, averaged over disjoint random
    subsets of `subset` rows (or of half the rows, if fewer): 0 in the mean for equal distributions, whatever n.
    Disjoint subsets are independent, so the spread of their estimates gives an honest error.
    """
    smaller = min(len(a), len(b))
    subset = min(subset, smaller // 2)
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(rows))[: smaller // subset * subset].reshape(-1, subset) for rows in (a, b)]
    a, b = a.astype(np.float64), b.astype(np.float64)
    estimates = [_squared_discrepancy(a[i], b[j]) for i, j in zip(*orders, strict=True)]
    return float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(len(estimates)))


def _squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased: pairs of a row with itself are left out (Gretton et al. 2012, equation 3)."""
    (n, d), m = x.shape, len(y)

    def kernel(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        base = u @ v.T / d + 1
        return base * base * base

    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


class Fidelity(NamedTuple):
    """See `precision_recall_density_coverage`."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> Fidelity:
    """How far two sets of features, [n, d] and [m, d], lie within one another. All are 0 to 1, but density 0 to n / k.

    A point's ball reaches to its k-th nearest neighbour in its own set. Precision is the share of fakes in the ball of
    any real, recall the share of reals in the ball of any fake (Kynkaanniemi et al. 2019). Density is the number of
    real balls that hold a fake, over k, in the mean: outliers among the reals count for less. Coverage is the share of
    reals whose ball holds a fake (Naeem et al. 2020).
    """
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    holding = np.zeros(len(fake), np.int64)  # real balls that hold each fake
    recalled, covered = 0, 0
    for start in range(0, len(real), _CHUNK):
        rows = slice(start, start + _CHUNK)
        distances = _squared_distances(real[rows], fake)
        inside = distances <= real_radii[rows, np.newaxis]
        holding += inside.sum(0)
        covered += inside.any(1).sum()
        recalled += (distances <= fake_radii).any(1).sum()
    shares = (holding > 0).mean(), recalled / len(real), holding.mean() / k, covered / len(real)
    return Fidelity(*map(float, shares))


def _squared_radii(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each of `points` [n, d] to its k-th nearest other one, [n]."""
    radii = np.empty(len(points))
    for start in range(0, len(points), _CHUNK):
        distances = _squared_distances(points[start : start + _CHUNK], points)
        radii[start : start + _CHUNK] = np.partition(distances, k, axis=1)[:, k]  # the 0-th is the point itself
    return radii


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n, d], [m, d] -> [n, m]."""
    distances = a @ b.T
    distances *= -2
    distances += np.square(a).sum(1)[:, np.newaxis]
    distances += np.square(b).sum(1)
    return distances


def class_histogram(probabilities: np.ndarray) -> np.ndarray:
    """Share of the images whose likeliest class each is: probabilities [n, classes] -> float64 [classes]."""
    return np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]) / len(probabilities)


def class_divergence(histogram: np.ndarray, reference: np.ndarray) -> float:
    """Kullback-Leibler divergence of `histogram` from `reference`, in nats: 0 where they agree."""
    found = histogram > 0
    with np.errstate(divide="ignore"):  # a class that the reference lacks is infinitely surprising
        return float((histogram[found] * np.log(histogram[found] / reference[found])).sum())


def missing_classes(histogram: np.ndarray, reference: np.ndarray) -> int:
    """Classes with under a tenth of their share in `reference`: a stray misread digit does not make a class."""
    return int((histogram < reference / 10).sum())


def mnist_score(probabilities: np.ndarray) -> float:
    """exp(E KL(p(class | image) | p(class))), 1 to 10 for 10 classes: the inception score (Salimans et al. 2016)."""
    p = probabilities.astype(np.float64)
    tiny = np.finfo(np.float64).tiny  # 0 log 0 is 0
    divergences = (p * (np.log(p + tiny) - np.log(p.mean(0) + tiny))).sum(1)
    return float(np.exp(divergences.mean()))


def nearest_neighbours(images: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image, uint8 [n, h, w], the nearest of `training`, uint8 [m, h, w], in pixels.

    The search is by float32 matrix products, so that of two nearly as near either may be taken; the distances to those
    found are exact.

    Returns:
        float64 [n], Euclidean distances in units of the full grey range; int64 [n], indices into `training`.
    """
    rows, columns = (x.reshape(len(x), -1) for x in (images, training))
    best = np.full(len(rows), np.inf, np.float32)
    indices = np.zeros(len(rows), np.int64)
    rows_float = rows.astype(np.float32)
    for start in range(0, len(columns), _CHUNK):
        chunk = columns[start : start + _CHUNK].astype(np.float32)
        # |x - t|^2 less |x|^2, which all t share
        distances = rows_float @ (-2 * chunk.T)
        distances += np.square(chunk).sum(1)
        nearest = distances.argmin(1)
        distances = distances[np.arange(len(rows)), nearest]
        closer = distances < best
        best[closer], indices[closer] = distances[closer], nearest[closer] + start
    squares = [np.square(x.astype(np.int64) - columns[i]).sum() for x, i in zip(rows, indices, strict=True)]
    return np.sqrt(squares) / 255, indices


def exact_copies(images: np.ndarray, training: np.ndarray) -> int:
    """How many of uint8 [n, h, w] are in `training`, uint8 [m, h, w], to the last pixel."""
    known = {image.tobytes() for image in training}
    return sum(image.tobytes() in known for image in images)


def border_energy(images: np.ndarray, width: int = 2) -> float:
    """Mean grey, 0 to 1, of the frame of `width` pixels around uint8 [n, h, w]: MNIST padded to 32x32 has none."""
    frame = np.ones(images.shape[1:], bool)
    frame[width:-width, width:-width] = False
    return float(images[:, frame].mean(dtype=np.float64) / 255)


def specked(images: np.ndarray, area: int = 6, grey: int = 64) -> float:
    """Share of uint8 [n, h, w] with a speck: up to `area` pixels over `grey` that touch no other, even at a corner."""
    touching = np.zeros((3, 3, 3), bool)
    touching[1] = True  # within an image
    parts, _ = ndimage.label(images > grey, touching)
    small = np.bincount(parts.ravel()) <= area
    small[0] = False  # the background
    return float(small[parts].any((1, 2)).mean())
