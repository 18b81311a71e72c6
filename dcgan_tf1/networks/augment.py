"""Differentiable augmentation: real and generated images are shifted, scaled and cut alike before D sees them.

D soon knows few images by heart, and many in a long run. When it never sees one twice in the same way, it has to judge
what they have in common; and since generated images are changed too, G does not learn the changes (Zhao et al. 2020).
"""

import math

import tensorflow as tf

from dcgan_tf1.networks.philox import Philox

_SHIFT = 0.125  # how far an image is shifted at most along each axis, as a share of its side, in both directions
_SCALE = math.log(1.2)  # the logarithm of how many times an image is scaled at most, up or down
_CUT = 0.5  # the side of the square that is blacked out around a random pixel, as a share of the image's
_STRETCH = 0.1  # the share of its size by which an image is stretched at most along each axis, for a pixel of jitter


def augment(images: tf.Tensor, random: Philox) -> tf.Tensor:
    """Images, float32 [batch, size, size, channels] in [-1, 1], each changed in its own way, in the same shape."""
    count, size = images.shape[0], images.shape[1]
    shift_y, shift_x, zoom, cut_y, cut_x = tf.unstack(random.uniform([count, 5]), axis=1)
    scale = tf.exp(_SCALE * zoom)
    rows, columns = (_resampling(size, scale, _SHIFT * shift) for shift in (shift_y, shift_x))
    cut = _cut(size, cut_y)[:, :, tf.newaxis] * _cut(size, cut_x)[:, tf.newaxis]  # 1 within the square
    return (resample(images, (rows, columns)) + 1.0) * (1.0 - cut[..., tf.newaxis]) - 1.0


def random_jitter(count: int, size: int, pixels: float, random: Philox) -> tuple[tf.Tensor, tf.Tensor]:
    """How `count` images are shifted, by at most `pixels`, and stretched along each axis; `resample` does it.

    It is what each pixel of a column is made of, and each pixel of a row: two of float32 [count, size, size].
    """
    shift_y, shift_x, stretch_y, stretch_x = tf.unstack(random.uniform([count, 4]), axis=1)
    axes = ((shift_y, stretch_y), (shift_x, stretch_x))
    rows, columns = (
        _resampling(size, 1.0 + _STRETCH * pixels * stretch, pixels / size * shift) for shift, stretch in axes
    )
    return rows, columns


def resample(images: tf.Tensor, matrices: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Images, float32 [batch, size, size, channels] in [-1, 1], made of their own pixels as `matrices` say.

    What comes in from beyond the border is black.
    """
    rows, columns = matrices
    planes = tf.transpose(images + 1.0, [0, 3, 1, 2])  # black is 0: [batch, channels, size, size]
    planes = tf.matmul(rows[:, tf.newaxis] @ planes, columns[:, tf.newaxis], transpose_b=True)
    return tf.transpose(planes, [0, 2, 3, 1]) - 1.0


def _resampling(size: int, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """What each pixel of a row is made of, by linear interpolation: float32 [batch, size, size].

    A row is scaled about its middle `scale` [batch] times, and then shifted by `shift` [batch], a share of the side.
    """
    middle = (size - 1) / 2
    there = tf.range(size, dtype=tf.float32) - middle - size * shift[:, tf.newaxis]
    source = there / scale[:, tf.newaxis] + middle  # [batch, size]
    return tf.nn.relu(1.0 - tf.abs(source[..., tf.newaxis] - tf.range(size, dtype=tf.float32)))


def _cut(size: int, centre: tf.Tensor) -> tf.Tensor:
    """1 for the pixels of a row that are cut, 0 for the others: [batch, size]; `centre` [batch] is from -1 to 1."""
    distance = tf.range(size, dtype=tf.float32) - (size - 1) / 2 * (1.0 + centre[:, tf.newaxis])
    return tf.cast(tf.abs(distance) < _CUT * size / 2, tf.float32)
