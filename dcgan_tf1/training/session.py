"""A session on a training graph, and its Saver's files."""

import os
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.networks.layers import HALVES
from dcgan_tf1.training.gan import Gan

v1 = tf.compat.v1


def session(gan: Gan, config: Config) -> v1.Session:
    """A session on the graph of `gan`, which is finalized: nothing may be added to it any more."""
    gan.graph.finalize()
    options = v1.ConfigProto()
    options.gpu_options.allow_growth = True
    rewrite = options.graph_options.rewrite_options
    if config.precision == "bfloat16":
        rewrite.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    if gan.graph.get_collection(HALVES):  # two chains of ops, a thread each
        options.inter_op_parallelism_threads, options.intra_op_parallelism_threads = 2, 1
    if config.xla:
        options.graph_options.optimizer_options.global_jit_level = v1.OptimizerOptions.ON_1
    return v1.Session(graph=gan.graph, config=options)


def save(sess: v1.Session, gan: Gan, prefix: str) -> None:
    """Write the Saver's files, by its op as it is: `Saver.save` itself fails on paths that are no UTF-8."""
    saver = gan.saver.saver_def
    sess.run(saver.save_tensor_name, {saver.filename_tensor_name: os.fsencode(prefix)})


def restore(sess: v1.Session, gan: Gan, prefix: Path) -> None:
    """Set every variable to what the files of `prefix` hold.

    Raises:
        CheckpointError: they hold other variables than those of `gan`, or more, or fewer.
    """
    with gan.graph.as_default():
        expected = {variable.op.name: variable.shape.as_list() for variable in v1.global_variables()}
    found = v1.train.NewCheckpointReader(os.fsencode(prefix)).get_variable_to_shape_map()
    if found != expected:  # of surplus variables the Saver would say nothing
        name = min(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        found, expected = (shapes.get(name, "none") for shapes in (found, expected))
        raise CheckpointError(f"{prefix}: found {name} of shape {found}, expected {expected} in this version")
    saver = gan.saver.saver_def
    sess.run(saver.restore_op_name, {saver.filename_tensor_name: os.fsencode(prefix)})
