"""Layers on `get_variable` and `tf.nn`. Each makes its variables in a variable scope of the name that it is given."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from dcgan_tf1.networks.convolutions import convolve, transposed_convolution
from dcgan_tf1.networks.convolutions.bias import add_bias
from dcgan_tf1.networks.halves import by_halves, halve, is_halved
from dcgan_tf1.networks.workers import joined, normalize, own_share

v1 = tf.compat.v1

MOVING_AVERAGES = "moving_averages"
"""Graph collection of (variable, batch value, decay): the averages that batch norm in training mode asks for."""
NORMAL = v1.truncated_normal_initializer(stddev=0.02)
GLOROT = v1.glorot_uniform_initializer()
_RANDOM_CALLS = "draws"
"""Graph collection with an entry for each call that draws random numbers in the graph."""
_MOST_RANDOM_CALLS = 1 << 20
"""No graph has more such calls than this, so that no two calls of any two steps share a key."""


def dense(x: tf.Tensor, units: int, name: str, use_bias: bool = True, initializer: Callable = NORMAL) -> tf.Tensor:
    """A matrix product: [batch, n] -> [batch, units]."""
    with v1.variable_scope(name):
        x = x @ v1.get_variable("kernel", [x.shape[1], units], initializer=initializer)
        return add_bias(x, _bias(units) if use_bias else None)


def with_classes(z: tf.Tensor, classes: tf.Tensor | None) -> tf.Tensor:
    """What the first layer of a generator sees: z, and the classes behind it (Mirza and Osindero 2014).

    Args:
        z: float32 [batch, z_dim].
        classes: float32 [batch, classes], one-hot; None: an unconditional GAN, whose z stays alone.

    Returns:
        float32 [batch, z_dim + classes].
    """
    return z if classes is None else tf.concat([z, classes], 1)


def judge(x: tf.Tensor, classes: tf.Tensor | None, name: str, initializer: Callable = NORMAL) -> tf.Tensor:
    """The last layer of a discriminator: [batch, n] -> logits [batch, 1] of being real.

    It is a dense layer. Where there are classes, each class adds n weights of its own to those that all of them share
    (a projection; Miyato and Koyama 2018).

    Args:
        classes: float32 [batch, classes], one-hot; None: an unconditional GAN.
    """
    logits = dense(x, 1, name, initializer=initializer)
    if classes is None:
        return logits
    return logits + tf.reduce_sum(dense(classes, x.shape[1], "projection", use_bias=False) * x, 1, keepdims=True)


def conv2d(
    x: tf.Tensor,
    channels: int,
    kernel: int,
    stride: int,
    name: str,
    initializer: Callable = NORMAL,
    use_bias: bool = False,
) -> tf.Tensor:
    """A SAME convolution: [batch, size, size, n] -> [batch, size / stride, size / stride, channels], rounded up."""
    with v1.variable_scope(name):
        weights = v1.get_variable("kernel", [kernel, kernel, x.shape[3], channels], initializer=initializer)
        bias = _bias(channels) if use_bias else None
        return by_halves(lambda x: add_bias(convolve(x, weights, stride), bias), x)


def deconv2d(
    x: tf.Tensor,
    channels: int,
    kernel: int,
    stride: int,
    name: str,
    initializer: Callable = GLOROT,
    use_bias: bool = False,
) -> tf.Tensor:
    """A SAME transposed convolution: [batch, size, size, n] -> [batch, size * stride, size * stride, channels]."""
    batch, size = x.shape[:2]
    with v1.variable_scope(name):
        weights = v1.get_variable("kernel", [kernel, kernel, channels, x.shape[3]], initializer=initializer)
        bias = _bias(channels) if use_bias else None
        return by_halves(transposed_convolution(weights, bias, stride, size, batch), x)


def batch_norm(
    x: tf.Tensor,
    training: bool,
    name: str,
    classes: tf.Tensor | None = None,
    scale: bool = False,
    decay: float = 0.999,
) -> tf.Tensor:
    """Batch normalisation over all axes but the last, with an offset (Ioffe and Szegedy 2015).

    In training mode the statistics of the batch normalise it, and are added to the MOVING_AVERAGES collection.
    Otherwise the moving averages normalise, so that an image does not depend on its neighbours.

    Args:
        x: float32 [batch, ..., channels].
        classes: float32 [batch, classes], one-hot: each class scales and shifts every channel in its own way, at first
            by 1 and 0 (conditional batch norm; de Vries et al. 2017). None: there are none.
        scale: whether there is a learned scale that all classes share.
        decay: the decay of the moving averages.
    """
    channels = x.shape[-1]
    with v1.variable_scope(name):
        ones = v1.ones_initializer()
        gamma = v1.get_variable("gamma", [channels], initializer=ones) if scale else None
        beta = v1.get_variable("beta", [channels], initializer=v1.zeros_initializer())
        mean = v1.get_variable("moving_mean", [channels], initializer=v1.zeros_initializer(), trainable=False)
        variance = v1.get_variable("moving_variance", [channels], initializer=ones, trainable=False)
        if classes is not None:
            class_scale, class_offset = _by_class(classes, x)
        if not training:
            if classes is not None:  # one product and one sum for each element, not two
                gamma = class_scale if gamma is None else gamma * class_scale
                beta = beta * class_scale + class_offset
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)
        shape, halved = x.shape, is_halved(x)
        if shape.rank == 2:  # the fused kernel takes images; vectors go in as images of one pixel
            x = tf.reshape(x, [-1, 1, 1, channels])
        gamma, workers = gamma if scale else tf.ones([channels]), joined()
        if workers and workers.sync_batch_norm:
            x, batch_mean, batch_variance = normalize(x, gamma, beta, 1e-3, workers)
        else:
            x, batch_mean, batch_variance = v1.nn.fused_batch_norm(x, gamma, beta, epsilon=1e-3)
        v1.add_to_collection(MOVING_AVERAGES, (mean, batch_mean, decay))
        v1.add_to_collection(MOVING_AVERAGES, (variance, batch_variance, decay))
        x = tf.reshape(x, [-1, *shape[1:]])
        x = halve(x) if halved else x
        return x if classes is None else x * class_scale + class_offset


def _by_class(classes: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What each class has learned to scale and to shift the channels of `x` by, float32 [batch, 1, ..., channels]."""
    channels, zeros = x.shape[-1], v1.zeros_initializer()
    scale = 1.0 + dense(classes, channels, "class_scale", use_bias=False, initializer=zeros)
    offset = dense(classes, channels, "class_offset", use_bias=False, initializer=zeros)
    shape = [-1, *[1] * (x.shape.rank - 2), channels]
    return tf.reshape(scale, shape), tf.reshape(offset, shape)


