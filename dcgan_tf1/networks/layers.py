"""Layers on `get_variable` and `tf.nn`: each makes its variables in a scope of its own name."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dcgan_tf1.networks.convolutions.fourier import fourier_deconv
from dcgan_tf1.networks.convolutions.phases import phase_conv, phase_deconv, phase_deconv_forward
from dcgan_tf1.networks.convolutions.strided import strided_conv
from dcgan_tf1.networks.convolutions.winograd import winograd_deconv

v1 = tf.compat.v1

MOVING_AVERAGES = "moving_averages"
"""Graph collection of (variable, batch value, decay) that batch norm in training mode leaves to be averaged."""
HALVES = "halves"
"""Graph collection of the batches that go by halves, each the two joined."""
_DRAWS = "draws"
_MOST_DRAWS = 1 << 20
"""In a graph, so that no two calls of any two steps share their numbers."""
NORMAL = v1.truncated_normal_initializer(stddev=0.02)
GLOROT = v1.glorot_uniform_initializer()


def dense(x: tf.Tensor, units: int, name: str, use_bias: bool = True, initializer: Any = NORMAL) -> tf.Tensor:
    """[batch, n] -> [batch, units]."""
    with v1.variable_scope(name):
        x = x @ v1.get_variable("kernel", [x.shape[1], units], initializer=initializer)
        return _add_bias(x, _bias(units)) if use_bias else x


def conv2d(
    x: tf.Tensor, channels: int, kernel: int, stride: int, name: str, initializer: Any = NORMAL, use_bias: bool = False
) -> tf.Tensor:
    """SAME convolution: [batch, size, size, n] -> [batch, size / stride, size / stride, channels], rounded up."""
    with v1.variable_scope(name):
        weights = v1.get_variable("kernel", [kernel, kernel, x.shape[3], channels], initializer=initializer)
        bias = _bias(channels) if use_bias else None
        even = stride == 2 and x.shape[1] % 2 == 0

        def layer(x: tf.Tensor) -> tf.Tensor:
            # Measured as below: 1.7 times as fast as conv2d, for its gradient of x, at 32x32 and a 4x4 kernel.
            if even and x.shape[3] == 1 and 2 <= kernel <= 5:
                x = phase_conv(x, weights)
            elif even and kernel % 2 == 0:
                x = strided_conv(x, weights)
            else:
                x = tf.nn.conv2d(x, weights, stride, "SAME")
            return _add_bias(x, bias) if use_bias else x

        return _by_halves(layer, x)


def deconv2d(
    x: tf.Tensor, channels: int, kernel: int, stride: int, name: str, initializer: Any = GLOROT, use_bias: bool = False
) -> tf.Tensor:
    """SAME transposed convolution: [batch, size, size, n] -> [batch, size * stride, size * stride, channels]."""
    batch, size = x.shape[:2]
    with v1.variable_scope(name):
        weights = v1.get_variable("kernel", [kernel, kernel, channels, x.shape[3]], initializer=initializer)
        bias = _bias(channels) if use_bias else None
        # Where each way is the faster one was measured on 2 cores with AVX-512 (forward and both gradients, batch 64).
        # Winograd against conv2d_transpose: 1.3 to 1.6 times as fast from 4x4 and from 8x8, 0.8 times from 16x16.
        # By phases: 1.6 times, from 16x16 to one channel. Forward alone, with the bias, from 16x16x32 to 16 channels:
        # 1.06 times in float32 and 1.2 in bfloat16; no gain from 8x8 or to 32 channels.
        # Fourier: 0.4 times with a 5x5 kernel, 1.9 with 9x9, 19 with 32x32.
        # Transforming the kernel costs as much as some images: where their number is open, it may be one.
        if kernel == 5 and stride == 2 and size in (4, 8) and batch:
            deconv = winograd_deconv(weights, size)
        elif stride == 2 and channels == 1 and 2 <= kernel <= 5:
            deconv = functools.partial(phase_deconv, kernel=weights)
        elif kernel == 5 and stride == 2 and size >= 16 and channels <= 16 and batch:
            shift = bias if use_bias else tf.zeros([channels])
            return _by_halves(lambda x: phase_deconv_forward(x, weights, shift), x)
        elif stride == channels == 1 and kernel >= 9:
            deconv = fourier_deconv(weights, size)
        else:

            def deconv(x: tf.Tensor) -> tf.Tensor:
                shape = [tf.shape(x)[0], size * stride, size * stride, channels]
                return tf.nn.conv2d_transpose(x, weights, shape, stride, "SAME")

        return _by_halves(lambda x: _add_bias(deconv(x), bias) if use_bias else deconv(x), x)


def batch_norm(x: tf.Tensor, training: bool, name: str, scale: bool = False, decay: float = 0.999) -> tf.Tensor:
    """Batch normalisation over all axes but the last, with offset and without scale (Ioffe and Szegedy 2015).

    In training mode the batch's statistics normalise, and go to the MOVING_AVERAGES collection with `decay`;
    otherwise the moving averages normalise, so that an image does not depend on its neighbours.
    """
    channels = x.shape[-1]
    with v1.variable_scope(name):
        ones = v1.ones_initializer()
        gamma = v1.get_variable("gamma", [channels], initializer=ones) if scale else None
        beta = v1.get_variable("beta", [channels], initializer=v1.zeros_initializer())
        mean = v1.get_variable("moving_mean", [channels], initializer=v1.zeros_initializer(), trainable=False)
        variance = v1.get_variable("moving_variance", [channels], initializer=ones, trainable=False)
        if not training:
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)
        shape, halved = x.shape, _is_halved(x)
        if shape.rank == 2:  # the fused kernel takes images; as 1x1 ones, larger images would take up to twice as long
            x = tf.reshape(x, [-1, 1, 1, channels])
        gamma = gamma if scale else tf.ones([channels])
        x, batch_mean, batch_variance = v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3)
        v1.add_to_collection(MOVING_AVERAGES, (mean, batch_mean, decay))
        v1.add_to_collection(MOVING_AVERAGES, (variance, batch_variance, decay))
        x = tf.reshape(x, [-1, *shape[1:]])
        return halve(x) if halved else x


def dropout(x: tf.Tensor, rate: float, seed: int) -> tf.Tensor:
    """Zero where a coin of probability `rate` says so, x / (1 - rate) elsewhere (Srivastava et al. 2014).

    The coins are a function of `seed`, the step and which call this is in the graph: see `_key`.
    """
    coins = tf.random.stateless_uniform(tf.shape(x), _key(seed), alg="philox")  # the same on every device
    return tf.where(coins >= rate, x / (1.0 - rate), 0.0)


def noise(shape: list[int], stddev: float, seed: int) -> tf.Tensor:
    """Gaussian noise, float32 of `shape`, drawn as `dropout`'s coins are."""
    return stddev * tf.random.stateless_normal(shape, _key(seed), alg="philox")


