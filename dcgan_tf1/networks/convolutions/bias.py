"""Adding a bias, with a faster gradient."""

import tensorflow as tf

v1 = tf.compat.v1


def add_bias(x: tf.Tensor, bias: tf.Variable | None) -> tf.Tensor:
    """`x` [..., channels] plus `bias` [channels], or `x` itself where there is no bias."""
    if bias is None:
        return x
    with v1.get_default_graph().gradient_override_map({"BiasAdd": "SummedBiasAdd"}):
        return tf.nn.bias_add(x, bias)


@tf.RegisterGradient("SummedBiasAdd")
def _bias_add_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same sum as BiasAddGrad's, which on a CPU takes 12 times as long in bfloat16 and twice as long in float32.

    This was measured with images of 256x32x32x16.
    """
    return gradient, tf.reduce_sum(gradient, list(range(gradient.shape.rank - 1)))
