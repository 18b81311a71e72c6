"""The training loop."""

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import tensorflow as tf

from dcgan_tf1.data import draws
from dcgan_tf1.data.draws import Stream
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.errors import DivergedError, one_line
from dcgan_tf1.pictures import images
from dcgan_tf1.pictures.figures import plot_curves
from dcgan_tf1.quality.classifier import SIDE
from dcgan_tf1.quality.judging import MEASURED, open_measure
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.folder import Run
from dcgan_tf1.runs.log import Events, Progress, Table
from dcgan_tf1.training.cluster import Cluster
from dcgan_tf1.training.gan import Gan, build_gan
from dcgan_tf1.training.session import fastest_precision, open_session, restore, save, start_from
from dcgan_tf1.training.stopping import Signals, Stopwatch

v1 = tf.compat.v1

_CALIBRATION_DIGITS = 4000
"""How many digits' statistics make batch norm's moving averages for averaged weights."""
_MOST_COLUMNS = 32
"""How many classes the snapshots of a conditional GAN show at most."""


def train(
    run: Run,
    dataset: Dataset,
    stopwatch: Stopwatch | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Train `run`, which the caller holds, to `iterations` steps in all.

    A signal or the stopwatch may end it sooner, after the step at hand. The last step is committed in any case.

    Args:
        stopwatch: ends the training when its time is over. Without it, only signals do.
        initial: the weights that a new run starts from, by the name of the variable; None: random ones.
        cluster: the workers that train the run together; None: this process alone.

    Returns:
        0, or the number of the signal that ended the training.

    Raises:
        DataError: `Config.eval_every` is set, and there are too few images to measure by.
        DivergedError: a loss or a variable is NaN or infinite. The last checkpoint is from before that.
        OutputError: something cannot be written. The last checkpoint is intact.
    """
    stopwatch = stopwatch or Stopwatch()
    run = with_precision(run)
    classes = len(dataset.classes().names) if run.config.conditional else 0
    gan = build_gan(run.config, dataset.images.shape[1], classes, cluster)
    chief = not cluster or cluster.chief
    with open_session(gan, run.config, cluster) as sess, ExitStack() as stack:
        trainer = (Trainer if chief else Follower)(run, dataset, gan, sess, stack, initial, cluster)
        with Signals() as own:
            signals = cluster.heed(own) if cluster else own
            while trainer.global_step < run.config.iterations and not signals.number and not stopwatch.due:
                trainer.step()
                stopwatch.tick()
            trainer.commit()
    stopped = signals.number or stopwatch.due
    if chief and not stopped and trainer.global_step >= run.config.log_every:  # before that there is nothing to draw
        print(f"curves: {plot_curves(run.folders.logs)}")
    return signals.number


def with_precision(run: Run) -> Run:
    """The same run; `--precision auto` becomes the fastest precision here, which the first commit then records."""
    if run.config.precision != "auto":
        return run
    return run._replace(config=run.config.replace(precision=fastest_precision()))


class Trainer:
    """One training session: it takes steps, draws snapshots, measures distances and commits checkpoints."""

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        gan: Gan,
        sess: tf.compat.v1.Session,
        stack: ExitStack,
        initial: Mapping[str, np.ndarray] | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        """Restore the run's checkpoint, or begin the run with its first snapshot and its first commit.

        Args:
            stack: closes the logs and the classifier when training ends, however it ends.
            initial: see `train`.
            cluster: the workers that train the run together; None: this process alone.

        Raises:
            CheckpointError, DataError, DivergedError, OutputError: as for `train`.
        """
        config = run.config
        self._run, self._config, self._dataset, self._gan, self._sess = run, config, dataset, gan, sess
        self._cluster = cluster
        self._classes = dataset.classes() if config.conditional else None
        self._machine = {**checkpoint.machine_record(), **({"workers": cluster.count} if cluster else {})}
        self.global_step = run.start.step if run.start else 0
        """The number of steps that the variables have taken."""
        self._committed = self._calibrated = run.start.step if run.start else None
        self._start(initial)
        if cluster:
            with gan.graph.as_default():
                cluster.copy_variables(sess, v1.global_variables())

        feeds = [gan.images, gan.z, *([gan.labels] if self._classes else [])]
        make_callable = cluster.make_callable if cluster else v1.Session.make_callable
        self._train = make_callable(sess, gan.train_op, feeds)
        self._train_and_measure = make_callable(sess, (gan.train_op, gan.metrics), feeds)
        self._open_logs(stack)
        if not run.start:
            self._save_reals()
            self.snapshot()
            self.commit()

    def _open_logs(self, stack: ExitStack) -> None:
        """Open what steps are logged to and measured with; `stack` closes it."""
        config, logs = self._config, self._run.folders.logs
        self._metrics = stack.enter_context(closing(Table(logs, self.global_step)))
        self._events = stack.enter_context(closing(Events(logs, self.global_step)))
        self._progress = stack.enter_context(closing(Progress(self.global_step, config.iterations)))
        self._collapse = CollapseDetector()
        self._distances: Table | None = None
        if config.eval_every or (logs / "distance.csv").exists():
            self._distances = stack.enter_context(closing(Table(logs, self.global_step, "distance.csv")))
        if config.eval_every:
            self._measure = stack.enter_context(open_measure(self._dataset))
        self._snapshot_z, self._snapshot_labels = self._snapshot_inputs()
        self._last_snapshot = (time.monotonic(), self.global_step)

    def _start(self, initial: Mapping[str, np.ndarray] | None) -> None:
        """Restore or initialize the variables, and print the device and the step that training starts from."""
        precision = self._config.precision
        print(f"device: {_device(self._sess, self._machine)}, {precision}")
        if precision == "bfloat16" and fastest_precision() != precision:
            print("note: bfloat16 is slower than float32 here; --precision float32 goes on in float32")
        if self._run.start:
            restore(self._sess, self._gan, self._run.start.prefix)
            _note_other_machine(self._run.start.machine, self._machine)
            print(f"resumed at step {self.global_step} of {self._config.iterations}", flush=True)
        else:
            self._sess.run(self._gan.init_op)
            if initial:
                start_from(self._sess, self._gan, initial, self._config.weight_gain)
            how = one_line(f"from the weights of {self._config.init_from}") if initial else "fresh"
            print(f"starting {how}, to {self._config.iterations} steps", flush=True)

    def step(self) -> None:
        """Train one step, and do what is due after it: a row of metrics, a snapshot, a measurement, a commit."""
        config = self._config
        chosen = draws.batch_indices(len(self._dataset.images), config.batch_size, config.seed, self.global_step)
        batch = [self._dataset.images[chosen], self._latent(Stream.TRAIN, self.global_step, config.batch_size)]
        if self._classes:
            batch.append(self._classes.indices[chosen])
        if self._cluster:
            batch = [self._cluster.own_share(whole) for whole in batch]
        self.global_step += 1
        if self.global_step % config.log_every:
            self._train(*batch)
        else:
            _, metrics = self._train_and_measure(*batch)
            self._log(metrics)
        if self.global_step % config.sample_every == 0 or self.global_step == config.iterations:
            self.snapshot()
            self._log_speed()
        if config.eval_every and self.global_step % config.eval_every == 0:
            self.measure()
        if self.global_step % config.checkpoint_every == 0:
            self.commit()

    def snapshot(self) -> None:
        """Draw the grid of the fixed latent vectors to sample_image/, and to TensorBoard."""
        picture = images.grid(self.draw(self._snapshot_z, self._snapshot_labels), self._snapshot_columns)
        images.save_png(self._run.folders.samples / f"{self.global_step:07d}.png", picture, images.SNAPSHOT_SCALE)
        self._events.image(self.global_step, "samples", images.png(picture), *picture.shape)

    def measure(self) -> None:
        """Add the Frechet distance between drawn digits and the data set to distance.csv and to TensorBoard."""
        assert self._distances
        chunks = MEASURED // draws.CHUNK
        z = self._latent(Stream.EVALUATE, 0, MEASURED).reshape(chunks, draws.CHUNK, -1)
        labels: list[np.ndarray | None] = [None] * chunks
        if self._classes:  # those of the images that the digits are compared with
            labels = list(np.resize(self._classes.indices[self._measure.held_out], (chunks, draws.CHUNK)))
        digits = np.concatenate([self.draw(*chunk) for chunk in zip(z, labels, strict=True)])
        distance = self._measure.scorer.distance(images.fit(digits, SIDE))
        self._distances.write(self.global_step, {"frechet_distance": distance})
        self._events.scalars(self.global_step, {"frechet_distance": distance})
        self._progress.say(f"step {self.global_step}: Frechet distance {distance:.3f}")

    def commit(self) -> None:
        """Make the present step the newest checkpoint, unless it is that already.

        Raises:
            DivergedError: a variable is NaN or infinite. Nothing is written.
        """
        if self.global_step == self._committed:
            return
        if self._cluster:
            self._cluster.compare_variables(self._sess, self._gan.replicated)
        self._calibrate()
        self._check_weights()
        for table in (self._metrics, self._distances):
            if table:
                table.sync()
        self._events.sync()
        checkpoint.commit(
            self._run.folders.checkpoints,
            self.global_step,
            lambda prefix: save(self._sess, self._gan, prefix),
            self._config,
            self._dataset.record(self._config.conditional),
            self._machine,
        )
        self._committed = self.global_step
        self._progress.say(f"committed {self.global_step}")

    def draw(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """The digits that the present weights, or their averages, make of latent vectors: uint8 [n, size, size].

        Args:
            z: float32 [n, z_dim].
            labels: the numbers of the classes to draw, int32 [n], for a conditional GAN.
        """
        self._calibrate()
        feeds = {self._gan.sample_z: z}
        return self._sess.run(
            self._gan.samples, feeds if labels is None else {**feeds, self._gan.sample_labels: labels}
        )

    def _calibrate(self) -> None:
        """Fit batch norm's moving averages to the averaged weights of the present step, where there are some."""
        if not self._config.ema_decay or self.global_step == self._calibrated:
            return
        feeds = {self._gan.sample_z: self._latent(Stream.CALIBRATE, 0, _CALIBRATION_DIGITS)}
        if self._classes:
            feeds[self._gan.sample_labels] = np.resize(self._classes.indices, _CALIBRATION_DIGITS)
        self._sess.run(self._gan.calibrate_op, feeds)
        self._calibrated = self.global_step

    def _latent(self, stream: Stream, counter: int, count: int) -> np.ndarray:
        """The latent vectors of one draw, float32 [count, z_dim]."""
        config = self._config
        return draws.latent(config.seed, stream, counter, (count, config.z_dim), config.z_distribution)

    def _snapshot_inputs(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The latent vectors of the snapshots and their classes: a column for each class, from one vector in a row."""
        rows = self._config.sample_grid
        if not self._classes:
            return self._latent(Stream.SNAPSHOT, 0, rows * rows), None
        columns = self._snapshot_columns
        labels = np.tile(np.arange(columns, dtype=np.int32), rows)
        return self._latent(Stream.SNAPSHOT, 0, rows).repeat(columns, 0), labels

    @property
    def _snapshot_columns(self) -> int:
        """How many digits are in a row of a snapshot."""
        return min(len(self._classes.names), _MOST_COLUMNS) if self._classes else self._config.sample_grid

    def _save_reals(self) -> None:
        """Write a grid of real images, for comparison with the snapshots."""
        rows, columns = self._config.sample_grid, self._snapshot_columns
        if self._classes:  # a class with fewer images than rows shows them again
            members = [np.flatnonzero(self._classes.indices == label)[:rows] for label in range(columns)]
            chosen = np.stack([np.resize(each, rows) for each in members], 1).ravel()
        else:
            chosen = np.arange(min(rows * columns, len(self._dataset.images)))
        reals = images.fit(self._dataset.images[chosen], self._config.image_size)
        images.save_png(self._run.folders.samples / "real.png", images.grid(reals, columns), images.SNAPSHOT_SCALE)

    def _log(self, metrics: dict[str, float]) -> None:
        """Write a row of metrics, and warn of a collapse.

        Raises:
            DivergedError: a loss is NaN or infinite.
        """
        self._check_losses(metrics)
        self._metrics.write(self.global_step, metrics)
        self._events.scalars(self.global_step, metrics)
        self._progress.update(self.global_step, metrics)
        for warning in self._collapse.check(metrics):
            self._progress.say(warning)

    def _log_speed(self) -> None:
        """Tell TensorBoard the number of steps per second since the last snapshot."""
        then, last = self._last_snapshot
        now = time.monotonic()
        self._last_snapshot = (now, self.global_step)
        self._events.scalars(self.global_step, {"steps_per_second": (self.global_step - last) / (now - then)})

    def _check_weights(self) -> None:
        if not self._sess.run(self._gan.finite):
            raise self._diverged("a weight")

    def _check_losses(self, metrics: dict[str, float]) -> None:
        if not np.isfinite(list(metrics.values())).all():
            raise self._diverged("a loss")

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"diverged: {what} is NaN or infinite at step {self.global_step}; step {self._committed} is kept: "
            "try lower --lr_g and --lr_d"
        )


class Follower(Trainer):
    """The training session of a worker that is not the chief: it takes the same steps, and writes nothing."""

    def _start(self, initial: Mapping[str, np.ndarray] | None) -> None:
        precision = self._config.precision
        print(f"device: {_device(self._sess, self._machine)}, {precision}")
        print(f"from step {self.global_step}, which the chief gives", flush=True)
        self._sess.run(self._gan.init_op)

    def _open_logs(self, stack: ExitStack) -> None:
        pass

    def _save_reals(self) -> None:
        pass

    def snapshot(self) -> None:
        """Leave it to the chief."""

    def measure(self) -> None:
        """Leave it to the chief."""

    def commit(self) -> None:
        """Compare the variables with the chief's, which commits them.

        Raises:
            ClusterError: a variable differs.
            DivergedError: a variable is NaN or infinite.
        """
        if self.global_step == self._committed:
            return
        assert self._cluster
        self._cluster.compare_variables(self._sess, self._gan.replicated)
        self._check_weights()
        self._committed = self.global_step

    def _log(self, metrics: dict[str, float]) -> None:
        self._check_losses(metrics)

    def _log_speed(self) -> None:
        pass


class CollapseDetector:
    """Warns when D(x) and D(G(z)) show that one player has left the other behind, once for each reason."""

    def __init__(self) -> None:
        self._d_x = self._d_g_z = 0.5
        self._warned: set[str] = set()

    def check(self, metrics: dict[str, float]) -> list[str]:
        """The new warnings after a row of metrics, judged by moving averages over about 50 rows."""
        self._d_x += 0.02 * (metrics["d_x"] - self._d_x)
        self._d_g_z += 0.02 * (metrics["d_g_z"] - self._d_g_z)
        reasons = []
        if self._d_x - self._d_g_z > 0.96:
            reasons.append("the discriminator tells every fake (the generator learns little); try a lower --lr_d")
        if (self._d_g_z > 0.9 and self._d_x > 0.9) or (self._d_x < 0.1 and self._d_g_z < 0.1):
            reasons.append("the discriminator no longer tells real from fake; try a higher --lr_d or a lower --lr_g")
        new = [reason for reason in reasons if reason not in self._warned]
        self._warned.update(new)
        return [f"warning: D(x) is {self._d_x:.2f} and D(G(z)) {self._d_g_z:.2f}: {reason}" for reason in new]


def _note_other_machine(recorded: dict[str, Any], present: dict[str, Any]) -> None:
    """Print a note if the checkpoint was written by another machine, or by other versions."""
    before, now = ({"workers": 1, **each} for each in (recorded, present))
    changed = [f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        print(f"note: not as the checkpoint was written, so not bit for bit the same run: {', '.join(changed)}")


def _device(sess: tf.compat.v1.Session, machine: dict[str, Any]) -> str:
    gpus = [device.name for device in sess.list_devices() if device.device_type == "GPU"]
    return f"GPU ({len(gpus)} found)" if gpus else f"CPU ({machine['cpu']}, {machine['cores']} cores)"
