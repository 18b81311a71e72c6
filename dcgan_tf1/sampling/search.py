"""A search by rejection: candidates come in chunks, and those are kept that are sure to be of a class still wanted."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data.classes import DIGITS
from dcgan_tf1.errors import CheckpointError

PATIENCE = 20_000  # how many candidates in a row may be rejected before the search is given up
# How many more images of a class than of the rarest class may be kept when a chunk of a balanced set is searched.
# Without this limit the common classes would fill up first, and the end of the set would hold the rare ones alone.
_MAX_LEAD = 100


class Selection(NamedTuple):
    """A chunk of candidates, or what was kept of it."""

    z: np.ndarray  # the images' latent vectors, float32 [n, z_dim]
    digits: np.ndarray  # uint8 [n, size, size]
    indices: np.ndarray | None  # the places of their classes in the list of names, int64 [n]; None: nobody asks
    examined: int  # the number of candidates in this chunk and all before it, as far as they have been examined


Chunk = tuple[Selection, np.ndarray]  # candidates, and for each of them whether its class is certain enough, bool [n]


def search(
    compute: Callable[[int], Chunk], n: int, wanted: int | None = None, balanced: bool = False
) -> Iterator[Selection]:
    """The first `n` candidates that are wanted, chunk by chunk and in their order.

    Args:
        compute: gives chunk number 0, 1, 2, ... of the candidates; it is called in another thread.
        wanted: the only class that is wanted, 0 to 9; None: any.
        balanced: whether equally many of each of ten classes are wanted; the first classes get what is left over.

    Raises CheckpointError: PATIENCE candidates in a row were rejected.
    """
    classes = np.arange(len(DIGITS))
    goal = n // len(DIGITS) + (classes < n % len(DIGITS)) if balanced else np.where(classes == wanted, n, 0)
    any_class = wanted is None and not balanced
    kept, missing, fruitless = np.zeros(len(DIGITS), int), n, 0
    for candidates, sure in _computed_ahead(compute) if n else ():
        chosen, indices = np.flatnonzero(sure), candidates.indices
        if any_class or indices is None:
            chosen = chosen[:missing]
        else:
            limit = np.minimum(goal, kept.min() + _MAX_LEAD) if balanced else goal
            room, of_class = (limit - kept).clip(0), indices[chosen]
            firsts = [chosen[of_class == index][: room[index]] for index in classes]
            kept += [len(first) for first in firsts]
            chosen = np.sort(np.concatenate(firsts))
        missing -= len(chosen)
        if len(chosen):
            indices = None if indices is None else indices[chosen]
            ignored = 0 if missing else len(sure) - 1 - int(chosen[-1])
            yield Selection(candidates.z[chosen], candidates.digits[chosen], indices, candidates.examined - ignored)
        if not missing:
            return
        fruitless = 0 if len(chosen) else fruitless + len(sure)
        if fruitless >= PATIENCE:
            what = "any digit" if any_class else f"digit {(goal - kept).argmax()}"
            expected = "one that the classifier is sure of; train further, or lower --min_confidence"
            raise CheckpointError(f"{what}: found none in {fruitless} digits of these weights, expected {expected}")


def _computed_ahead(compute: Callable[[int], Chunk]) -> Iterator[Chunk]:
    """Yield `compute` of 0, 1, 2, ... without end, each computed while the caller works on the one before."""
    yield compute(0)  # alone, because it is often the only one that is needed
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(compute, 1)
        for index in itertools.count(2):
            result = upcoming.result()
            upcoming = pool.submit(compute, index)
            yield result
