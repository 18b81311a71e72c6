"""What layers have to know of the workers that train one GAN together, each on its share of every batch."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import tensorflow as tf

v1 = tf.compat.v1

_WORKERS = "workers"
"""Graph collection that holds the `Workers` of a training graph; it is empty where one process trains alone."""


class Workers(Protocol):
    """Several workers, as one of them sees them."""

    index: int
    """The number of this worker."""
    count: int
    """How many there are."""
    sync_batch_norm: bool
    """Whether batch norm takes the statistics of the whole batch, and not those of this worker's share."""

    def average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The means of float32 tensors over all workers."""


def join(workers: Workers) -> None:
    """Let the layers that are made from here on know of `workers`."""
    v1.add_to_collection(_WORKERS, workers)


def joined() -> Workers | None:
    """The workers of the graph that is being made; None: one process trains alone."""
    found = v1.get_collection(_WORKERS)
    return found[0] if found else None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A context in which layers are made for this worker alone."""
    collection = v1.get_collection_ref(_WORKERS)
    kept = list(collection)
    collection.clear()
    yield
    collection.extend(kept)


def own_share(draw: Callable[[Sequence[int]], tf.Tensor], shape: Sequence[int]) -> tf.Tensor:
    """The random numbers `draw(shape)` for this worker's share of a batch.

    They are a slice of those that one process draws for the whole batch. So no two workers have the same ones, and what
    is drawn does not depend on how many workers there are.
    """
    workers = joined()
    if workers is None:
        return draw(shape)
    share, *others = shape
    begin = workers.index * share
    return draw([workers.count * share, *others])[begin : begin + share]


def normalize(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, workers: Workers
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`fused_batch_norm` of this worker's share `x` of a batch, by the statistics of the whole batch.

    Means and mean squares are averaged over the workers. The gradient of such an average is the average of the
    gradients, since each worker's loss is the mean over its share, and gradients are averaged again in the end.

    Returns:
        The normalised share; the mean of the whole batch, and its variance with Bessel's correction, each [channels].
    """

    @tf.custom_gradient
    def average(statistics: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return workers.average([statistics])[0], lambda gradient: workers.average([gradient])[0]

    mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
    mean, mean_square = tf.unstack(average(tf.stack([mean, variance + mean**2])))
    variance = mean_square - mean**2
    elements = workers.count * x.shape.num_elements() // x.shape[-1]
    normalised = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    return normalised, mean, variance * (elements / (elements - 1))