def _key(seed: int) -> tf.Tensor:
    """Of random numbers, int64 [2]: no generator has a state that a checkpoint would have to hold."""
    calls = v1.get_collection_ref(_DRAWS)
    calls.append(None)
    step = tf.cast(v1.train.get_global_step(), tf.int64)
    return tf.stack([tf.constant(seed, tf.int64), step * _MOST_DRAWS + len(calls)])


def relu(x: tf.Tensor) -> tf.Tensor:
    """x where positive, 0 elsewhere."""
    return _by_halves(tf.nn.relu, x)


def leaky_relu(x: tf.Tensor, slope: float = 0.2) -> tf.Tensor:
    """x where positive, slope x elsewhere."""
    return _by_halves(lambda x: tf.nn.leaky_relu(x, slope), x)


def halve(x: tf.Tensor) -> tf.Tensor:
    """x, for layers to take by halves of its batch, which is even.

    Layers that treat each image alone, up to a batch norm, are then two chains of ops, which two threads run side by
    side: less waiting than where both share every op.
    """
    return _join(tf.split(x, 2))


def _join(halves: list[tf.Tensor]) -> tf.Tensor:
    x = tf.concat(halves, 0)
    v1.add_to_collection(HALVES, x)
    return x


def _is_halved(x: tf.Tensor) -> bool:
    return any(x is joined for joined in v1.get_collection(HALVES))


def _by_halves(layer: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """`layer(x)`, of either half where x is halved. Between such layers nothing needs them joined: no op runs."""
    return _join([layer(half) for half in x.op.inputs[:2]]) if _is_halved(x) else layer(x)


def _bias(channels: int) -> tf.Variable:
    return v1.get_variable("bias", [channels], initializer=v1.zeros_initializer())


def _add_bias(x: tf.Tensor, bias: tf.Variable) -> tf.Tensor:
    with v1.get_default_graph().gradient_override_map({"BiasAdd": "SummedBiasAdd"}):
        return tf.nn.bias_add(x, bias)


@tf.RegisterGradient("SummedBiasAdd")
def _bias_add_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What BiasAddGrad adds up: on a CPU it took 12 times as long in bfloat16, twice in float32 (256x32x32x16)."""
    return gradient, tf.reduce_sum(gradient, list(range(gradient.shape.rank - 1)))
