"""The training graph: two players, their losses, and one op that makes a whole step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.networks import load_family, workers
from dcgan_tf1.networks.augment import augment, draw_jitter, resample
from dcgan_tf1.networks.layers import MOVING_AVERAGES, noise
from dcgan_tf1.networks.pixels import scale_images, to_uint8
from dcgan_tf1.training.cluster import Cluster

v1 = tf.compat.v1


class Gan(NamedTuple):
    """Tensors and ops of one training graph."""

    graph: tf.Graph
    images: tf.Tensor
    """Placeholder, uint8 [batch_size, side, side], or [batch_size, side, side, 3] in colour: real images."""
    z: tf.Tensor
    """Placeholder, float32 [batch_size, z_dim]: the latent vectors of the step."""
    labels: tf.Tensor | None
    """Placeholder, int32 [batch_size]: the classes of the real images, and of those to draw; None: unconditional."""
    train_op: tf.Operation
    """One step: an update of the discriminator, and after it `g_steps` updates of the generator.

    If `Config.updates` is simultaneous, the first update of the generator is made together with the discriminator's,
    from the same weights.
    """
    metrics: dict[str, tf.Tensor]
    """Scalars of the step that `train_op` takes, by their names in metrics.csv."""
    global_step: tf.Variable
    d_variables: list[tf.Variable]
    g_variables: list[tf.Variable]
    sample_z: tf.Tensor
    """Placeholder, float32 [any number, z_dim]."""
    sample_labels: tf.Tensor | None
    """Placeholder, int32 [any number]: the classes to draw; None: unconditional."""
    samples: tf.Tensor
    """The digits of `sample_z` in inference mode, uint8 [any number, size, size], with 3 channels behind in colour; for
    size see `Config.image_size`."""
    calibrate_op: tf.Operation
    """Set batch norm's moving averages in the generator to the statistics of what it makes of `sample_z`.

    Only a run that averages the generator's weights needs it, before it draws samples or saves; in others it does
    nothing.
    """
    replicated: list[tf.Variable]
    """The variables that `train_op` moves, and which are therefore the same on all workers of a cluster."""
    finite: tf.Tensor
    """Whether every variable is finite, bool []."""
    init_op: tf.Operation
    saver: tf.compat.v1.train.Saver


class _Batch(NamedTuple):
    """What the passes of one step share."""

    z: tf.Tensor
    """The latent vectors, float32 [batch_size, z_dim]."""
    classes: tf.Tensor | None
    """The classes of the real images, and of those to draw, float32 [batch_size, classes], one-hot; None:
    unconditional."""
    d_noise: tf.Tensor | None
    """The noise that is added to what D sees, float32 [batch_size, size, size, channels]; None: no noise."""
    d_jitter: tuple[tf.Tensor, tf.Tensor] | None
    """How the images that D sees are shifted and stretched, see `draw_jitter`; None: they are not."""


_Averages = list[tuple[tf.Variable, tf.Tensor, float]]
"""Moving averages that batch norm asks for: (variable, value of this batch, decay)."""


class _Output(NamedTuple):
    """What a network in training mode makes of its inputs."""

    values: tf.Tensor
    """Images of the generator, logits of the discriminator."""
    averages: _Averages


class _Player(NamedTuple):
    """The variables of one of the two networks, and the optimizer that updates them."""

    optimizer: tf.compat.v1.train.Optimizer
    variables: list[tf.Variable]


def build_gan(config: Config, side: int = 28, classes: int = 0, cluster: Cluster | None = None) -> Gan:
    """The graph that trains `config` on images of `side` x `side` pixels.

    Args:
        side: 28 or 32, and not more than `config.image_size`.
        classes: how many classes the images have, for a conditional GAN; 0: an unconditional one.
        cluster: the workers that train it together, each on its share of every batch; None: this process alone.

    Raises:
        UsageError: the batch cannot be shared evenly.
        ValueError: a trainable variable belongs to neither player, or to both.
    """
    config = cluster.own_config(config) if cluster else config
    graph = tf.Graph()
    with graph.as_default():
        v1.set_random_seed(config.seed % 2**31)
        if cluster:
            workers.join(cluster)
        images = v1.placeholder(tf.uint8, [config.batch_size, *config.image_shape(side)], "images")
        z = v1.placeholder(tf.float32, [config.batch_size, config.z_dim], "z")
        sample_z = v1.placeholder(tf.float32, [None, config.z_dim], "sample_z")
        labels = v1.placeholder(tf.int32, [config.batch_size], "labels") if classes else None
        sample_labels = v1.placeholder(tf.int32, [None], "sample_labels") if classes else None
        step = v1.train.get_or_create_global_step()

        real = scale_images(images, config.image_size)
        one_hot = tf.one_hot(labels, classes) if classes else None
        fake = _generate(z, one_hot, config)
        d_noise = noise(real.shape, config.d_noise, config.seed) if config.d_noise else None
        jitter = (config.batch_size, config.image_size, config.d_jitter, config.seed)
        d_jitter = draw_jitter(*jitter) if config.d_jitter else None
        batch = _Batch(z, one_hot, d_noise, d_jitter)
        d_real = _discriminate(real, batch, config)
        d_fake = _discriminate(fake.values, batch, config)
        d_player, g_player = _players(step, config)

        d_loss_real = _cross_entropy(d_real.values, 1.0)
        d_loss_fake = _cross_entropy(d_fake.values, 0.0)
        d_loss = d_loss_real + d_loss_fake
        if config.updates == "simultaneous":
            g_loss = _generator_loss(d_fake.values)
            both = [(d_player, d_loss), (g_player, g_loss)]
            both_updated, (real_averages, fake_averages) = _update(both, [d_real, fake], cluster)
            first_updated = _update_averages(fake_averages, step, after=both_updated)
        else:
            g_loss = None
            first_updated, (real_averages,) = _update([(d_player, d_loss)], [d_real], cluster)
        # D's averages are those of real images alone: a trained D then says whether an image would pass among these.
        d_updated = _update_averages(real_averages, step, after=first_updated)
        g_updated, g_loss = _update_generator(g_player, fake, batch, g_loss, step, config, cluster, after=d_updated)

        averaged, ema = _average_weights(g_player.variables, step, config, after=g_updated)
        with tf.control_dependencies([averaged]):
            train_op = step.assign_add(1).op
        sample_classes = tf.one_hot(sample_labels, classes) if classes else None
        samples = _sampler(sample_z, sample_classes, ema, config)
        with workers.alone():  # the chief samples by itself
            calibrate_op, calibrated = _calibration(sample_z, sample_classes, ema, config)
        variables = v1.global_variables()
        metrics = {
            "d_loss_real": d_loss_real,
            "d_loss_fake": d_loss_fake,
            "d_loss": d_loss,
            "g_loss": g_loss,
            "d_x": tf.reduce_mean(tf.sigmoid(d_real.values)),
            "d_g_z": tf.reduce_mean(tf.sigmoid(d_fake.values)),
        }
        if cluster:
            metrics = dict(zip(metrics, cluster.average(list(metrics.values())), strict=True))
            cluster.make_step()
        return Gan(
            graph=graph,
            images=images,
            z=z,
            labels=labels,
            train_op=train_op,
            metrics=metrics,
            global_step=step,
            d_variables=d_player.variables,
            g_variables=g_player.variables,
            sample_z=sample_z,
            sample_labels=sample_labels,
            samples=samples,
            calibrate_op=calibrate_op,
            replicated=[each for each in variables if not any(each is other for other in calibrated)],
            finite=tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in variables if v.dtype.is_floating]),
            init_op=v1.global_variables_initializer(),
            saver=v1.train.Saver(variables, max_to_keep=None),
        )


# Networks


def _generate(z: tf.Tensor, classes: tf.Tensor | None, config: Config) -> _Output:
    """The generator's images of `z`, in training mode. With averaged weights, `_calibration` sets its averages."""
    output = _apply("generator", config, z, classes)
    return output._replace(averages=[]) if config.ema_decay else output


