"""DCGAN of 28x28 images, with the layers of TensorFlow's tutorial "Deep Convolutional GAN", which is in Keras.

Keras's defaults make the initial weights Glorot uniform, and give batch norm a scale, an offset and a decay of 0.99.
"""

import functools

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks import layers
from dcgan_tf1.networks.layers import GLOROT, ForwardPass, conv2d, deconv2d, dense, dropout, judge, with_classes

_SIDE = 7  # the side of the smallest images
_DROPOUT = 0.3
batch_norm = functools.partial(layers.batch_norm, scale=True, decay=0.99)
leaky_relu = functools.partial(tf.nn.leaky_relu, alpha=0.3)


def generator(z: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Latent vectors [batch, z_dim], and classes or None -> images [batch, 28, 28, 1] in (-1, 1)."""
    first, *others = config.g_channels
    x = dense(with_classes(z, classes), _SIDE * _SIDE * first, "dense", use_bias=False, initializer=GLOROT)
    x = leaky_relu(batch_norm(x, forward, "dense"))
    x = tf.reshape(x, [-1, _SIDE, _SIDE, first])
    for i, channels in enumerate(others, start=1):  # [batch, 7, 7, .], ..., and last [batch, 14, 14, .]
        x = deconv2d(x, channels, 5, 2 if i == len(others) else 1, f"deconv{i}")
        x = leaky_relu(batch_norm(x, forward, f"deconv{i}", classes))
    return tf.tanh(deconv2d(x, 1, 5, config.image_size // x.shape[1], "output"))


def discriminator(images: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, config: Config) -> tf.Tensor:
    """Images [batch, 28, 28, 1] in [-1, 1], and classes or None -> logits [batch, 1] of being real."""
    x = images
    for i, channels in enumerate(config.d_channels, start=1):  # [batch, 14, 14, .], [batch, 7, 7, .], ...
        x = leaky_relu(conv2d(x, channels, 5, 2, f"conv{i}", GLOROT, use_bias=True))
        x = dropout(x, _DROPOUT, forward)
    return judge(tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]]), classes, "dense", GLOROT)
