"""Stride-2 convolutions as stride-1 convolutions of phases: the same linear maps, on faster kernels.

The even and the odd rows and columns of the larger image make four images of half its size, the phases. Along one
axis, SAME padding ties x[2 (i + d) + a] of the larger image to out[i] of the smaller one by the kernel's tap
t = a + 2 d + pad, for d = -1, 0, 1. Between the phases and the smaller image that is a filter of three taps and
stride 1, with zeros where the kernel has no tap t. Libraries are fast with stride 1 and many channels, and slow with
stride 2 and few.
"""

import numpy as np
import tensorflow as tf


def phase_conv(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`conv2d`: images [batch, 2 n, 2 n, 1], kernel [k, k, 1, channels], k from 2 to 5 -> [batch, n, n, channels]."""
    size = images.shape[1] // 2
    phases = tf.transpose(tf.reshape(images, [-1, size, 2, size, 2]), [0, 1, 3, 2, 4])
    return tf.nn.conv2d(tf.reshape(phases, [-1, size, size, 4]), _phase_kernel(kernel), 1, "SAME")


def phase_deconv(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """`conv2d_transpose`, and `bias` [channels] added.

    x [batch, n, n, c], kernel [k, k, channels, c], k from 2 to 5 -> [batch, 2 n, 2 n, channels].
    """
    size, channels = x.shape[1], kernel.shape[2]
    # The transpose of a stride-1 convolution is a convolution with its taps reversed and its channels exchanged.
    taps = tf.transpose(tf.reverse(_phase_kernel(kernel), [0, 1]), [0, 1, 3, 2])
    phases = tf.nn.conv2d(x, taps, 1, "SAME")
    if bias is not None:  # here, where it runs in one kernel with the convolution
        phases = tf.nn.bias_add(phases, tf.tile(bias, [4]))
    phases = tf.reshape(phases, [-1, size, size, 2, 2 * channels])
    return tf.reshape(tf.transpose(phases, [0, 1, 3, 2, 4]), [-1, 2 * size, 2 * size, channels])


@tf.custom_gradient
def phase_deconv_forward(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
    """`phase_deconv` with the gradients of `conv2d_transpose`, which are the faster ones from a few channels on."""

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return (
            tf.nn.conv2d(upstream, kernel, 2, "SAME"),
            tf.compat.v1.nn.conv2d_backprop_filter(upstream, kernel.shape, x, [1, 2, 2, 1], "SAME"),
            tf.reduce_sum(upstream, [0, 1, 2]),
        )

    return phase_deconv(x, kernel, bias), gradients


def _phase_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel between the four phases of m channels and the smaller image: [k, k, m, c] -> [3, 3, 4 m, c]."""
    width, channels, depth = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    pad = (width - 2) // 2  # the first side has the smaller padding
    d, phase, tap = np.ogrid[-1:2, :2, :width]
    one = (tap == phase + 2 * d + pad).astype(np.float32)  # [d, phase, tap]
    select = np.einsum("dak,ebl->deabkl", one, one).reshape(36, width * width)
    return tf.reshape(select @ tf.reshape(kernel, [width * width, channels * depth]), [3, 3, 4 * channels, depth])
