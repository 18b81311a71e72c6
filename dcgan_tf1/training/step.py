"""One training step: two players, their losses, the order of their updates, and the averages."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.losses import LOSSES, gradient_penalty
from dcgan_tf1.networks import inference, load_family
from dcgan_tf1.networks.augment import augment, random_jitter, resample
from dcgan_tf1.networks.layers import Average, ForwardPass, moving_average
from dcgan_tf1.networks.philox import Philox
from dcgan_tf1.networks.pixels import scale_images

v1 = tf.compat.v1

EPSILON = 1e-8  # of Adam, where `Config.lr_scale` is 1
AVERAGE = "/ExponentialMovingAverage"  # ends the name of a variable's average, as TensorFlow's own class does

Gradients = list[tuple[tf.Tensor, tf.Variable]]


class Player:
    """One of the two networks: its variables, which lie in the scope of its name, and the Adam that moves them."""

    def __init__(self, name: str, rate: float, config: Config) -> None:
        self._name, self._config = name, config
        self._network = getattr(load_family(config.model), name)

        def learning_rate() -> float | tf.Tensor:  # read in each step anew
            scaled = rate * config.lr_scale
            if config.lr_decay == "none":
                return scaled
            return scaled * (1.0 - tf.cast(v1.train.get_global_step(), tf.float32) / config.iterations)

        # A rate r and an epsilon e for weights are a rate r / s and an epsilon e s for weights / s (Kingma and Ba 2015,
        # algorithm 1). Weights that are s times what Adam moves learn as evenly as those of Karras et al. (2018).
        settings = {"beta1": config.beta1, "beta2": config.beta2, "epsilon": EPSILON / config.lr_scale}
        self._adam = v1.train.AdamOptimizer(learning_rate, **settings, name=f"{name[0]}_adam")

    @property
    def variables(self) -> list[tf.Variable]:
        """The trainable variables."""
        return v1.trainable_variables(f"{self._name}/")

    def __call__(
        self, inputs: tf.Tensor, classes: tf.Tensor | None, forward: ForwardPass, getter: Callable | None = None
    ) -> tf.Tensor:
        """What the network makes of its inputs. The first call makes its variables; later ones reuse them.

        Args:
            getter: a custom getter that puts averages in the place of variables.
        """
        reuse = bool(self.variables)  # explicit, so that a misspelt variable fails in the second call
        with v1.variable_scope(self._name, reuse=reuse, custom_getter=getter):
            return self._network(inputs, classes, forward, self._config)

    def gradients(self, loss: tf.Tensor) -> Gradients:
        """The gradients of the loss, for each variable. Those of all replicas are added up when they are applied."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self._adam.compute_gradients(loss / replicas if replicas > 1 else loss, self.variables)

    def update(self, gradients: Gradients) -> tf.Operation:
        """Move the variables by their gradients."""
        return self._adam.apply_gradients(gradients)


class Step(NamedTuple):
    """What a step has done."""

    count: tf.Tensor
    """The number of steps so far, int64 []. When it is known, all updates have been made."""
    metrics: dict[str, tf.Tensor]  # scalars of the step, by their names in metrics.csv


