"""The DCGAN of 32x32 images, in grey or in colour (Radford, Metz and Chintala 2015)."""

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks.layers import NORMAL, ForwardPass, batch_norm, conv2d, deconv2d, dense, judge, with_classes


def generator(z: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Latent vectors [batch, z_dim], and classes or None -> images [batch, 32, 32, channels] in (-1, 1)."""
    first, *others = config.g_channels
    x = dense(with_classes(z, classes), 4 * 4 * first, "dense", use_bias=False)
    x = tf.nn.relu(batch_norm(x, forward, "dense"))
    x = tf.reshape(x, [-1, 4, 4, first])
    for i, channels in enumerate(others, start=1):  # [batch, 8, 8, .], [batch, 16, 16, .], ...
        normed = config.g_batch_norm == "all"
        x = deconv2d(x, channels, 5, 2, f"deconv{i}", use_bias=not normed)
        x = tf.nn.relu(batch_norm(x, forward, f"deconv{i}", classes) if normed else x)
    stride = config.image_size // x.shape[1]
    return tf.tanh(deconv2d(x, config.channels, config.output_kernel, stride, "output", initializer=NORMAL))


def discriminator(images: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Images [batch, 32, 32, channels] in [-1, 1], and classes or None -> logits [batch, 1] of being real."""
    x = images
    for i, channels in enumerate(config.d_channels, start=1):  # [batch, 16, 16, .], [batch, 8, 8, .], ...
        x = conv2d(x, channels, 4, 2, f"conv{i}")
        x = tf.nn.leaky_relu(batch_norm(x, forward, f"conv{i}") if i > 1 else x, 0.2)
    return judge(tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]]), classes, "dense")
