"""A wide stride-1 transposed convolution to one channel, by matrix products: the same linear map, far fewer operations.

With h [batch, n, n, c] and a kernel K [k, k, 1, c], SAME padding gives

    out[u, v] = sum over p, q, c of h[p, q, c] K[u - p + pad, v - q + pad, c],   pad = (k - 1) // 2.

Along p this is a convolution, which a discrete Fourier transform turns into one product for each frequency. Along q it
stays a product with a Toeplitz matrix. A transform of length n + max(pad, k - 1 - pad) is enough, which is 48 for
n = k = 32, since the outputs that wrap around are those that SAME drops. A real signal needs length // 2 + 1
frequencies. So for n = k = 32 and 16 channels an image takes 2.5 M multiply-adds, where the direct sum takes 16.8 M.
Every step is a product with a constant matrix or a batch of products, so that the gradients are matrix products too.
"""

import math

import numpy as np
import tensorflow as tf


def fourier_deconv(h: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`conv2d_transpose` of stride 1: h [batch, n, n, c], kernel [k, k, 1, c] -> [batch, n, n, 1]."""
    size, width, channels = h.shape[1], kernel.shape[0], kernel.shape[3]
    analysis, transform, toeplitz, synthesis = _matrices(size, width)
    count = analysis.shape[0]  # parts: the real and imaginary ones of all frequencies

    # What a part of a frequency of h contributes to both parts of that frequency of out: [parts, n c, 2 n].
    taps = tf.reshape(tf.transpose(kernel[:, :, 0, :], [0, 2, 1]), [width, channels * width])
    taps = tf.reshape(transform @ taps, [2 * count * channels, width]) @ toeplitz
    taps = tf.transpose(tf.reshape(taps, [count, 2, channels, size, size]), [0, 3, 2, 1, 4])
    taps = tf.reshape(taps, [count, size * channels, 2 * size])

    rows = tf.reshape(h, [-1, size, size * channels])
    frequencies = tf.transpose(analysis @ rows, [1, 0, 2])  # [parts, batch, n c]
    products = tf.transpose(frequencies @ taps, [1, 0, 2])
    return (synthesis @ tf.reshape(products, [-1, 2 * count, size]))[..., tf.newaxis]


def _matrices(size: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Constant float32: analysis [parts, n], transform [2 parts, k], toeplitz [k, n n], synthesis [n, 2 parts]."""
    pad = (width - 1) // 2
    length = size + max(pad, width - 1 - pad)
    frequency = np.arange(length // 2 + 1)
    turn = 2 * math.pi / length

    angle = turn * frequency[:, np.newaxis] * np.arange(size)
    analysis = np.stack([np.cos(angle), -np.sin(angle)], axis=1)  # [F, 2, n]

    angle = turn * frequency[:, np.newaxis] * (np.arange(width) - pad)
    real, imaginary = np.cos(angle), -np.sin(angle)
    # (a + bi)(real + imaginary i): a goes to (real, imaginary), b to (-imaginary, real).
    transform = np.stack([[real, imaginary], [-imaginary, real]]).transpose(2, 0, 1, 3)  # [F, 2, 2, k]

    tap, q, v = np.ogrid[:width, :size, :size]
    toeplitz = tap == v - q + pad  # [k, n, n]

    # The frequencies left out are the conjugates of those within, so these count twice; 0 and length / 2 do not.
    weight = np.where((frequency == 0) | (2 * frequency == length), 1, 2) / length
    angle = turn * np.arange(size)[:, np.newaxis] * frequency
    synthesis = np.stack([weight * np.cos(angle), -weight * np.sin(angle)], axis=2)  # [n, F, 2]
    synthesis = np.stack([synthesis, synthesis], axis=2)  # [n, F, 2, 2]

    # Frequencies 0 and length / 2 of h have no imaginary part.
    parts = np.stack([frequency >= 0, (frequency > 0) & (2 * frequency < length)], axis=1)  # [F, 2]
    matrices = [
        analysis[parts],
        transform[parts].reshape(-1, width),
        toeplitz.reshape(width, -1),
        synthesis[:, parts].reshape(size, -1),
    ]
    analysis, transform, toeplitz, synthesis = (matrix.astype(np.float32) for matrix in matrices)
    return analysis, transform, toeplitz, synthesis
