"""The training graph: two players, two losses, and one fused train op; a session on it, and its Saver's files."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks import load_family
from dcgan_tf1.networks.layers import MOVING_AVERAGES, noise
from dcgan_tf1.networks.pixels import scale_images, to_uint8

v1 = tf.compat.v1


class Gan(NamedTuple):
    """Tensors and ops of one training graph."""

    graph: tf.Graph
    images: tf.Tensor
    """Placeholder, uint8 [batch_size, side, side]: real images."""
    z: tf.Tensor
    """Placeholder, float32 [batch_size, z_dim]: the step's noise."""
    train_op: tf.Operation
    """One step: a discriminator update, then `g_steps` generator updates, in this order.

    If `updates` is simultaneous, the first of these is made with the discriminator's, from the same weights.
    """
    metrics: dict[str, tf.Tensor]
    """Scalars of the step that `train_op` takes, by their names in metrics.csv."""
    global_step: tf.Variable
    d_variables: list[tf.Variable]
    g_variables: list[tf.Variable]
    sample_z: tf.Tensor
    """Placeholder, float32 [any, z_dim]."""
    samples: tf.Tensor
    """uint8 [any, size, size], drawn in inference mode; size is 28 or 32, see `Config.image_size`."""
    finite: tf.Tensor
    """Whether every variable is finite, bool []."""
    init_op: tf.Operation
    saver: v1.train.Saver


def build_gan(config: Config, side: int = 28) -> Gan:
    """The graph that trains `config` on images of `side` x `side` pixels: 28 or 32, and not more than
    `config.image_size`.

    Raises:
        ValueError: a trainable variable belongs to neither player, or to both.
    """
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(config.seed % 2**31)
        images = v1.placeholder(tf.uint8, [config.batch_size, side, side], "images")
        z = v1.placeholder(tf.float32, [config.batch_size, config.z_dim], "z")
        sample_z = v1.placeholder(tf.float32, [None, config.z_dim], "sample_z")
        global_step = v1.train.get_or_create_global_step()

        real = scale_images(images, config.image_size)
        fake, g_averages = _generate(z, config)
        # Noise is to hide from D what no eye sees, such as how near to -1 a background is, and to leave it the strokes
        # (Sonderby et al. 2017). One draw a step: no pass of D sees another's images.
        grain = noise(real.shape, config.d_noise, config.seed) if config.d_noise else None

        def seen(images):
            return images if grain is None else images + grain

        real_logits, real_averages = _discriminate(seen(real), config)
        fake_logits, _ = _discriminate(seen(fake), config)
        d_variables = v1.trainable_variables("discriminator")
        g_variables = v1.trainable_variables("generator")
        _check_owners(d_variables, g_variables)

        d_loss_real = _cross_entropy(real_logits, 1.0)
        d_loss_fake = _cross_entropy(fake_logits, 0.0)
        d_loss = d_loss_real + d_loss_fake
        d_optimizer = v1.train.AdamOptimizer(config.lr_d, config.beta1, config.beta2, name="d_adam")
        g_optimizer = v1.train.AdamOptimizer(config.lr_g, config.beta1, config.beta2, name="g_adam")
        together = config.updates == "simultaneous"
        if together:
            g_loss = _cross_entropy(fake_logits, 1.0)
            players = [(d_optimizer, d_loss, d_variables), (g_optimizer, g_loss, g_variables)]
            train_op = _average(g_averages, after=_minimize_together(players), step=global_step)
        else:
            train_op = d_optimizer.minimize(d_loss, var_list=d_variables)
        # D's averages are of reals alone: used once trained, they ask of any image whether it would pass among these.
        train_op = _average(real_averages, after=train_op, step=global_step)
        # Resource variables are read where the read op stands, so each pass below sees the update before it.
        for update in range(together, config.g_steps):
            with tf.control_dependencies([train_op]):
                if update:  # the discriminator's update leaves G as it is: the first G(z) is the one that D was shown
                    fake, g_averages = _generate(z, config)
                logits, _ = _discriminate(seen(fake), config)
                g_loss = _cross_entropy(logits, 1.0)  # non-saturating: maximise log D(G(z)) (Goodfellow et al. 2014)
                train_op = g_optimizer.minimize(g_loss, var_list=g_variables)
            train_op = _average(g_averages, after=train_op, step=global_step)
        averaged = None
        if config.ema_decay:  # samples of averaged weights are better (Yazici et al. 2019); the step warms the decay up
            ema = v1.train.ExponentialMovingAverage(config.ema_decay, global_step)
            with tf.control_dependencies([train_op]):
                train_op = ema.apply(g_variables)

            def averaged(getter, *arguments, **options):
                variable = getter(*arguments, **options)
                return variable if ema.average(variable) is None else ema.average(variable)

        with tf.control_dependencies([train_op]):
            train_op = global_step.assign_add(1).op

        with v1.variable_scope("generator", reuse=True, custom_getter=averaged):
            samples = load_family(config.model).generator(sample_z, False, config)
        variables = v1.global_variables()
        return Gan(
            graph=graph,
            images=images,
            z=z,
            train_op=train_op,
            metrics={
                "d_loss_real": d_loss_real,
                "d_loss_fake": d_loss_fake,
                "d_loss": d_loss,
                "g_loss": g_loss,
                "d_x": tf.reduce_mean(tf.sigmoid(real_logits)),
                "d_g_z": tf.reduce_mean(tf.sigmoid(fake_logits)),
            },
            global_step=global_step,
            d_variables=d_variables,
            g_variables=g_variables,
            sample_z=sample_z,
            samples=to_uint8(samples),
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in variables if v.dtype.is_floating]),
            init_op=v1.global_variables_initializer(),
            saver=v1.train.Saver(variables, max_to_keep=None),
        )


