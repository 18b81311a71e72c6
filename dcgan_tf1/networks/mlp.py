"""The plain GAN of dense layers (Goodfellow et al. 2014). A comparison with it shows what convolutions bring."""

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks.layers import GLOROT, ForwardPass, dense, judge, with_classes


def generator(z: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Latent vectors [batch, z_dim], and classes or None -> images [batch, 28, 28, 1] in (-1, 1)."""
    size = config.image_size
    x = with_classes(z, classes)
    for i, width in enumerate(config.g_channels, start=1):
        x = tf.nn.relu(dense(x, width, f"dense{i}", initializer=GLOROT))
    return tf.reshape(tf.tanh(dense(x, size * size, "output", initializer=GLOROT)), [-1, size, size, 1])


def discriminator(images: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Images [batch, 28, 28, 1] in [-1, 1], and classes or None -> logits [batch, 1] of being real."""
    x = tf.reshape(images, [-1, config.image_size**2])
    for i, width in enumerate(config.d_channels, start=1):
        x = tf.nn.leaky_relu(dense(x, width, f"dense{i}", initializer=GLOROT), 0.2)
    return judge(x, classes, "output", GLOROT)
