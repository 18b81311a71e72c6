"""Layers on `get_variable` and `tf.nn`. Each makes its variables in a variable scope of the name that it is given."""

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import tensorflow as tf

from dcgan_tf1.networks.convolutions import convolve, transposed_convolution
from dcgan_tf1.networks.convolutions.bias import add_bias
from dcgan_tf1.networks.philox import Philox

v1 = tf.compat.v1

Initializer = Callable[[int], Callable]  # what makes an initializer for `get_variable` of a seed
NORMAL: Initializer = functools.partial(v1.truncated_normal_initializer, 0.0, 0.02)
GLOROT: Initializer = v1.glorot_uniform_initializer


class Average(NamedTuple):
    """A moving average that is to take a step towards a value."""

    variable: tf.Variable
    value: tf.Tensor
    decay: float


@dataclass
class ForwardPass:
    """One pass of a batch through a network, as its layers need to know it."""

    training: bool  # whether batch norm takes the statistics of the batch, or its moving averages, as in inference
    random: Philox | None = None  # what dropout draws from; None: it drops nothing, as in inference
    synchronised: bool = False
    """Whether batch norm takes the statistics of the whole batch, where several replicas share it."""
    statistics: list[Average] = field(default_factory=list)
    """The statistics of the batch that batch norm took in training, with the moving averages that follow them."""


def dense(x: tf.Tensor, units: int, name: str, use_bias: bool = True, initializer: Initializer = NORMAL) -> tf.Tensor:
    """A matrix product: [batch, n] -> [batch, units]."""
    with v1.variable_scope(name):
        x = x @ _kernel([x.shape[1], units], initializer)
        return add_bias(x, _bias(units) if use_bias else None)


def with_classes(z: tf.Tensor, classes: tf.Tensor | None) -> tf.Tensor:
    """What the first layer of a generator sees: z, and the classes behind it (Mirza and Osindero 2014).

    z [batch, z_dim], classes one-hot [batch, classes] -> [batch, z_dim + classes]. None, unconditional: z stays alone.
    """
    return z if classes is None else tf.concat([z, classes], 1)