def dropout(x: tf.Tensor, rate: float, seed: int) -> tf.Tensor:
    """Each element is zero with probability `rate`, and x / (1 - rate) otherwise (Srivastava et al. 2014).

    The random numbers are a function of `seed`, the step and the number of the call in the graph.
    """
    shape = x.shape if joined() else tf.shape(x)
    key = random_key(seed)
    # The same on every device.
    coins = own_share(lambda shape: tf.random.stateless_uniform(shape, key, alg="philox"), shape)
    return tf.where(coins >= rate, x / (1.0 - rate), 0.0)


def noise(shape: Sequence[int], stddev: float, seed: int) -> tf.Tensor:
    """Gaussian noise, float32 of `shape`, a function of `seed`, the step and the number of the call in the graph."""
    key = random_key(seed)
    return stddev * own_share(lambda shape: tf.random.stateless_normal(shape, key, alg="philox"), shape)


def random_key(seed: int) -> tf.Tensor:
    """The key of one call's random numbers, int64 [2].

    It holds the seed, the step and the number of the call. So no generator has a state, which a checkpoint would have
    to hold.
    """
    calls = v1.get_collection_ref(_RANDOM_CALLS)
    calls.append(None)
    step = tf.cast(v1.train.get_global_step(), tf.int64)
    return tf.stack([tf.constant(seed, tf.int64), step * _MOST_RANDOM_CALLS + len(calls)])


def relu(x: tf.Tensor) -> tf.Tensor:
    """x where it is positive, and 0 elsewhere."""
    return by_halves(tf.nn.relu, x)


def leaky_relu(x: tf.Tensor, slope: float = 0.2) -> tf.Tensor:
    """x where it is positive, and slope * x elsewhere."""
    return by_halves(lambda x: tf.nn.leaky_relu(x, slope), x)


def _bias(channels: int) -> tf.Variable:
    """The bias of the layer whose variable scope is open, at first zero."""
    return v1.get_variable("bias", [channels], initializer=v1.zeros_initializer())