def _discriminate(images: tf.Tensor, batch: _Batch, config: Config) -> _Output:
    """The discriminator's logits of `images`, in training mode.

    Adding the noise hides from D what no eye sees, such as how near to -1 a background is, and leaves the strokes to be
    seen (Sonderby et al. 2017). All passes of a step share one draw of it and of the jitter, as no pass sees another's
    images. Augmentation, where it is asked for, is drawn anew for each pass.
    """
    seen = augment(images, config.seed) if config.augment else images
    seen = seen if batch.d_jitter is None else resample(seen, batch.d_jitter)
    seen = seen if batch.d_noise is None else seen + batch.d_noise
    return _apply("discriminator", config, seen, batch.classes)


def _apply(player: str, config: Config, *inputs: tf.Tensor | None) -> _Output:
    """A network in training mode. Its first call makes its variables; later calls reuse them."""
    reuse = bool(v1.trainable_variables(player))  # explicit, so that a misspelt variable fails in the second call
    known = len(v1.get_collection(MOVING_AVERAGES))
    with v1.variable_scope(player, reuse=reuse, custom_getter=_amplify(config.weight_gain)):
        values = getattr(load_family(config.model), player)(*inputs, True, config)
    return _Output(values, v1.get_collection(MOVING_AVERAGES)[known:])


