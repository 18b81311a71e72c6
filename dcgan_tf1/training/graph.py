"""The graph of a training: the step, a sampler, and what initializes, checks and saves the variables."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.training.step import Game, Step, reduce_over_replicas

v1 = tf.compat.v1


class Gan(NamedTuple):
    """Tensors and ops of one training graph."""

    graph: tf.Graph
    images: tf.Tensor
    """Placeholder, uint8 [share, side, side], or [share, side, side, 3] in colour: real images. The share is all of the
    batch, or this process's part of it where several processes train together."""
    z: tf.Tensor  # placeholder, float32 [share, z_dim]: the latent vectors of the step
    labels: tf.Tensor | None
    """Placeholder, int32 [share]: the classes of the real images, and of those to generate; None: unconditional."""
    signal: tf.Tensor  # placeholder, int32 []: the number of the signal that has come to this process, or 0
    stopping: tf.Tensor  # the largest number that any of the processes was given as `signal` in this step, int32 []
    train_op: tf.Operation  # one step, see `Game.train_step`
    metrics: dict[str, tf.Tensor]  # scalars of the step that `train_op` takes, by their names in metrics.csv
    global_step: tf.Variable
    d_variables: list[tf.Variable]
    g_variables: list[tf.Variable]
    sample_z: tf.Tensor  # placeholder, float32 [any number, z_dim]
    sample_labels: tf.Tensor | None  # placeholder, int32 [any number]: the classes to generate; None: unconditional
    samples: tf.Tensor
    """The images of `sample_z` in inference mode, uint8 [any number, size, size], with 3 channels behind in colour."""
    calibrate_op: tf.Operation
    """Set batch norm's moving averages in the generator to the statistics of what it makes of `sample_z`.

    Only a run that averages the generator's weights needs it, before it samples or saves; in others it does nothing.
    """
    variables: list[tf.Variable]  # all that a checkpoint holds
    replicated: list[tf.Variable]
    """The variables that `train_op` moves, and which are therefore the same in all processes that train together."""
    finite: tf.Tensor  # whether every variable is finite, bool []
    init_op: tf.Operation
    assignments: dict[str, tuple[tf.Tensor, tf.Operation]]
    """For each variable, by its name, a placeholder and the op that sets the variable to it."""
    saver: tf.compat.v1.train.Saver

    def load(self, sess: tf.compat.v1.Session, values: Mapping[str, np.ndarray]) -> None:
        """Set variables, by their names, to `values`."""
        feeds = {self.assignments[name][0]: value for name, value in values.items()}
        sess.run([self.assignments[name][1] for name in values], feeds)


def build_gan(
    config: Config,
    side: int = 28,
    classes: int = 0,
    processes: int = 1,
    open_strategy: Callable[[], tf.distribute.Strategy] = tf.distribute.get_strategy,
) -> Gan:
    """The graph that trains `config` on images of `side` x `side` pixels.

    Args:
        side: 28 or 32, and not more than `config.image_size`.
        classes: how many classes the images have, for a conditional GAN; 0: an unconditional one.
        processes: how many processes share each batch.
        open_strategy: makes TensorFlow's strategy for all their devices, in the graph; by default there is one device.

    Raises ValueError: a trainable variable belongs to neither player, or to both.
    """
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(config.seed % 2**31)
        strategy = open_strategy()
        known = {variable.name for variable in v1.global_variables()}  # a strategy's own
        share = config.batch_size // processes
        images = v1.placeholder(tf.uint8, [share, *config.image_shape(side)], "images")
        z = v1.placeholder(tf.float32, [share, config.z_dim], "z")
        labels = v1.placeholder(tf.int32, [share], "labels") if classes else None
        sample_z = v1.placeholder(tf.float32, [None, config.z_dim], "sample_z")
        sample_labels = v1.placeholder(tf.int32, [None], "sample_labels") if classes else None
        signal = v1.placeholder(tf.int32, [], "signal")
        with strategy.scope():
            game = Game(config, classes)
            replicas = strategy.num_replicas_in_sync // processes  # of this process

            def take_share(*inputs: tf.Tensor | None) -> Step:
                own = int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)) % replicas
                return game.train_step(*(x if x is None else tf.split(x, replicas)[own] for x in inputs))

            step = strategy.run(game.train_step if replicas == 1 else take_share, (images, z, labels))
            stopping = strategy.run(_largest_of_all, (signal,))
            samples = game.sample(sample_z, sample_labels)
            calibrated = game.calibrate(sample_z, sample_labels)
            calibrate_op = tf.group(*[average.variable.assign(average.value) for average in calibrated])
            variables = [variable for variable in v1.global_variables() if variable.name not in known]
            values = [v1.placeholder(variable.dtype, variable.shape) for variable in variables]
            assigns = [v.assign(value, read_value=False) for v, value in zip(variables, values, strict=True)]
        floats = [tf.reshape(variable, [-1]) for variable in variables if variable.dtype.is_floating]
        return Gan(
            graph=graph,
            images=images,
            z=z,
            labels=labels,
            signal=signal,
            stopping=strategy.experimental_local_results(stopping)[0],
            train_op=tf.group(*strategy.experimental_local_results(step.count)),
            metrics={name: strategy.experimental_local_results(value)[0] for name, value in step.metrics.items()},
            global_step=game.step,
            d_variables=game.discriminator.variables,
            g_variables=game.generator.variables,
            sample_z=sample_z,
            sample_labels=sample_labels,
            samples=samples,
            calibrate_op=calibrate_op,
            variables=variables,
            replicated=[v for v in variables if v.name not in {average.variable.name for average in calibrated}],
            finite=tf.reduce_all(tf.math.is_finite(tf.concat(floats, axis=0))),
            init_op=tf.group(v1.global_variables_initializer()),
            assignments={v.op.name: (x, op) for v, x, op in zip(variables, values, assigns, strict=True)},
            saver=v1.train.Saver(variables, max_to_keep=None),
        )


def _largest_of_all(number: tf.Tensor) -> tf.Tensor:
    """The largest of the numbers of signals, from 0 to 64, that the replicas have."""
    (given,) = reduce_over_replicas("SUM", [tf.one_hot(number, 65)])
    return tf.reduce_max(tf.where(given > 0, tf.range(65), 0))
