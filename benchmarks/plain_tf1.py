"""The usual TF1 script: float images, small layers on `get_variable`, one `session.run` for each update."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from dcgan_tf1.config import Config


class Plain(NamedTuple):
    """A built graph, its initialized session and the handles that a step needs."""

    graph: tf.Graph
    session: tf.Session
    images: tf.Tensor  # placeholder [batch, 32, 32, 1] in [-1, 1]
    z: tf.Tensor  # placeholder [batch, z_dim]
    d_loss: tf.Tensor
    g_loss: tf.Tensor
    d_train: tf.Operation
    g_train: tf.Operation
    variables: dict[str, tf.Variable]  # of both networks, without the optimizers'


def kernel_variable(shape: list[int]) -> tf.Variable:
    return tf.get_variable("kernel", shape, initializer=tf.truncated_normal_initializer(stddev=0.02))


def batch_norm(x: tf.Tensor) -> tf.Tensor:
    shape = [x.shape[-1]]
    beta = tf.get_variable("beta", shape, initializer=tf.zeros_initializer())
    moving_mean = tf.get_variable("moving_mean", shape, initializer=tf.zeros_initializer(), trainable=False)
    moving_variance = tf.get_variable("moving_variance", shape, initializer=tf.ones_initializer(), trainable=False)
    x, mean, variance = tf.nn.fused_batch_norm(x, tf.ones(shape), beta, epsilon=1e-3)
    for moving, batch in ((moving_mean, mean), (moving_variance, variance)):
        update = moving.assign_sub((1 - 0.999) * (moving - batch), read_value=False)
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
    return x


def deconv2d(x: tf.Tensor, kernel: tf.Variable, stride: int) -> tf.Tensor:
    _, height, width, _ = x.shape
    output_shape = [tf.shape(x)[0], height * stride, width * stride, kernel.shape[2]]
    return tf.nn.conv2d_transpose(x, kernel, output_shape, [1, stride, stride, 1], padding="SAME")


def generator(z: tf.Tensor, config: Config) -> tf.Tensor:
    """Images [batch, 32, 32, 1] in (-1, 1)."""
    first, *rest = config.g_channels
    with tf.variable_scope("generator"):
        with tf.variable_scope("dense"):
            x = tf.matmul(z, kernel_variable([config.z_dim, 4 * 4 * first]))
            x = batch_norm(tf.reshape(x, [-1, 1, 1, 4 * 4 * first]))  # the fused kernel wants four dimensions
            x = tf.reshape(tf.nn.relu(x), [-1, 4, 4, first])
        for i, channels in enumerate(rest, start=1):
            with tf.variable_scope(f"deconv{i}"):
                shape = [5, 5, channels, x.shape[-1]]
                x = deconv2d(x, tf.get_variable("kernel", shape, initializer=tf.glorot_uniform_initializer()), 2)
                if config.g_batch_norm == "all":
                    x = batch_norm(x)
                else:
                    x = tf.nn.bias_add(x, tf.get_variable("bias", [channels], initializer=tf.zeros_initializer()))
                x = tf.nn.relu(x)
        with tf.variable_scope("output"):
            kernel = kernel_variable([config.output_kernel, config.output_kernel, 1, x.shape[-1]])
            return tf.nn.tanh(deconv2d(x, kernel, 32 // x.shape[1]))


def discriminator(images: tf.Tensor, config: Config, reuse: bool = False) -> tf.Tensor:
    """Logits [batch, 1]."""
    x = images
    with tf.variable_scope("discriminator", reuse=reuse):
        for i, channels in enumerate(config.d_channels, start=1):
            with tf.variable_scope(f"conv{i}"):
                kernel = kernel_variable([4, 4, x.shape[-1], channels])
                x = tf.nn.conv2d(x, kernel, strides=[1, 2, 2, 1], padding="SAME")
                x = tf.nn.leaky_relu(x if i == 1 else batch_norm(x), alpha=0.2)
        with tf.variable_scope("dense"):
            x = tf.reshape(x, [-1, np.prod(x.shape[1:])])
            bias = tf.get_variable("bias", [1], initializer=tf.zeros_initializer())
            return tf.matmul(x, kernel_variable([x.shape[1], 1])) + bias


def cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    labels = tf.fill(tf.shape(logits), label)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def build(config: Config, bfloat16: bool = False) -> Plain:
    """The networks, their losses and train ops in a graph and session of their own."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [None, 32, 32, 1], name="images")
        z = tf.placeholder(tf.float32, [None, config.z_dim], name="z")

        fakes = generator(z, config)
        real_logits = discriminator(images, config)
        fake_logits = discriminator(fakes, config, reuse=True)
        d_loss = cross_entropy(real_logits, 1.0) + cross_entropy(fake_logits, 0.0)
        g_loss = cross_entropy(fake_logits, 1.0)
        variables = {variable.op.name: variable for variable in tf.global_variables()}

        def train(loss: tf.Tensor, learning_rate: float, scope: str) -> tf.Operation:
            optimizer = tf.train.AdamOptimizer(learning_rate, config.beta1, config.beta2)
            with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS, scope)):
                return optimizer.minimize(loss, var_list=tf.trainable_variables(scope))

        d_train = train(d_loss, config.lr_d, "discriminator")
        g_train = train(g_loss, config.lr_g, "generator")

        options = tf.ConfigProto()
        if bfloat16:
            options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
        session = tf.Session(config=options)
        session.run(tf.global_variables_initializer())
    return Plain(graph, session, images, z, d_loss, g_loss, d_train, g_train, variables)


def scale_and_pad(images: np.ndarray) -> np.ndarray:
    """uint8 [batch, 28, 28] as float32 [batch, 32, 32, 1] in [-1, 1]."""
    scaled = images.astype(np.float32) / 127.5 - 1
    return np.pad(scaled, ((0, 0), (2, 2), (2, 2)), constant_values=-1)[..., np.newaxis]


def make_step(config: Config, bfloat16: bool = False) -> Callable[[np.ndarray, np.ndarray], None]:
    """A function of uint8 images and z that runs one training step."""
    plain = build(config, bfloat16)

    def step(images: np.ndarray, z: np.ndarray) -> None:
        plain.session.run([plain.d_train, plain.d_loss], {plain.images: scale_and_pad(images), plain.z: z})
        for _ in range(config.g_steps):
            plain.session.run([plain.g_train, plain.g_loss], {plain.z: z})

    return step