class Game:
    """A generator and a discriminator, and how they play."""

    def __init__(self, config: Config, classes: int = 0) -> None:
        """Begin a game in the present graph. Its first step makes the variables.

        Args:
            classes: how many classes the images have, for a conditional GAN; 0: an unconditional one.
        """
        self._config, self._classes, self._loss = config, classes, LOSSES[config.loss]
        self.step = v1.train.get_or_create_global_step()
        self.generator = Player("generator", config.lr_g, config)
        self.discriminator = Player("discriminator", config.lr_d, config)
        self._averaged_weights: dict[str, tf.Variable] = {}  # the averages, by their names

    def train_step(self, images: tf.Tensor, z: tf.Tensor, labels: tf.Tensor | None) -> Step:
        """Update the discriminator, and after it the generator `g_steps` times.

        If `Config.updates` is simultaneous, the first update of the generator is made together with the
        discriminator's, from the same weights. Of several replicas each takes its share: gradients are added up, and
        statistics and metrics averaged, so that all keep the same variables.

        Args:
            images: real ones, uint8 [batch, side, side], or [batch, side, side, 3] in colour.
            z: latent vectors, float32 [batch, z_dim].
            labels: the classes of the images, and of those to generate, int32 [batch]; None: unconditional.

        Raises ValueError: a trainable variable belongs to neither player, or to both.
        """
        config, generator, discriminator = self._config, self.generator, self.discriminator
        real = scale_images(images, config.image_size)
        batch = _Batch(z, self.one_hot(labels), real.shape, config)
        fake, g_statistics = batch.generate(generator)
        d_real, d_statistics = batch.judge(discriminator, real)
        d_fake, _ = batch.judge(discriminator, fake)
        # D's statistics are those of real images alone: a trained D then says whether an image would pass among these.
        statistics = [d_statistics, g_statistics]
        _check_owners(generator, discriminator)

        d_loss_real, d_loss_fake = self._loss.discriminator(d_real, d_fake)
        d_loss = d_loss_real + d_loss_fake
        if config.r1:
            d_loss += config.r1 * gradient_penalty(d_real, real)
        if config.r2:
            d_loss += config.r2 * gradient_penalty(d_fake, fake)
        d_gradients = discriminator.gradients(d_loss)

        together = config.updates == "simultaneous"
        if together:
            g_loss = self._loss.generator(d_real, d_fake)
            g_gradients = generator.gradients(g_loss)
            # Neither player moves before the gradients of the other are known.
            with tf.control_dependencies([gradient for gradient, _ in (*d_gradients, *g_gradients)]):
                updated = tf.group(discriminator.update(d_gradients), generator.update(g_gradients))
        else:
            updated = discriminator.update(d_gradients)

        for update in range(int(together), config.g_steps):
            # Resource variables are read where the read op stands, so each pass sees the update before it.
            with tf.control_dependencies([updated]):
                if update:  # D's update leaves G as it is, so the first G(z) is the one that D was shown
                    fake, g_statistics = batch.generate(generator)
                    statistics.append(g_statistics)
                # Most losses of G look at no real image; TensorFlow then leaves that pass out.
                g_loss = self._loss.generator(*(batch.judge(discriminator, shown)[0] for shown in (real, fake)))
                updated = generator.update(generator.gradients(g_loss))

        metrics = {"d_loss_real": d_loss_real, "d_loss_fake": d_loss_fake, "d_loss": d_loss, "g_loss": g_loss}
        metrics |= {"d_x": tf.reduce_mean(tf.sigmoid(d_real)), "d_g_z": tf.reduce_mean(tf.sigmoid(d_fake))}
        statistics, metrics = _mean_over_replicas(statistics, metrics)
        with tf.control_dependencies([updated]):
            weights = [Average(self._average(v), v.read_value(), config.ema_decay) for v in self._averaged]
        moved = self._move([*statistics, weights], after=updated)
        with tf.control_dependencies([moved]):
            return Step(self.step.assign_add(1), metrics)

    def one_hot(self, labels: tf.Tensor | None) -> tf.Tensor | None:
        """The classes of integer labels [n], float32 [n, classes]; None for those of an unconditional GAN."""
        return None if labels is None else tf.one_hot(labels, self._classes)

    # Averages

    @property
    def _averaged(self) -> list[tf.Variable]:
        """The variables that are averaged: those of the generator, or none."""
        return self.generator.variables if self._config.ema_decay else []

    def _average(self, variable: tf.Variable) -> tf.Variable:
        """The moving average of a weight. Averaged weights generate better samples (Yazici et al. 2019)."""
        name = variable.name.removesuffix(":0") + AVERAGE  # its op has another name on each replica
        if name not in self._averaged_weights:
            self._averaged_weights[name] = moving_average(name, None, variable.initial_value)
        return self._averaged_weights[name]

    def _move(self, lists: list[list[Average]], after: tf.Operation) -> tf.Operation:
        """Move the averages of each list towards their values, one list after another: passes of G share averages.

        The decay is warmed up as min(decay, (1 + step) / (10 + step)), so that a young run does not sample with its
        initial weights.
        """
        count = tf.cast(self.step, tf.float32)
        warm = (1.0 + count) / (10.0 + count)
        for averages in lists:
            with tf.control_dependencies([after]):
                moves = [a.assign_sub((a - value) * (1.0 - tf.minimum(decay, warm))) for a, value, decay in averages]
                after = tf.group(*moves)
        return after

    # Sampling

    def sample(self, z: tf.Tensor, labels: tf.Tensor | None) -> tf.Tensor:
        """The images of z in inference mode, with averaged weights where there are some: uint8 [n, size, size]."""
        return inference.generate(z, self.one_hot(labels), self._config, self._get_average).images

    def calibrate(self, z: tf.Tensor, labels: tf.Tensor | None) -> list[Average]:
        """What batch norm's moving averages in the generator are to be, where the weights are averaged.

        Averaged weights have lost the noise that weights pick up in training, so the activations that they make vary
        less. Divided by the standard deviations of training, they would make digits that are all too typical of their
        class. So these are the statistics of what averaged weights make of z (Izmailov et al. 2018, section 3.2).
        """
        if not self._averaged:
            return []
        forward = ForwardPass(training=True)
        self.generator(z, self.one_hot(labels), forward, self._get_average)
        return forward.statistics

    def _get_average(self, getter: Callable[..., tf.Variable], *arguments: Any, **options: Any) -> tf.Variable:
        """A custom getter for `variable_scope` that puts averages in the place of the variables that have one."""
        variable = getter(*arguments, **options)
        return self._averaged_weights.get(variable.name.removesuffix(":0") + AVERAGE, variable)


