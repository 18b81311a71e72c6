"""A stride-2 convolution whose kernel learns by matrix products: the same gradient, faster where images are small.

SAME padding with an even kernel of k taps an axis gives out[i] = sum over t of x[2 i + t - pad] K[t], pad = (k - 2) / 2
on both sides. In two dimensions, the images whose columns t and t + 1 meet the outputs, t even, lie side by side: what
the taps (s, t) and (s, t + 1) learn is one product of these pairs of pixels with the gradient of the outputs.
"""

import tensorflow as tf


@tf.custom_gradient
def product_conv(x: tf.Tensor, kernel: tf.Tensor) -> tuple:
    """`conv2d` of stride 2 and SAME padding, with the gradient of the kernel to float32 rounding.

    Args:
        x: float32 [batch, 2 n, 2 n, c].
        kernel: float32 [k, k, c, channels], k even.

    Returns:
        float32 [batch, n, n, channels].
    """

    def gradients(upstream):
        by_x = tf.compat.v1.nn.conv2d_backprop_input(tf.shape(x), kernel, upstream, [1, 2, 2, 1], "SAME")
        return by_x, _kernel_gradient(x, upstream, kernel.shape)

    return tf.nn.conv2d(x, kernel, 2, "SAME"), gradients


def _kernel_gradient(x: tf.Tensor, upstream: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    width, _, depth, channels = shape
    size, margin = upstream.shape[1], [(width - 2) // 2] * 2
    half = size + width // 2 - 1  # of the padded side
    pairs = tf.reshape(tf.pad(x, [[0, 0], margin, margin, [0, 0]]), [-1, half, 2, half, 2 * depth])
    upstream = tf.reshape(upstream, [-1, channels])
    products = [
        tf.matmul(tf.reshape(pairs[:, i : i + size, parity, j : j + size], [-1, 2 * depth]), upstream, transpose_a=True)
        for i in range(width // 2)
        for parity in range(2)
        for j in range(width // 2)
    ]
    return tf.reshape(tf.concat(products, 0), shape)