def _amplify(gain: float, ema: tf.compat.v1.train.ExponentialMovingAverage | None = None) -> Callable[..., tf.Tensor]:
    """A custom getter for `variable_scope`: a trainable weight is `gain` times its variable.

    The variable starts at 1 / `gain` of the weight. Adam moves it by steps of a size that does not depend on the
    gradient's, so the weight moves `gain` times as far as the learning rate says (Karras et al. 2018).

    Args:
        ema: gives the averages that take the place of the variables that it has.
    """

    def get_amplified(
        getter: Callable[..., tf.Variable], *arguments: Any, trainable: bool = True, initializer: Any, **options: Any
    ) -> tf.Variable | tf.Tensor:
        amplified = gain != 1 and trainable is not False

        def initialize(*shape: Any, **kind: Any) -> tf.Tensor:
            return initializer(*shape, **kind) / gain

        initializer_ = initialize if amplified else initializer
        variable = getter(*arguments, trainable=trainable, initializer=initializer_, **options)
        averaged = ema.average(variable) if ema else None
        value = variable if averaged is None else averaged
        return value * gain if amplified else value

    return get_amplified


def _players(step: tf.Variable, config: Config) -> tuple[_Player, _Player]:
    """The discriminator and the generator: an Adam optimizer each, over the variables of its scope.

    Raises:
        ValueError: a trainable variable belongs to neither of them, or to both.
    """
    d_variables, g_variables = (v1.trainable_variables(scope) for scope in ("discriminator", "generator"))
    owned = sorted(v.name for v in d_variables + g_variables)
    every = sorted(v.name for v in v1.trainable_variables())
    if owned != every:
        raise ValueError(f"trainable variables outside the two players' scopes: {sorted(set(every) - set(owned))}")
    d_rate, g_rate = (_learning_rate(rate, step, config) for rate in (config.lr_d, config.lr_g))
    d_adam = v1.train.AdamOptimizer(d_rate, config.beta1, config.beta2, name="d_adam")
    g_adam = v1.train.AdamOptimizer(g_rate, config.beta1, config.beta2, name="g_adam")
    return _Player(d_adam, d_variables), _Player(g_adam, g_variables)


def _learning_rate(rate: float, step: tf.Variable, config: Config) -> float | tf.Tensor:
    """The rate of the step after `step`: all of `rate`, or the share of `--iterations` that is left of it."""
    if config.lr_decay == "none":
        return rate
    return rate * (1.0 - tf.cast(step, tf.float32) / config.iterations)


# Losses


def _cross_entropy(logits: tf.Tensor, label: float) -> tf.Tensor:
    """-mean(log p) for label 1 and -mean(log(1 - p)) for label 0, p = sigmoid(logits), finite for all logits."""
    labels = tf.fill(tf.shape(logits), np.float32(label))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def _generator_loss(logits_of_fakes: tf.Tensor) -> tf.Tensor:
    """-mean(log D(G(z))), the non-saturating loss (Goodfellow et al. 2014)."""
    return _cross_entropy(logits_of_fakes, 1.0)


# Updates


def _update(
    players: list[tuple[_Player, tf.Tensor]], outputs: list[_Output], cluster: Cluster | None
) -> tuple[tf.Operation, list[_Averages]]:
    """Update all players, (player, loss), by gradients that are taken before any of them is updated.

    In a cluster, all workers move by the means of their gradients and of the values of their moving averages.

    Returns:
        The op that is done when they have moved, and the moving averages that each of `outputs` asks for.
    """
    gradients = [player.optimizer.compute_gradients(loss, player.variables) for player, loss in players]
    averages = [output.averages for output in outputs]
    if cluster:
        values = [gradient for pairs in gradients for gradient, _ in pairs]
        means = iter(cluster.average(values + [value for each in averages for _, value, _ in each]))
        gradients = [[(next(means), variable) for _, variable in pairs] for pairs in gradients]
        averages = [[(variable, next(means), decay) for variable, _, decay in each] for each in averages]
    if len(players) == 1:
        return players[0][0].optimizer.apply_gradients(gradients[0]), averages
    with tf.control_dependencies([gradient for pairs in gradients for gradient, _ in pairs]):
        moves = [player.optimizer.apply_gradients(pairs) for (player, _), pairs in zip(players, gradients, strict=True)]
        return tf.group(*moves), averages


