"""A 5x5, stride-2 transposed convolution by minimal filtering: the same linear map in under half the operations.

Along one axis, SAME padding gives out[2 i + a] = sum over d = -1, 0, 1 of x[i + d] g_a[d]. These are two ordinary
filters: one for the even outputs (taps 3 and 1 of the kernel) and one for the odd ones (taps 4, 2 and 0). Winograd's
F(m, 3) computes m neighbouring outputs of a filter with three taps from m + 2 products instead of 3 m (Winograd 1980;
Lavin and Gray 2016). Its transform of the input serves both filters, and in two dimensions all four. The transforms are
products with small constant matrices. The rest is one product of matrices for each of the (m + 2)^2 points. The
gradients are such products too.
"""

import numpy as np
import tensorflow as tf

POINTS = {2: (0, 1, -1), 4: (0, 2**-0.5, -(2**-0.5), 2**0.5, -(2**0.5))}
"""The finite interpolation points of F(m, 3), by m. Infinity is the last point of each.

For m = 4 the usual points 0, 1, -1, 2, -2 have rounding errors 1.7 times as large, in float32 and in bfloat16 alike.
"""
_TAPS = np.array([[3, 1, -1], [4, 2, 0]])  # for even and for odd outputs, the taps at d = -1, 0, 1; -1 stands for none


def winograd_deconv(x: tf.Tensor, kernel: tf.Tensor, tile: int = 4) -> tf.Tensor:
    """`conv2d_transpose` of stride 2: x [batch, n, n, c], kernel [5, 5, channels, c] -> [batch, 2 n, 2 n, channels].

    `tile` is m of F(m, 3), and n a multiple of it.
    """
    size, depth, channels = x.shape[1], kernel.shape[3], kernel.shape[2]
    analysis, transform, synthesis = _matrices(size, tile)
    points, tiles = (tile + 2) ** 2, size // tile
    taps = tf.reshape(transform @ tf.reshape(kernel, [25, -1]), [points, 4 * channels, depth])
    x = tf.reshape(tf.transpose(x, [1, 2, 0, 3]), [size * size, -1])  # [n n, batch c]
    x = tf.reshape(analysis @ x, [points, -1, depth])  # [points, tiles tiles batch, c]
    x = tf.matmul(x, taps, transpose_b=True)  # [points, tiles tiles batch, 4 channels]
    x = synthesis @ tf.reshape(x, [points, -1])  # [m m, tiles tiles batch 4 channels]
    x = tf.reshape(x, [tile, tile, tiles, tiles, -1, 2, 2, channels])
    return tf.reshape(tf.transpose(x, [4, 2, 0, 5, 3, 1, 6, 7]), [-1, 2 * size, 2 * size, channels])


def _matrices(size: int, tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constant float32 matrices: analysis [points tiles^2, n n], transform [points 4, 25], synthesis [m m, points].

    They come from interpolation. Let V_k be the Vandermonde matrix of all points with k columns. The product of two
    polynomials is inverse(V_n) ((V_m a) * (V_r b)), and its transpose is the filter V_m' ((V_r g) * (inverse(V_n)' d)).
    """
    count = tile + 2
    finite = np.vander(POINTS[tile], count, increasing=True)
    everything = np.vstack([finite, np.eye(count)[-1]])

    one = np.zeros((count, size // tile, size))
    window = np.linalg.inv(everything).T.round(12)  # rounded, so that every CPU makes the same constants
    for t in range(size // tile):
        for i in range(count):  # the inputs of tile t are m t - 1 to m t + m; those outside the image are zero
            if 0 <= tile * t - 1 + i < size:
                one[:, t, tile * t - 1 + i] = window[:, i]
    analysis = np.einsum("pti,quj->pqtuij", one, one).reshape(-1, size * size)

    def vandermonde(columns: int) -> np.ndarray:
        return np.vstack([finite[:, :columns], np.eye(columns)[-1]])

    taps = _TAPS[:, :, np.newaxis] == np.arange(5)  # [phase, d, tap]
    one = np.einsum("pd,adk->pak", vandermonde(3), taps)
    transform = np.einsum("pak,qbl->pqabkl", one, one).reshape(-1, 25)

    one = vandermonde(tile).T
    synthesis = np.einsum("ip,jq->ijpq", one, one).reshape(tile * tile, -1)
    return analysis.astype(np.float32), transform.astype(np.float32), synthesis.astype(np.float32)
