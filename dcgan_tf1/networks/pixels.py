"""Conversions between the pixels of image files and those that networks see and make."""

import tensorflow as tf


def scale_images(images: tf.Tensor, size: int) -> tf.Tensor:
    """Scale and pad with -1: uint8 [batch, side, side] -> float32 [batch, size, size, 1] in [-1, 1].

    Images in colour, [batch, side, side, 3], keep their channels.
    """
    margin = (size - images.shape[1]) // 2
    scaled = tf.cast(images, tf.float32) / 127.5 - 1.0
    margins = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
    if images.shape.rank == 4:
        return tf.pad(scaled, margins, constant_values=-1.0)
    return tf.pad(scaled, margins[:3], constant_values=-1.0)[..., tf.newaxis]


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """To whole levels: float32 [n, size, size, channels] in [-1, 1] -> uint8 [n, size, size], with 3 in colour."""
    images = images[..., 0] if images.shape[3] == 1 else images
    return tf.cast(tf.round((images + 1.0) * 127.5), tf.uint8)
