"""The networks at work: latent vectors in and images out, images in and probabilities out.

Both functions build on the current graph. They make no variables: they take those that are there, or what a custom
getter puts in their place, such as averages or constants.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks import load_family
from dcgan_tf1.networks.layers import ForwardPass
from dcgan_tf1.networks.pixels import scale_images, to_uint8

v1 = tf.compat.v1


class Generated(NamedTuple):
    """What the generator makes of latent vectors."""

    pixels: tf.Tensor  # float32 [n, size, size, channels] in [-1, 1]; for size see `Config.image_size`
    images: tf.Tensor  # uint8 [n, size, size], with 3 channels behind in colour


def generate(
    z: tf.Tensor, classes: tf.Tensor | None, config: Config, getter: Callable[..., tf.Tensor] | None = None
) -> Generated:
    """The generator in inference mode, in the variable scope `generator`.

    Args:
        z: float32 [n, z_dim].
        classes: float32 [n, classes], one-hot; None: an unconditional GAN.
        getter: a custom getter of `tf.compat.v1.variable_scope`; None: the variables themselves.
    """
    with v1.variable_scope("generator", reuse=True, custom_getter=getter):
        pixels = load_family(config.model).generator(z, classes, ForwardPass(training=False), config)
    return Generated(pixels, to_uint8(pixels))


def discriminate(
    images: tf.Tensor, classes: tf.Tensor | None, config: Config, getter: Callable[..., tf.Tensor] | None = None
) -> tf.Tensor:
    """The discriminator in inference mode, in the variable scope `discriminator`: probabilities of being real, [n].

    Args:
        images: uint8 [n, side, side], with 3 channels behind in colour, and not larger than those of the family.
        classes, getter: as for `generate`; the classes that the images are said to be of.
    """
    with v1.variable_scope("discriminator", reuse=True, custom_getter=getter):
        pixels = scale_images(images, config.image_size)
        logits = load_family(config.model).discriminator(pixels, classes, ForwardPass(training=False), config)
    return tf.sigmoid(logits[:, 0])
