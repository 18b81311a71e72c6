"""Convolutions with SAME padding, each by the way that was measured to be the fastest.

TensorFlow's own kernels are slow for a few shapes that these networks use. The modules beside this one compute the
same linear maps in other ways, to float32 rounding. Here is the rule that picks a way, with the measurements behind
it: forward and both gradients, batches of 64, on two cores with AVX-512. All images and kernels are float32.
"""

import tensorflow as tf

from dcgan_tf1.networks.convolutions.bias import add_bias
from dcgan_tf1.networks.convolutions.fourier import fourier_deconv
from dcgan_tf1.networks.convolutions.phases import phase_conv, phase_deconv, phase_deconv_forward
from dcgan_tf1.networks.convolutions.strided import strided_conv
from dcgan_tf1.networks.convolutions.winograd import winograd_deconv


def convolve(x: tf.Tensor, kernel: tf.Variable, stride: int) -> tf.Tensor:
    """`conv2d`: x [batch, n, n, c], kernel [k, k, c, channels] -> [batch, n / stride, n / stride, channels]."""
    width = kernel.shape[0]
    is_halved = stride == 2 and x.shape[1] % 2 == 0
    # By phases: 1.7 times as fast as conv2d at 32x32 with a 4x4 kernel, thanks to the gradient of the images.
    if is_halved and x.shape[3] == 1 and 2 <= width <= 5:
        return phase_conv(x, kernel)
    if is_halved and width % 2 == 0:
        return strided_conv(x, kernel)
    return tf.nn.conv2d(x, kernel, stride, "SAME")


def transposed_convolution(x: tf.Tensor, kernel: tf.Variable, bias: tf.Variable | None, stride: int) -> tf.Tensor:
    """`conv2d_transpose`: x [batch, n, n, c], kernel [k, k, channels, c] -> [batch, stride n, stride n, channels].

    A bias [channels], or None, is added. Some ways transform the kernel first, which costs as much as some images do.
    They are used only where the number of images is known, since it could be one otherwise.
    """
    batch, size, width, channels = x.shape[0], x.shape[1], kernel.shape[0], kernel.shape[2]
    # By phases forward alone, with the bias: 1.06 times as fast in float32 and 1.2 times in bfloat16, from 16x16x32 to
    # 16 channels. There was no gain from 8x8, or to 32 channels.
    if width == 5 and stride == 2 and size >= 16 and 1 < channels <= 16 and batch:
        return phase_deconv_forward(x, kernel, tf.zeros([channels]) if bias is None else bias)
    # Winograd: 1.3 to 1.6 times as fast as conv2d_transpose from 4x4 and from 8x8, and 0.8 times from 16x16.
    if width == 5 and stride == 2 and size in (4, 8) and batch:
        y = winograd_deconv(x, kernel)
    # By phases: 1.6 times as fast from 16x16 to one channel.
    elif stride == 2 and channels == 1 and 2 <= width <= 5:
        y = phase_deconv(x, kernel)
    # Fourier: 1.9 times as fast with a 9x9 kernel, 19 times with 32x32, and 0.4 times with 5x5.
    elif stride == channels == 1 and width >= 9:
        y = fourier_deconv(x, kernel)
    else:
        shape = [tf.shape(x)[0], size * stride, size * stride, channels]
        y = tf.nn.conv2d_transpose(x, kernel, shape, stride, "SAME")
    return add_bias(y, bias)