def _generate(z: tf.Tensor, config: Config) -> tuple[tf.Tensor, list]:
    """Images of `z` in training mode, and what batch norm leaves to be averaged."""
    return _call("generator", z, config)


def _discriminate(images: tf.Tensor, config: Config) -> tuple[tf.Tensor, list]:
    """Logits of `images` in training mode, and what batch norm leaves to be averaged."""
    return _call("discriminator", images, config)


def _call(player: str, inputs: tf.Tensor, config: Config) -> tuple[tf.Tensor, list]:
    reuse = bool(v1.trainable_variables(player))  # explicit, so that a misspelt variable fails in the second call
    before = len(v1.get_collection(MOVING_AVERAGES))
    with v1.variable_scope(player, reuse=reuse):
        outputs = getattr(load_family(config.model), player)(inputs, True, config)
    return outputs, v1.get_collection(MOVING_AVERAGES)[before:]


def _cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    labels = tf.fill(tf.shape(logits), np.float32(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def _minimize_together(players: list[tuple]) -> tf.Operation:
    """Move every player, (optimizer, loss, variables), on what all of them see before any has moved."""
    gradients = [optimizer.compute_gradients(loss, variables) for optimizer, loss, variables in players]
    with tf.control_dependencies([gradient for pairs in gradients for gradient, _ in pairs]):
        return tf.group(*[player[0].apply_gradients(pairs) for player, pairs in zip(players, gradients, strict=True)])


def _average(averages: list[tuple], after: tf.Operation, step: tf.Variable) -> tf.Operation:
    """When `after` is done, move the moving averages, (variable, batch value, decay), towards the batch's values.

    The decay is warmed up from 0.1 as min(decay, (1 + step) / (10 + step)), so that a young run does not
    sample with the statistics of its initial weights.
    """
    count = tf.cast(step, tf.float32)
    warm = (1.0 + count) / (10.0 + count)
    with tf.control_dependencies([after]):
        moves = [
            variable.assign_sub((variable - value) * (1.0 - tf.minimum(decay, warm)))
            for variable, value, decay in averages
        ]
        return tf.group(*moves)


def _check_owners(d_variables: list[tf.Variable], g_variables: list[tf.Variable]) -> None:
    owned = sorted(v.name for v in d_variables + g_variables)
    every = sorted(v.name for v in v1.trainable_variables())
    if owned != every:
        raise ValueError(f"trainable variables outside the two players' scopes: {sorted(set(every) - set(owned))}")
