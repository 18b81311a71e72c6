"""A trained generator for other programs, as a SavedModel or an ONNX file; `weights.save_weights` is for NumPy."""

import json
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dcgan_tf1.data.draws import CHUNK
from dcgan_tf1.files import write_whole
from dcgan_tf1.networks import inference
from dcgan_tf1.networks.frozen import constant_getter
from dcgan_tf1.runs.weights import Weights, rounded
from dcgan_tf1.sampling.trained_gan import TrainedGan

v1 = tf.compat.v1

_OPSET = 17  # from 2022: old enough for every runtime, and new enough for all ops that are used


def check_generator(weights: Weights, dtype: str) -> None:
    """Raise CheckpointError unless `weights`, in `float32` or `float16`, fit their config and generate digits."""
    with TrainedGan(weights._replace(arrays=rounded(weights, dtype))) as gan:
        gan.sample(max(CHUNK, len(gan.classes)), seed=0)


def write_saved_model(weights: Weights, path: Path) -> None:
    """Write the generator of `weights` to `path`, a saved_model.pb: one frozen graph of TensorFlow's own ops.

    Its signature `serving_default` takes `z`, float32 [n, z_dim] (see `Config.z_distribution`), and for a conditional
    GAN `label`, int32 [n], the place of each class in its list of names. It returns `images`, uint8 [n, 32, 32]
    (28x28 for some families, and with 3 channels behind in colour), and `pixels`, the same as float32 in [0, 1], for
    any n.

    Raises CheckpointError: the weights are not those of the networks that their config describes; OutputError: the file
    cannot be written, and nothing is left behind.
    """
    graph, inputs, outputs = frozen_generator(weights)
    named = ({tensor.op.name: tensor for tensor in tensors} for tensors in (inputs, outputs))
    with graph.as_default():
        meta = v1.train.export_meta_graph(collection_list=[])
        signature = v1.saved_model.predict_signature_def(*named)
    meta.meta_info_def.tags.append(v1.saved_model.tag_constants.SERVING)
    meta.signature_def[v1.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY].CopyFrom(signature)
    # The graph is frozen, so this one file holds all of it.
    write_whole(
        path, SavedModel(saved_model_schema_version=1, meta_graphs=[meta]).SerializeToString(deterministic=True)
    )


def write_onnx(weights: Weights, path: Path) -> None:
    """Write the generator of `weights` to the ONNX file `path`, like `write_saved_model`, with the names of classes."""
    import tf2onnx

    tf.get_logger().setLevel("ERROR")  # tf2onnx calls what TensorFlow warns of
    graph, inputs, outputs = frozen_generator(weights)
    names = {tensor.name: tensor.op.name for tensor in (*inputs, *outputs)}
    model, _ = tf2onnx.convert.from_graph_def(
        graph.as_graph_def(),
        name="generator",
        input_names=[tensor.name for tensor in inputs],
        output_names=[tensor.name for tensor in outputs],
        opset=_OPSET,
        tensors_to_rename=names,
    )
    if inputs[1:]:
        model.metadata_props.add(key="classes", value=json.dumps(weights.dataset["classes"]))
    write_whole(path, model.SerializeToString())


def frozen_generator(weights: Weights) -> tuple[tf.Graph, list[tf.Tensor], list[tf.Tensor]]:
    """A frozen graph of the generator, its inputs `z` and `label`, and its outputs `images` and `pixels`."""
    config, classes = weights.config, len(weights.dataset.get("classes", ()))
    graph = tf.Graph()
    with graph.as_default():
        inputs = [v1.placeholder(tf.float32, [None, config.z_dim], "z")]
        if classes:
            inputs.append(v1.placeholder(tf.int32, [None], "label"))
        one_hot = tf.one_hot(inputs[1], classes) if classes else None
        getter = constant_getter(weights.arrays, weights.path)
        generated = inference.generate(inputs[0], one_hot, config, getter)
        images = tf.identity(generated.images, "images")
        shown = generated.pixels[..., 0] if config.channels == 1 else generated.pixels
        pixels = tf.identity((shown + 1.0) / 2.0, "pixels")
    return graph, inputs, [images, pixels]