def judge(x: tf.Tensor, classes: tf.Tensor | None, name: str, initializer: Initializer = NORMAL) -> tf.Tensor:
    """The last layer of a discriminator: [batch, n] -> logits [batch, 1] of being real.

    It is a dense layer. Where there are classes, one-hot [batch, classes], each adds n weights of its own to those that
    all of them share (a projection; Miyato and Koyama 2018).
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
    initializer: Initializer = NORMAL,
    use_bias: bool = False,
) -> tf.Tensor:
    """A SAME convolution: [batch, size, size, n] -> [batch, size / stride, size / stride, channels], rounded up."""
    with v1.variable_scope(name):
        weights = _kernel([kernel, kernel, x.shape[3], channels], initializer)
        return add_bias(convolve(x, weights, stride), _bias(channels) if use_bias else None)


def deconv2d(
    x: tf.Tensor,
    channels: int,
    kernel: int,
    stride: int,
    name: str,
    initializer: Initializer = GLOROT,
    use_bias: bool = False,
) -> tf.Tensor:
    """A SAME transposed convolution: [batch, size, size, n] -> [batch, size * stride, size * stride, channels]."""
    with v1.variable_scope(name):
        weights = _kernel([kernel, kernel, channels, x.shape[3]], initializer)
        return transposed_convolution(x, weights, _bias(channels) if use_bias else None, stride)


def batch_norm(
    x: tf.Tensor,
    forward: ForwardPass,
    name: str,
    classes: tf.Tensor | None = None,
    scale: bool = False,
    decay: float = 0.999,
) -> tf.Tensor:
    """Batch normalisation over all axes but the last, with an offset (Ioffe and Szegedy 2015).

    In training the statistics of the batch normalise it, and are added to `forward.statistics`. In inference the moving
    averages normalise, so that an image does not depend on its neighbours.

    Args:
        x: float32 [batch, ..., channels].
        classes: float32 [batch, classes], one-hot: each class scales and shifts every channel in its own way, at first
            by 1 and 0 (conditional batch norm; de Vries et al. 2017). None: there are none.
        scale: whether there is a learned scale that all classes share.
        decay: the decay of the moving averages.
    """
    channels = x.shape[-1]
    with v1.variable_scope(name):
        zeros, ones = v1.zeros_initializer(), v1.ones_initializer()
        gamma = v1.get_variable("gamma", [channels], initializer=ones) if scale else None
        beta = v1.get_variable("beta", [channels], initializer=zeros)
        mean = moving_average("moving_mean", [channels], zeros)
        variance = moving_average("moving_variance", [channels], ones)
        if classes is not None:
            class_scale, class_offset = _by_class(classes, x)
        if not forward.training:
            if classes is not None:  # one product and one sum for each element, not two
                gamma = class_scale if gamma is None else gamma * class_scale
                beta = beta * class_scale + class_offset
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)
        # The fused kernel takes images; vectors go in as images of one pixel.
        images = tf.reshape(x, [-1, 1, 1, channels]) if x.shape.rank == 2 else x
        normalise = _whole_batch_norm if forward.synchronised else v1.nn.fused_batch_norm
        y, batch_mean, batch_variance = normalise(images, gamma if scale else tf.ones([channels]), beta, epsilon=1e-3)
        forward.statistics += [Average(mean, batch_mean, decay), Average(variance, batch_variance, decay)]
        y = tf.reshape(y, [-1, *x.shape[1:]])
        return y if classes is None else y * class_scale + class_offset


def moving_average(name: str, shape: Sequence[int] | None, initializer: Callable | tf.Tensor) -> tf.Variable:
    """A variable for a moving average. All replicas move it by the same value, so any one's will do for all.

    Args:
        shape: None where the initializer is a tensor.
    """
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return v1.get_variable(name, shape, initializer=initializer, trainable=False, aggregation=aggregation)


def _whole_batch_norm(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`fused_batch_norm` of this replica's share of a batch, by the statistics of the whole batch."""
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    mean, square = tf.distribute.get_replica_context().all_reduce("MEAN", [mean, variance + mean**2])
    variance = square - mean**2
    elements = tf.distribute.get_strategy().num_replicas_in_sync * x.shape[:3].num_elements()
    y = tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)
    return y, mean, variance * (elements / (elements - 1))


def _by_class(classes: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What each class has learned to scale and to shift the channels of `x` by, float32 [batch, 1, ..., channels]."""
    channels = x.shape[-1]

    def zeros(seed: int) -> Callable:
        return v1.zeros_initializer()

    scale = 1.0 + dense(classes, channels, "class_scale", use_bias=False, initializer=zeros)
    offset = dense(classes, channels, "class_offset", use_bias=False, initializer=zeros)
    shape = [-1, *[1] * (x.shape.rank - 2), channels]
    return tf.reshape(scale, shape), tf.reshape(offset, shape)


def dropout(x: tf.Tensor, rate: float, forward: ForwardPass) -> tf.Tensor:
    """Zeros with probability `rate`, x / (1 - rate) otherwise (Srivastava et al. 2014), and x in inference."""
    if forward.random is None:
        return x
    return tf.where(forward.random.coins(x.shape, rate), 0.0, x / (1.0 - rate))


def _kernel(shape: Sequence[int], initializer: Initializer) -> tf.Variable:
    """The weights of the layer whose variable scope is open.

    Their seed is a function of the scope's name. Otherwise TensorFlow would derive it from the number of the ops that
    were made before, and any change of the graph would start every run from other weights.
    """
    seed = zlib.crc32(v1.get_variable_scope().name.encode()) & 0x7FFFFFFF
    return v1.get_variable("kernel", shape, initializer=initializer(seed))


def _bias(channels: int) -> tf.Variable:
    """The bias of the layer whose variable scope is open, at first zero."""
    return v1.get_variable("bias", [channels], initializer=v1.zeros_initializer())
