"""A session on a training graph, and how its variables get into a checkpoint's files and out of them."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.machine import computes_in_bfloat16
from dcgan_tf1.networks import halves
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.training.cluster import Cluster
from dcgan_tf1.training.gan import Gan

v1 = tf.compat.v1

AVERAGE = "/ExponentialMovingAverage"
"""What TensorFlow adds to the name of a variable for that of its average."""
ONE_THREAD_PER_OP = {"inter_op_parallelism_threads": 2, "intra_op_parallelism_threads": 1}
"""Settings of a session that runs two ops side by side, and each on one thread."""


def open_session(gan: Gan, config: Config, cluster: Cluster | None = None) -> tf.compat.v1.Session:
    """A session on the graph of `gan`. The graph is finalized: nothing can be added to it any more.

    Args:
        cluster: the one that the graph was made for; None: this process alone.
    """
    gan.graph.finalize()
    options = session_options()
    if halves.are_used(gan.graph) or _ops_are_short(config):
        options.MergeFrom(v1.ConfigProto(**ONE_THREAD_PER_OP))
    if config.precision == "bfloat16":
        options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    if config.xla:
        options.graph_options.optimizer_options.global_jit_level = v1.OptimizerOptions.ON_1
    return cluster.open_session(gan.graph, options) if cluster else v1.Session(graph=gan.graph, config=options)


def _ops_are_short(config: Config) -> bool:
    """Whether two threads that share every op would wait for each other longer than either works.

    On two cores with AMX and one thread for an op, a step of the default recipe takes 0.74 of the time in bfloat16 and
    0.89 in float32. It takes 0.68 and 0.84 with batches of 32, 0.85 and 1.02 with 128, and 0.95 and 1.04 with 256.
    Steps of `mlp` take 0.71 to 0.91, and those of four times the default's channels 1.08 and 1.13. Other numbers of
    cores were not measured.
    """
    return config.batch_size <= 128 and halves.on_two_cores()


def fastest_precision() -> str:
    """The `--precision` in which a step takes the least time here: bfloat16 on CPUs that compute in it.

    That was measured on CPUs with AVX-512 BF16 and with AMX. On a GPU bfloat16 was not measured.
    """
    return "bfloat16" if computes_in_bfloat16() and not tf.config.list_physical_devices("GPU") else "float32"


def save(sess: tf.compat.v1.Session, gan: Gan, prefix: str) -> None:
    """Write all variables to the two files of `prefix`, in the Saver's format.

    The Saver's op is run directly, since `Saver.save` fails on paths that are not UTF-8.
    """
    saver = gan.saver.saver_def
    sess.run(saver.save_tensor_name, {saver.filename_tensor_name: os.fsencode(prefix)})


def restore(sess: tf.compat.v1.Session, gan: Gan, prefix: Path) -> None:
    """Set every variable to the value that the files of `prefix` hold.

    Raises:
        CheckpointError: the files do not hold exactly the variables of `gan`.
    """
    with gan.graph.as_default():
        expected = {variable.op.name: variable.shape.as_list() for variable in v1.global_variables()}
    found = v1.train.NewCheckpointReader(os.fsencode(prefix)).get_variable_to_shape_map()
    if found != expected:  # the Saver would not mention variables that are too many
        name = min(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        found, expected = (shapes.get(name, "none") for shapes in (found, expected))
        raise CheckpointError(f"{prefix}: found {name} of shape {found}, expected {expected} in this version")
    saver = gan.saver.saver_def
    sess.run(saver.restore_op_name, {saver.filename_tensor_name: os.fsencode(prefix)})


def start_from(sess: tf.compat.v1.Session, gan: Gan, arrays: Mapping[str, np.ndarray], gain: float) -> None:
    """Set the weights of both networks, and their averages, to `arrays`, by the name of the variable.

    A discriminator that `arrays` lacks altogether stays as it is, and so do the optimizers.

    Args:
        gain: `Config.weight_gain`, by which a weight is divided to give its variable.

    Raises:
        CheckpointError: these are not the weights of the networks of `gan`.
    """
    with gan.graph.as_default():
        variables = {variable.op.name: variable for variable in v1.global_variables()}
    amplified = {variable.op.name for variable in (*gan.g_variables, *gan.d_variables)}
    owners = {name.partition("/")[0] for name in arrays} | {"generator"}
    # Averages and Adam's slots lie under the names of their variables.
    own = {name for name in variables if name.partition("/")[0] in owners and name.rpartition("/")[0] not in variables}
    for name in sorted(own | arrays.keys()):
        found = list(arrays[name].shape) if name in arrays else "none"
        expected = variables[name].shape.as_list() if name in own else "none"
        if found != expected:
            raise CheckpointError(f"--init_from: found {name} of shape {found}, expected {expected}")
    values = {}
    for name, array in arrays.items():
        for variable in (variables[name], variables.get(name + AVERAGE)):
            if variable is not None:
                values[variable.initializer] = array / np.float32(gain) if name in amplified else array
    sess.run(list(values), {initializer.inputs[1]: value for initializer, value in values.items()})
