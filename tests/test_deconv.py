"""The fast transposed convolutions are the same linear maps as TensorFlow's own, forward and in both gradients."""

import numpy as np
import pytest
import tensorflow as tf

from dcgan_tf1 import fourier_deconv, layers, winograd_deconv


def forward_and_gradients(deconv, x, kernel, out_gradient):
    """The output and the gradients of x and of the kernel."""
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        out = deconv(x, kernel)
    return [out, *tape.gradient(out, [x, kernel], tf.cast(out_gradient, out.dtype))]


def largest_error(deconv, size, depth, width, channels, stride):
    """Of `deconv` in float32 against `conv2d_transpose` in float64, relative to the largest value."""
    rng = np.random.default_rng(size * width + depth)
    x = tf.constant(rng.normal(size=(3, size, size, depth)), tf.float32)
    kernel = tf.constant(rng.normal(size=(width, width, channels, depth)), tf.float32)
    out_gradient = rng.normal(size=(3, size * stride, size * stride, channels))

    def exact(x, kernel):
        return tf.nn.conv2d_transpose(x, kernel, out_gradient.shape, stride, "SAME")

    found = forward_and_gradients(deconv, x, kernel, out_gradient)
    expected = forward_and_gradients(exact, tf.cast(x, tf.float64), tf.cast(kernel, tf.float64), out_gradient)
    return max(np.abs(f.numpy() - e.numpy()).max() / np.abs(e).max() for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("size", "width", "depth"),
    [(32, 32, 16), (32, 31, 2), (16, 32, 3), (16, 9, 4), (8, 8, 1), (8, 5, 3), (7, 4, 2), (6, 11, 1), (5, 1, 2)],
)
def test_fourier_deconv(size, width, depth):
    assert largest_error(fourier_deconv.fourier_deconv, size, depth, width, channels=1, stride=1) < 2e-6


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(("size", "depth", "channels"), [(4, 64, 16), (4, 1, 3), (8, 5, 1), (8, 32, 8), (12, 2, 2)])
def test_winograd_deconv(tile, size, depth, channels):
    def deconv(x, kernel):
        return winograd_deconv.winograd_deconv(x, kernel, tile)

    assert largest_error(deconv, size, depth, 5, channels, stride=2) < 1e-5


@pytest.mark.parametrize(
    ("size", "kernel", "channels", "stride", "convolution"),
    [(4, 5, 8, 2, False), (8, 5, 8, 2, False), (16, 5, 8, 2, True), (32, 32, 1, 1, False), (32, 5, 1, 1, True)],
)
def test_layer_chooses_the_faster_way(size, kernel, channels, stride, convolution):
    with tf.Graph().as_default() as graph:
        x = tf.zeros([2, size, size, 4])
        layers.deconv2d(x, channels, kernel, stride, "deconv")
        assert ("Conv2DBackpropInput" in {op.type for op in graph.get_operations()}) is convolution
