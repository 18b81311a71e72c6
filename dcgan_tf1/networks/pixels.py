"""Conversions between the pixels of image files and those that networks see and draw."""

import tensorflow as tf


def scale_images(images: tf.Tensor, size: int) -> tf.Tensor:
    """Scale and pad with -1: uint8 [batch, side, side] -> float32 [batch, size, size, 1] in [-1, 1]."""
    margin = (size - images.shape[1]) // 2
    scaled = tf.cast(images, tf.float32) / 127.5 - 1.0
    return tf.pad(scaled, [[0, 0], [margin, margin], [margin, margin]], constant_values=-1.0)[..., tf.newaxis]


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Round to grey levels: float32 [batch, size, size, 1] in [-1, 1] -> uint8 [batch, size, size]."""
    return tf.cast(tf.round((images[..., 0] + 1.0) * 127.5), tf.uint8)
