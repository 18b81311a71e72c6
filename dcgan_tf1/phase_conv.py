"""Stride-2 convolutions of one channel as stride-1 convolutions of four: the same linear maps, on faster kernels.

Number the even and odd rows and columns of the larger image as four channels, its phases, of half the size. Along one
axis, SAME padding ties x[2 (i + d) + a] of the larger image to out[i] of the smaller by the kernel's tap
t = a + 2 d + pad, d = -1, 0, 1: between the phases and the smaller image that is a 3-tap filter of stride 1, with
zeros where t is no tap. Libraries run stride 1 and four channels well, and stride 2 and one channel badly.
"""

import numpy as np
import tensorflow as tf


def phase_conv(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`conv2d` of stride 2 and SAME padding, to float32 rounding.

    Args:
        images: float32 [batch, 2 n, 2 n, 1].
        kernel: float32 [k, k, 1, channels], k from 2 to 5.

    Returns:
        float32 [batch, n, n, channels].
    """
    size = images.shape[1] // 2
    phases = tf.transpose(tf.reshape(images, [-1, size, 2, size, 2]), [0, 1, 3, 2, 4])
    return tf.nn.conv2d(tf.reshape(phases, [-1, size, size, 4]), _phase_kernel(kernel), 1, "SAME")


def phase_deconv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`conv2d_transpose` of stride 2 and SAME padding to one channel, to float32 rounding.

    Args:
        x: float32 [batch, n, n, c].
        kernel: float32 [k, k, 1, c], k from 2 to 5.

    Returns:
        float32 [batch, 2 n, 2 n, 1].
    """
    size = x.shape[1]
    # The transpose of a convolution of stride 1 is one with the taps in reverse and the channels exchanged.
    taps = tf.transpose(tf.reverse(_phase_kernel(kernel), [0, 1]), [0, 1, 3, 2])
    phases = tf.reshape(tf.nn.conv2d(x, taps, 1, "SAME"), [-1, size, size, 2, 2])
    return tf.reshape(tf.transpose(phases, [0, 1, 3, 2, 4]), [-1, 2 * size, 2 * size, 1])


def _phase_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """[k, k, 1, c] -> [3, 3, 4, c]: between the four phases and the smaller image."""
    width, channels = kernel.shape[0], kernel.shape[3]
    pad = (width - 2) // 2  # of the two sides the smaller, which is the first
    d, phase, tap = np.ogrid[-1:2, :2, :width]
    one = (tap == phase + 2 * d + pad).astype(np.float32)  # [d, phase, tap]
    select = np.einsum("dak,ebl->deabkl", one, one).reshape(36, width * width)
    return tf.reshape(select @ tf.reshape(kernel, [width * width, channels]), [3, 3, 4, channels])