class _Batch:
    """What the passes of one step share. Each pass gives batch norm's statistics beside what the network makes."""

    def __init__(self, z: tf.Tensor, classes: tf.Tensor | None, shape: Sequence[int], config: Config) -> None:
        """Draw what the discriminator's view of images, of `shape`, is changed by."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        replica = int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
        self._random = random = Philox(config.seed, v1.train.get_global_step(), replica, replicas)
        self._noise = config.d_noise * random.normal(shape) if config.d_noise else None
        self._jitter = random_jitter(shape[0], shape[1], config.d_jitter, random) if config.d_jitter else None
        self._z, self._classes, self._config = z, classes, config

    def generate(self, generator: Player) -> tuple[tf.Tensor, list[Average]]:
        """The generator's images of z, and its statistics. Where weights are averaged, `Game.calibrate` has those."""
        forward = self._forward()
        images = generator(self._z, self._classes, forward)
        return images, [] if self._config.ema_decay else forward.statistics

    def judge(self, discriminator: Player, images: tf.Tensor) -> tuple[tf.Tensor, list[Average]]:
        """The discriminator's logits of its view of the images, and its statistics.

        Noise hides from D what no eye sees, such as how near to -1 a background is, and leaves the strokes to be seen
        (Sonderby et al. 2017). All passes share the noise and the jitter, as no pass sees another's images.
        Augmentation is drawn anew for each pass.
        """
        forward = self._forward()
        seen = augment(images, self._random) if self._config.augment else images
        seen = seen if self._jitter is None else resample(seen, self._jitter)
        seen = seen if self._noise is None else seen + self._noise
        return discriminator(seen, self._classes, forward), forward.statistics

    def _forward(self) -> ForwardPass:
        return ForwardPass(training=True, random=self._random, synchronised=self._config.sync_batch_norm)


def _mean_over_replicas(
    statistics: list[list[Average]], metrics: dict[str, tf.Tensor]
) -> tuple[list[list[Average]], dict[str, tf.Tensor]]:
    """The same statistics and metrics, whose values are the means over the replicas. They travel together."""
    values = [average.value for averages in statistics for average in averages]
    means = iter(reduce_over_replicas("MEAN", [*values, *metrics.values()]))
    statistics = [[average._replace(value=next(means)) for average in averages] for averages in statistics]
    return statistics, dict(zip(metrics, means, strict=True))


def reduce_over_replicas(operation: str, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The MEAN or the SUM of each of the tensors over all replicas. They travel together, and have no gradient."""

    def reduce(strategy: tf.distribute.Strategy, *values: tf.Tensor) -> list[tf.Tensor]:
        return strategy.extended.batch_reduce_to(tf.distribute.ReduceOp(operation), [(x, x) for x in values])

    return tf.distribute.get_replica_context().merge_call(reduce, args=tuple(values))


def _check_owners(*players: Player) -> None:
    """Raise ValueError if a trainable variable belongs to none of the players, or to two."""
    owned = sorted(variable.name for player in players for variable in player.variables)
    every = sorted(variable.name for variable in v1.trainable_variables())
    if owned != every:
        raise ValueError(f"trainable variables {every}, expected the two players' {owned}")
