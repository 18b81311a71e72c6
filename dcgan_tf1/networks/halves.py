"""A batch in two halves, each on a thread of its own.

Layers that treat every image alone, up to the next batch norm, are made once for each half of the batch. The two
chains of ops run side by side on two threads, which wait less for each other than two threads that share every op.
Between such layers no op takes the joined batch, so that joining it costs nothing there.
"""

from collections.abc import Callable

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.machine import usable_cores
from dcgan_tf1.networks.workers import joined

v1 = tf.compat.v1

_JOINED = "halves"
"""Graph collection of the batches that were made by joining two halves."""


def pay_off(config: Config) -> bool:
    """Whether training the 32x32 networks of `config` by halves is faster than by whole batches.

    This was measured on two cores without a GPU. The step of the reference recipe takes 0.83 to 0.92 of the time in
    bfloat16, and 0.91 to 0.96 in float32. Where every layer has batch norm it takes 1.0 to 1.1 times as long, with
    batches of 64 to 256. Other numbers of cores were not measured, nor were several workers.
    """
    alone = config.g_batch_norm == "first" and config.batch_size >= 256 and config.batch_size % 2 == 0
    return alone and not joined() and on_two_cores()


def on_two_cores() -> bool:
    """Whether this process computes on exactly two cores, and on no GPU."""
    return usable_cores() == 2 and not tf.config.list_physical_devices("GPU")


def are_used(graph: tf.Graph) -> bool:
    """Whether a batch goes by halves anywhere in `graph`."""
    return bool(graph.get_collection(_JOINED))


def halve(x: tf.Tensor) -> tf.Tensor:
    """The same batch, which must be of an even size, marked so that the layers that follow take it by halves."""
    return _join(tf.split(x, 2))


def is_halved(x: tf.Tensor) -> bool:
    """Whether `x` was made by joining two halves."""
    return any(x is joined for joined in v1.get_collection(_JOINED))


def by_halves(layer: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """`layer(x)`; where `x` is halved, the layer is applied to each half."""
    return _join([layer(half) for half in x.op.inputs[:2]]) if is_halved(x) else layer(x)


def _join(halves: list[tf.Tensor]) -> tf.Tensor:
    joined = tf.concat(halves, 0)
    v1.add_to_collection(_JOINED, joined)
    return joined
