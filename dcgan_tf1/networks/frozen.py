"""Frozen networks: constants in the place of variables, batches of one size, and the settings that sessions share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from dcgan_tf1.errors import CheckpointError

v1 = tf.compat.v1


def session_options() -> tf.compat.v1.ConfigProto:
    """The settings with which every session of the project starts.

    Each session has the threads that it asks for. TensorFlow would otherwise give every session of a process the
    threads of the first one. The setting below does so for the threads that run ops side by side; for those within an
    op, `tensorflow_import` sets TF_OVERRIDE_GLOBAL_THREADPOOL.
    """
    options = v1.ConfigProto()
    options.gpu_options.allow_growth = True  # other programs may be using the same GPU
    options.use_per_session_threads = True
    return options


def constant_getter(
    arrays: Mapping[str, np.ndarray], source: Path, used: set[str] | None = None
) -> Callable[..., tf.Tensor]:
    """A custom getter for `variable_scope` that puts `arrays`, which `source` holds, in the place of variables.

    They become float32. It adds each name that is asked for to `used`, and raises CheckpointError where there is no
    such array of that shape.
    """

    def get_constant(
        getter: Callable[..., tf.Variable], name: str, shape: Sequence[int], **options: object
    ) -> tf.Tensor:
        found = arrays[name].shape if name in arrays else "none"
        if found != tuple(shape):
            raise CheckpointError(f"{source}: found {name} of shape {found}, expected {tuple(shape)}")
        if used is not None:
            used.add(name)
        return tf.constant(arrays[name].astype(np.float32))

    return get_constant


def call_in_batches(call: Callable[..., Sequence[np.ndarray]], size: int, *inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of `call` for any number of inputs, arrays [n, ...], which it is given in batches of exactly `size`.

    The last batch is filled up with zeros, whose outputs are dropped. So the output for one input never depends on how
    many there are.
    """
    count = len(inputs[0])
    missing = -count % size if count else size
    filled = [np.concatenate([each, np.zeros((missing, *each.shape[1:]), each.dtype)]) for each in inputs]
    batches = [call(*(each[start : start + size] for each in filled)) for start in range(0, count + missing, size)]
    return [np.concatenate(parts)[:count] for parts in zip(*batches, strict=True)]
