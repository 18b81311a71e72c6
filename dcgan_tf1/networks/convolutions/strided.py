"""A stride-2 convolution with faster gradients: the same linear maps, two neighbouring pixels at a time.

With SAME padding and an even kernel of k taps along an axis, out[i] = sum over t of x[2 i + t - pad] K[t], where
pad = (k - 2) / 2 on both sides. So two neighbouring columns of the padded image can be taken as one column with twice
the channels, under a kernel of k / 2 columns and stride 1, which is faster where there are few channels. The pairs that
the taps t and t + 1 meet, for an even t, make a matrix. The gradient of these two taps is the product of that matrix
with the gradient of the outputs.
"""

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


@tf.custom_gradient
def strided_conv(x: tf.Tensor, kernel: tf.Tensor) -> tuple:
    """`conv2d`: x [batch, 2 n, 2 n, c], kernel [k, k, c, channels], k even -> [batch, n, n, channels]."""
    size, channels = x.shape[1] // 2, kernel.shape[3]
    # Up to 2x2 most taps meet most pixels, and one product of matrices is as much work as the convolution. With it a
    # step of the default recipe takes 0.97 of the time, and 0.94 to 0.96 with batches of 256.
    matrix = _matrix(kernel, size) if size <= 2 else None

    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if matrix is None:
            of_images = _gradient_of_images(x, kernel, upstream)
        else:
            of_images = tf.matmul(tf.reshape(upstream, [-1, matrix.shape[1]]), matrix, transpose_b=True)
            of_images = tf.reshape(of_images, [-1, *x.shape[1:]])
        return of_images, _gradient_of_kernel(x, kernel, upstream)

    if matrix is None:
        return tf.nn.conv2d(x, kernel, 2, "SAME"), gradients
    return tf.reshape(tf.reshape(x, [-1, matrix.shape[0]]) @ matrix, [-1, size, size, channels]), gradients


def _matrix(kernel: tf.Tensor, size: int) -> tf.Tensor:
    """The convolution as a matrix from all pixels to all outputs, [4 n n c, n n channels], for n = `size`."""
    width, _, depth, channels = kernel.shape
    pixel, out, tap = np.ogrid[: 2 * size, :size, :width]
    one = (pixel == 2 * out + tap - (width - 2) // 2).astype(np.float32)  # along one axis: [pixel, out, tap]
    select = np.einsum("pot,qru->pqortu", one, one).reshape(-1, width * width)
    matrix = tf.reshape(select @ tf.reshape(kernel, [width * width, -1]), [4 * size**2, size**2, depth, channels])
    return tf.reshape(tf.transpose(matrix, [0, 2, 1, 3]), [4 * size**2 * depth, size**2 * channels])


# Which way is faster was measured on two cores with AVX-512, from 16x16x16 to 4x4x128, with batches of 64 and 256.


def _gradient_of_images(x: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient with respect to the images, for the gradient `upstream` of the outputs."""
    size, width, depth, channels = upstream.shape[1], kernel.shape[0], x.shape[3], upstream.shape[3]
    if depth > 32:  # up to 32 channels pairs are 1.0 to 1.5 times as fast; beyond that 0.7 to 0.8 times
        return v1.nn.conv2d_backprop_input(tf.shape(x), kernel, upstream, [1, 2, 2, 1], "SAME")
    half, pad = width // 2, (width - 2) // 2
    side = 2 * (size + pad)
    kernel = tf.reshape(kernel, [width, half, 2 * depth, channels])
    shape = [tf.shape(x)[0], side, side // 2, 2 * depth]
    pairs = v1.nn.conv2d_backprop_input(shape, kernel, upstream, [1, 2, 1, 1], "VALID")
    return tf.reshape(pairs, [-1, side, side, depth])[:, pad : side - pad, pad : side - pad]


def _gradient_of_kernel(x: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient with respect to the kernel, for the gradient `upstream` of the outputs."""
    size, channels = upstream.shape[1], upstream.shape[3]
    if size > 4:  # up to 4x4 products are 2.3 to 6 times as fast in bfloat16, and 1 to 2 in float32; then 0.8 to 1.2
        return v1.nn.conv2d_backprop_filter(x, kernel.shape, upstream, [1, 2, 2, 1], "SAME")
    upstream = tf.reshape(upstream, [-1, channels])
    products = [tf.matmul(pairs, upstream, transpose_a=True) for pairs in _pairs(x, kernel.shape[0])]
    return tf.reshape(tf.concat(products, 0), kernel.shape)


def _pairs(x: tf.Tensor, width: int) -> list[tf.Tensor]:
    """The pixels that each pair of neighbouring taps meets, [batch n n, 2 c], for the kernel's pairs row by row."""
    size, depth, pad = x.shape[1] // 2, x.shape[3], (width - 2) // 2
    half = size + pad  # of the padded side
    pairs = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    pairs = tf.reshape(pairs, [-1, half, 2, half, 2 * depth])
    return [
        tf.reshape(pairs[:, i : i + size, parity, j : j + size], [-1, 2 * depth])
        for i in range(width // 2)
        for parity in range(2)
        for j in range(width // 2)
    ]
