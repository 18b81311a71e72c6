"""The fast convolutions are the same linear maps as TensorFlow's own, forward and in both gradients."""

import numpy as np
import pytest
import tensorflow as tf

from dcgan_tf1.networks import layers
from dcgan_tf1.networks.convolutions.fourier import fourier_deconv
from dcgan_tf1.networks.convolutions.phases import phase_conv, phase_deconv, phase_deconv_forward
from dcgan_tf1.networks.convolutions.strided import strided_conv
from dcgan_tf1.networks.convolutions.winograd import winograd_deconv

v1 = tf.compat.v1


def forward_and_gradients(layer, inputs, out_gradient):
    """The output of `layer`, and the gradients of all inputs for the gradient `out_gradient` of the output."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        out = layer(*inputs)
    return [out, *tape.gradient(out, inputs, tf.cast(out_gradient, out.dtype))]


def largest_error(fast, exact, input_shapes, out_shape):
    """The largest error of `fast` in float32 against `exact` in float64, relative to the largest value."""
    rng = np.random.default_rng(sum(out_shape))
    inputs = [tf.constant(rng.normal(size=shape), tf.float32) for shape in input_shapes]
    out_gradient = rng.normal(size=out_shape)
    found = forward_and_gradients(fast, inputs, out_gradient)
    expected = forward_and_gradients(exact, [tf.cast(x, tf.float64) for x in inputs], out_gradient)
    return max(np.abs(f.numpy() - e.numpy()).max() / np.abs(e).max() for f, e in zip(found, expected, strict=True))


def deconv_error(deconv, size, depth, width, channels, stride, *bias_shape):
    """The largest error of `deconv` against `conv2d_transpose`, with a bias if its shape is given."""
    out_shape = (3, size * stride, size * stride, channels)

    def exact(x, kernel, *bias):
        return sum(bias, tf.nn.conv2d_transpose(x, kernel, out_shape, stride, "SAME"))

    shapes = [(3, size, size, depth), (width, width, channels, depth), *bias_shape]
    return largest_error(deconv, exact, shapes, out_shape)


def conv_error(conv, size, depth, width, channels):
    """The largest error of `conv` against `conv2d` of stride 2."""
    shapes = [(3, size, size, depth), (width, width, depth, channels)]
    out_shape = (3, size // 2, size // 2, channels)
    return largest_error(conv, lambda x, kernel: tf.nn.conv2d(x, kernel, 2, "SAME"), shapes, out_shape)


@pytest.mark.parametrize(
    ("size", "width", "depth"),
    [(32, 32, 16), (32, 31, 2), (16, 32, 3), (16, 9, 4), (8, 8, 1), (8, 5, 3), (7, 4, 2), (6, 11, 1), (5, 1, 2)],
)
def test_fourier_deconv(size, width, depth):
    assert deconv_error(fourier_deconv, size, depth, width, 1, stride=1) < 2e-6


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(("size", "depth", "channels"), [(4, 64, 16), (4, 1, 3), (8, 5, 1), (8, 32, 8), (12, 2, 2)])
def test_winograd_deconv(tile, size, depth, channels):
    assert deconv_error(lambda x, kernel: winograd_deconv(x, kernel, tile), size, depth, 5, channels, 2) < 1e-5


@pytest.mark.parametrize("width", [2, 3, 4, 5])
@pytest.mark.parametrize(("size", "channels"), [(16, 64), (5, 1)])
def test_phases_of_one_channel(size, channels, width):
    assert deconv_error(phase_deconv, size, channels, width, channels=1, stride=2) < 2e-6
    assert conv_error(phase_conv, 2 * size, 1, width, channels) < 2e-6


@pytest.mark.parametrize("width", [2, 3, 4, 5])
@pytest.mark.parametrize(("size", "depth", "channels"), [(16, 32, 16), (5, 3, 2)])
def test_phase_deconv_forward(size, depth, channels, width):
    assert deconv_error(phase_deconv_forward, size, depth, width, channels, 2, (channels,)) < 2e-6


@pytest.mark.parametrize("width", [2, 4, 6])
@pytest.mark.parametrize(
    ("size", "depth", "channels"), [(16, 33, 3), (16, 5, 7), (8, 40, 6), (8, 3, 4), (4, 9, 5), (2, 1, 1)]
)
def test_strided_conv(size, depth, channels, width):
    assert conv_error(strided_conv, size, depth, width, channels) < 2e-6


@pytest.mark.parametrize(
    ("batch", "size", "kernel", "channels", "stride", "plain"),
    [
        (2, 4, 5, 8, 2, False),
        (2, 8, 5, 8, 2, False),
        (None, 8, 5, 8, 2, True),  # Winograd is for batches of a known size
        (2, 16, 5, 8, 2, False),
        (2, 16, 5, 32, 2, True),
        (2, 32, 32, 1, 1, False),
        (2, 32, 5, 1, 1, True),
        (2, 16, 5, 1, 2, False),
        (2, 16, 1, 1, 2, True),  # not by phases, which take kernels of two taps or more
    ],
)
def test_layer_chooses_the_faster_way(batch, size, kernel, channels, stride, plain):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [batch, size, size, 4])
        layers.deconv2d(x, channels, kernel, stride, "deconv")
        assert ("Conv2DBackpropInput" in {op.type for op in graph.get_operations()}) is plain


def assert_alike(x, out, plain, feed=None):
    """`out` is `plain`, and so are the gradients for `x` and all weights, which are random."""
    variables = v1.trainable_variables()
    with v1.Session() as session:
        for seed, variable in enumerate(variables):
            session.run(variable.assign(np.random.default_rng(seed).normal(size=variable.shape)))
        found, expected = session.run([(y, tf.gradients(y**2, [x, *variables])) for y in (out, plain)], feed)
    for f, e in zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-4 * np.abs(e).max())


@pytest.mark.parametrize(("size", "kernel", "channels", "stride"), [(8, 5, 8, 2), (16, 5, 8, 2), (16, 5, 32, 2)])
def test_layer_adds_its_bias_in_every_way(size, kernel, channels, stride):
    with tf.Graph().as_default():
        x = tf.random.stateless_normal([2, size, size, 4], [1, 2])
        out = layers.deconv2d(x, channels, kernel, stride, "deconv", use_bias=True)
        weights, bias = v1.trainable_variables()
        assert_alike(x, out, tf.nn.conv2d_transpose(x, weights, out.shape, stride, "SAME") + bias)


@pytest.mark.parametrize(("size", "kernel"), [(4, 4), (8, 4), (16, 4), (8, 5), (7, 4)])
def test_conv2d_takes_any_batch_and_learns(size, kernel):
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, size, size, 3])
        out = layers.conv2d(x, 4, kernel, 2, "conv")
        (weights,) = v1.trainable_variables()
        images = np.random.default_rng(0).normal(size=(5, size, size, 3))
        assert_alike(x, out, tf.nn.conv2d(x, weights, 2, "SAME"), {x: images})
