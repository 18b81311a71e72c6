"""The session loop."""

import contextlib
import math
import signal
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config, Folders
from dcgan_tf1.data import draws, sources
from dcgan_tf1.errors import DivergedError
from dcgan_tf1.pictures import images
from dcgan_tf1.pictures.figures import plot_curves
from dcgan_tf1.quality.classifier import SIDE, Classifier
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.log import Events, Progress, Table
from dcgan_tf1.training.gan import build_gan
from dcgan_tf1.training.session import open_session, restore, save

_STEP_DIGITS = 7
_CHUNK = 500
_MEASURED = 10 * _CHUNK
"""Digits drawn, and images of the data set at most, between which --eval_every measures the distance."""


def train(
    config: Config,
    folders: Folders,
    dataset: sources.Dataset,
    start: checkpoint.Checkpoint | None,
    stop: "Stop | None" = None,
) -> int:
    """Train from `start` (None: from scratch) to `config.iterations` steps; the caller holds the run's lock.

    What `stop` may end sooner (None: signals alone do) ends after the step at hand, committed.

    Returns:
        0, or the number of the signal that stopped the run.

    Raises:
        DivergedError: a loss or a variable is NaN or infinite; the last checkpoint is from before it.
        OutputError: something cannot be written; the last checkpoint is intact.
    """
    gan = build_gan(config, dataset.images.shape[1])
    snapshot_every = min(config.sample_every, config.iterations)
    shape = (config.sample_grid**2, config.z_dim)
    snapshot_z = draws.latent(config.seed, draws.Stream.SNAPSHOT, 0, shape, config.z_distribution)
    machine = checkpoint.machine_record()
    source = {"name": dataset.name, "digest": dataset.digest}

    with open_session(gan, config) as sess, contextlib.ExitStack() as stack:
        print(f"device: {_device(sess, machine)}")
        if config.precision == "bfloat16" and not _has_bfloat16():
            print("note: this CPU has no bfloat16 instructions: --precision bfloat16 will be slower than float32 here")
        if start:
            restore(sess, gan, start.prefix)
            _compare(start, machine)
            print(f"resumed at step {start.step} of {config.iterations}", flush=True)
        else:
            sess.run(gan.init_op)
            print(f"starting fresh, to {config.iterations} steps", flush=True)
        step = committed = start.step if start else 0
        table, events = Table(folders.logs, step), Events(folders.logs, step)
        tables = [table]
        if config.eval_every or (folders.logs / "distance.csv").exists():
            tables.append(Table(folders.logs, step, "distance.csv"))
        if config.eval_every:
            real = images.fit(dataset.images[-_MEASURED:], SIDE)
            scorer = Scorer(stack.enter_context(Classifier.load()), real)
        progress = Progress(step, config.iterations)
        collapse = Collapse()
        clock = (time.monotonic(), step)

        def snapshot() -> None:
            picture = images.grid(sess.run(gan.samples, {gan.sample_z: snapshot_z}), config.sample_grid)
            images.save_png(folders.samples / f"{step:0{_STEP_DIGITS}d}.png", picture, images.SNAPSHOT_SCALE)
            events.image(step, "samples", images.png(picture), *picture.shape)

        def measure() -> None:
            shape = (_MEASURED // _CHUNK, _CHUNK, config.z_dim)
            z = draws.latent(config.seed, draws.Stream.EVALUATE, 0, shape, config.z_distribution)
            digits = np.concatenate([sess.run(gan.samples, {gan.sample_z: part}) for part in z])
            distance = {"frechet_distance": scorer.distance(images.fit(digits, SIDE))}
            tables[-1].write(step, distance)
            events.scalars(step, distance)
            progress.say("step {}: Frechet distance {frechet_distance:.3f}".format(step, **distance))

        def commit() -> None:
            if not sess.run(gan.finite):
                raise DivergedError(_diverged("a weight", step, committed))
            for each in tables:
                each.sync()
            events.sync()
            checkpoint.commit(
                folders.checkpoints,
                step,
                lambda prefix: save(sess, gan, prefix),
                config,
                source,
                machine,
            )
            progress.say(f"committed {step}")

        if not start:
            reals = dataset.images[: config.sample_grid**2]
            picture = images.grid(images.fit(reals, config.image_size), config.sample_grid)
            images.save_png(folders.samples / "real.png", picture, images.SNAPSHOT_SCALE)
            snapshot()
            commit()

        feeds = [gan.images, gan.z]
        train_step = sess.make_callable(gan.train_op, feeds)
        train_and_measure = sess.make_callable((gan.train_op, gan.metrics), feeds)
        with stop or Stop() as stop:
            while step < config.iterations and not stop.due:
                chosen = draws.batch_indices(len(dataset.images), config.batch_size, config.seed, step)
                shape = (config.batch_size, config.z_dim)
                z = draws.latent(config.seed, draws.Stream.TRAIN, step, shape, config.z_distribution)
                batch = dataset.images[chosen]
                step += 1
                if step % config.log_every:
                    train_step(batch, z)
                else:
                    _, metrics = train_and_measure(batch, z)
                    if not np.isfinite(list(metrics.values())).all():
                        raise DivergedError(_diverged("a loss", step, committed))
                    table.write(step, metrics)
                    events.scalars(step, metrics)
                    progress.update(step, metrics)
                    for warning in collapse.check(metrics):
                        progress.say(warning)
                if step % snapshot_every == 0:
                    snapshot()
                    then, last = clock
                    clock = (time.monotonic(), step)
                    events.scalars(step, {"steps_per_second": (step - last) / (clock[0] - then)})
                if config.eval_every and step % config.eval_every == 0:
                    measure()
                if step % config.checkpoint_every == 0:
                    commit()
                    committed = step
                stop.tick()
            if step != committed:
                commit()
        progress.close()
        for each in tables:
            each.close()
        events.close()
    if not stop.due and step >= config.log_every:  # before that there is nothing to draw
        print(f"curves: {plot_curves(folders.logs)}")
    return stop.signal


class Stop:
    """When to stop: within it, the first SIGINT or SIGTERM is noted in `signal`; the second acts as ever, at once.

    Or after so many `seconds` of steps, which `elapsed` counts from the end of the first one: that one also prepares
    the graph.
    """

    def __init__(self, seconds: float = math.inf):
        self.signal = 0
        self.elapsed = 0.0
        self._seconds = seconds
        self._began: float | None = None

    @property
    def due(self) -> bool:
        """Whether no other step is to be taken."""
        return bool(self.signal) or self.elapsed >= self._seconds

    def tick(self) -> None:
        """A step has been taken."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self.elapsed = now - self._began

    def __enter__(self) -> "Stop":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame: object) -> None:
        self.signal = number
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Collapse:
    """Says, once each, when D(x) and D(G(z)) tell that one player has left the other behind."""

    def __init__(self):
        self._d_x = self._d_g_z = 0.5
        self._said = set()

    def check(self, metrics: dict[str, float]) -> list[str]:
        """Warnings that the step of `metrics` gives cause for, judged on averages over about 50 of them."""
        self._d_x += 0.02 * (metrics["d_x"] - self._d_x)
        self._d_g_z += 0.02 * (metrics["d_g_z"] - self._d_g_z)
        found = []
        if self._d_x - self._d_g_z > 0.96:
            found.append("the discriminator tells every fake (the generator learns little); try a lower --lr_d")
        if self._d_g_z > 0.9 and self._d_x > 0.9 or self._d_x < 0.1 and self._d_g_z < 0.1:
            found.append("the discriminator no longer tells real from fake; try a higher --lr_d or a lower --lr_g")
        new = [line for line in found if line not in self._said]
        self._said.update(new)
        return [f"warning: D(x) is {self._d_x:.2f} and D(G(z)) {self._d_g_z:.2f}: {line}" for line in new]


def _compare(start: checkpoint.Checkpoint, machine: dict) -> None:
    """Say so if `start` was written elsewhere."""
    changed = [f"{k} {start.machine.get(k)} -> {machine[k]}" for k in machine if start.machine.get(k) != machine[k]]
    if changed:
        print(f"note: not the machine that wrote the checkpoint, so not bit for bit the same run: {', '.join(changed)}")


def _device(sess: tf.compat.v1.Session, machine: dict) -> str:
    gpus = [device.name for device in sess.list_devices() if device.device_type == "GPU"]
    return f"GPU ({len(gpus)} found)" if gpus else f"CPU ({machine['cpu']}, {machine['cores']} cores)"


def _has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16 (AVX-512 BF16 or AMX), as far as the system tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True  # not Linux: nothing is known, so nothing is said
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _diverged(what: str, step: int, committed: int) -> str:
    return f"diverged: {what} is NaN or infinite at step {step}; step {committed} is kept: try lower --lr_g and --lr_d"