def _update_generator(
    player: _Player,
    fake: _Output,
    batch: _Batch,
    loss: tf.Tensor | None,
    step: tf.Variable,
    config: Config,
    cluster: Cluster | None,
    after: tf.Operation,
) -> tuple[tf.Operation, tf.Tensor]:
    """Make the generator's updates that are left in a step, one after another.

    Args:
        fake: G(z) with the weights that G has before the step.
        batch: what all passes of the step share.
        loss: G's loss in the update that was made together with D's; None if there was no such update.
        after: the op that the updates wait for.

    Returns:
        The op that is done when all updates are, and the loss of the last one.
    """
    for update in range(0 if loss is None else 1, config.g_steps):
        # Resource variables are read where the read op stands, so each pass sees the update before it.
        with tf.control_dependencies([after]):
            if update > 0:  # D's update leaves G as it is, so the first G(z) is the one that D was shown
                fake = _generate(batch.z, batch.classes, config)
            loss = _generator_loss(_discriminate(fake.values, batch, config).values)
            moved, (averages,) = _update([(player, loss)], [fake], cluster)
        after = _update_averages(averages, step, after=moved)
    return after, loss


# Averages


def _update_averages(averages: _Averages, step: tf.Variable, after: tf.Operation) -> tf.Operation:
    """Once `after` is done, move batch norm's moving averages towards the values of the batch.

    The decay is warmed up as min(decay, (1 + step) / (10 + step)), so that a young run does not sample with the
    statistics of its initial weights.
    """
    count = tf.cast(step, tf.float32)
    warm = (1.0 + count) / (10.0 + count)
    with tf.control_dependencies([after]):
        moves = [
            variable.assign_sub((variable - value) * (1.0 - tf.minimum(decay, warm)))
            for variable, value, decay in averages
        ]
        return tf.group(*moves)


def _average_weights(
    variables: list[tf.Variable], step: tf.Variable, config: Config, after: tf.Operation
) -> tuple[tf.Operation, tf.compat.v1.train.ExponentialMovingAverage | None]:
    """Once `after` is done, move the averages of the generator's weights.

    Averaged weights draw better samples (Yazici et al. 2019). The decay is warmed up by the number of the step.

    Returns:
        The op that is done when they have moved, and the averages; None where the run keeps none.
    """
    if not config.ema_decay:
        return after, None
    ema = v1.train.ExponentialMovingAverage(config.ema_decay, step)
    with tf.control_dependencies([after]):
        return ema.apply(variables), ema


# Sampler


def _sampler(
    z: tf.Tensor,
    classes: tf.Tensor | None,
    ema: tf.compat.v1.train.ExponentialMovingAverage | None,
    config: Config,
) -> tf.Tensor:
    """The digits of `z` in inference mode, like `Gan.samples`, drawn with averaged weights where `ema` has them."""
    with v1.variable_scope("generator", reuse=True, custom_getter=_amplify(config.weight_gain, ema)):
        return to_uint8(load_family(config.model).generator(z, classes, False, config))


def _calibration(
    z: tf.Tensor,
    classes: tf.Tensor | None,
    ema: tf.compat.v1.train.ExponentialMovingAverage | None,
    config: Config,
) -> tuple[tf.Operation, list[tf.Variable]]:
    """Set batch norm's moving averages in the generator to the statistics of the batch `z` under averaged weights.

    Averaged weights have lost the noise that weights pick up in training, so the activations that they make vary less.
    Divided by the standard deviations of training, they would make digits that are all too typical of their class.
    (Izmailov et al. 2018, section 3.2, measure the statistics anew for the same reason.)

    Returns:
        The op that does so, and the moving averages that it sets.
    """
    if ema is None:
        return tf.no_op(), []
    known = len(v1.get_collection(MOVING_AVERAGES))
    with v1.variable_scope("generator", reuse=True, custom_getter=_amplify(config.weight_gain, ema)):
        load_family(config.model).generator(z, classes, True, config)
    measured = v1.get_collection(MOVING_AVERAGES)[known:]
    return tf.group(*[variable.assign(value) for variable, value, _ in measured]), [each[0] for each in measured]
