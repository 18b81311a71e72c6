"""What the two players minimise: functions of the discriminator's logits, and the penalty on its gradients.

A loss is a pair of functions of the logits of real and of generated images, float32 [batch, 1] each. The
discriminator's gives two scalars, for the real and for the generated images, whose sum it minimises. The generator's
gives one. p below is sigmoid(logit), the probability of being real.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import tensorflow as tf


class Loss(NamedTuple):
    """What each player minimises, given the logits of real and of generated images."""

    discriminator: Callable[["tf.Tensor", "tf.Tensor"], tuple["tf.Tensor", "tf.Tensor"]]
    generator: Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]


def _mean(x: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf  # here, so that --help and a wrong flag need no TensorFlow

    return tf.reduce_mean(x)


def _softplus(x: "tf.Tensor") -> "tf.Tensor":
    """log(1 + exp(x)): -log p of logits -x, and -log(1 - p) of logits x, finite for all of them."""
    import tensorflow as tf

    return tf.nn.softplus(x)


def _relu(x: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.nn.relu(x)


LOSSES = {
    # D minimises -mean log p(real) - mean log(1 - p(fake)), and G -mean log p(fake) (Goodfellow et al. 2014).
    "non_saturating": Loss(
        lambda real, fake: (_mean(_softplus(-real)), _mean(_softplus(fake))),
        lambda real, fake: _mean(_softplus(-fake)),
    ),
    # The same game as a minimax: G minimises mean log(1 - p(fake)).
    "saturating": Loss(
        lambda real, fake: (_mean(_softplus(-real)), _mean(_softplus(fake))),
        lambda real, fake: -_mean(_softplus(fake)),
    ),
    # D's logits themselves are to be 1 and 0, and G wants 1 (Mao et al. 2017, equation 9).
    "least_squares": Loss(
        lambda real, fake: (0.5 * _mean((real - 1.0) ** 2), 0.5 * _mean(fake**2)),
        lambda real, fake: 0.5 * _mean((fake - 1.0) ** 2),
    ),
    # Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17.
    "hinge": Loss(
        lambda real, fake: (_mean(_relu(1.0 - real)), _mean(_relu(1.0 + fake))),
        lambda real, fake: -_mean(fake),
    ),
    # Arjovsky et al. 2017. Nothing but a penalty bounds the logits.
    "wasserstein": Loss(lambda real, fake: (-_mean(real), _mean(fake)), lambda real, fake: -_mean(fake)),
    # Each real image beside a generated one (Jolicoeur-Martineau 2018; Huang et al. 2024, equation 2). D's loss has no
    # two parts, so each is half of it.
    "relativistic": Loss(
        lambda real, fake: (0.5 * _mean(_softplus(fake - real)),) * 2,
        lambda real, fake: _mean(_softplus(real - fake)),
    ),
}
"""The losses that `--loss` chooses from, by name."""
CROSS_ENTROPIES = ("non_saturating", "saturating")
"""Those with which the sigmoid of a trained discriminator's logit is a probability."""


def gradient_penalty(logits: "tf.Tensor", images: "tf.Tensor") -> "tf.Tensor":
    """Half the mean square of the length of the gradient of `logits`, float32 [batch, 1], at `images`, a scalar.

    The images, float32 [batch, size, size, channels], are those that the logits were computed from. At real images it
    is R1, and at generated ones R2 (Mescheder et al. 2018, equations 9 and 10).
    """
    import tensorflow as tf

    (gradient,) = tf.gradients(logits, images)
    return 0.5 * _mean(tf.reduce_sum(gradient**2, [1, 2, 3]))
