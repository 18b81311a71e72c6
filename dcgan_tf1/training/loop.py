"""The training loop: it takes steps, and asks the recorder for what is due."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dcgan_tf1.config import Config
from dcgan_tf1.data import draws
from dcgan_tf1.data.draws import Stream
from dcgan_tf1.data.sources import Classes, Dataset
from dcgan_tf1.errors import DivergedError, one_line
from dcgan_tf1.pictures.figures import plot_curves
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.folder import Run
from dcgan_tf1.runs.log import read_table
from dcgan_tf1.training.graph import build_gan
from dcgan_tf1.training.recorder import Recorder
from dcgan_tf1.training.session import TrainingSession, fastest_precision
from dcgan_tf1.training.stopping import Signals, Stopwatch
from dcgan_tf1.training.workers import Workers

_CALIBRATION_DIGITS = 4000  # whose statistics make batch norm's moving averages for averaged weights


def train(
    run: Run,
    dataset: Dataset,
    stopwatch: Stopwatch | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    workers: Workers | None = None,
) -> int:
    """Train `run`, which the caller holds, to `iterations` steps in all.

    A signal, whose number is returned then, or the stopwatch may end it sooner, after the step at hand. Otherwise 0 is
    returned. The last step is committed in any case.

    Args:
        stopwatch: ends the training when its time is over. Without it, only signals do.
        initial: the weights that a new run starts from, by the name of the variable; None: random ones.
        workers: those that train the run together; None: this process alone.

    Raises:
        ClusterError: a worker was lost, or the workers are no longer the same.
        DataError: `Config.eval_every` is set, and there are too few images to measure by.
        DivergedError: a loss or a variable is NaN or infinite. The last checkpoint is from before that.
        OutputError: something cannot be written. The last checkpoint is intact.
    """
    workers, stopwatch, run = workers or Workers(), stopwatch or Stopwatch(), with_precision(run)
    config, classes = run.config, dataset.classes() if run.config.conditional else None
    step = committed = run.start.step if run.start else 0
    number, ended = 0, False
    machine = checkpoint.machine_record() | ({"workers": workers.count} if workers.count > 1 else {})
    workers.began = True
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(open_training(run, dataset, workers))
        _begin(session, run, workers, machine, initial)

        recorder = Recorder(run, dataset, session, machine) if workers.chief else None

        def record(work: Callable[..., object], *arguments: int) -> None:
            """Let the recorder work, where it is, while the other workers wait."""
            workers.together(lambda: work(recorder, *arguments) if recorder else None)

        record(stack.enter_context)
        if not run.start:
            record(Recorder.begin)

        signals = stack.enter_context(Signals())
        while step < config.iterations and not number and not stopwatch.due:
            logged = (step + 1) % config.log_every == 0
            batch = map(workers.own_share, next_batch(config, dataset, classes, step))
            number, metrics = session.step(list(batch), signals.number, measured=logged)
            step += 1
            if metrics is not None:
                _check(bool(np.isfinite(list(metrics.values())).all()), "a loss", step, committed)
                if recorder:
                    recorder.log(step, metrics)
            ended = step == config.iterations
            if step % config.sample_every == 0 or ended:
                record(Recorder.grid, step)
            if config.eval_every and step % config.eval_every == 0:
                record(Recorder.distance, step)
            stopwatch.tick()
            if step % config.checkpoint_every == 0 or ended or number or stopwatch.due:
                session.compare()
                _check(session.is_finite(), "a weight", step, committed)
                record(Recorder.commit, step)
                committed = step
        if recorder and ended and not number and read_table(run.folders.logs, "metrics.csv"):
            print(f"curves: {plot_curves(run.folders.logs)}")
    return number


def open_training(run: Run, dataset: Dataset, workers: Workers | None = None) -> TrainingSession:
    """A session on the graph that trains `run` on `dataset`. Its variables are not initialized.

    Raises UsageError: the batch cannot be shared evenly between the devices.
    """
    workers, config = workers or Workers(), run.config
    workers.check_batch(config)
    classes = dataset.classes() if config.conditional else None
    count = len(classes.names) if classes else 0
    gan = build_gan(config, dataset.images.shape[1], count, workers.count, workers.open_strategy)
    calibration = []
    if config.ema_decay:
        calibration.append(draws.latents(config, Stream.CALIBRATE, 0, _CALIBRATION_DIGITS))
        if classes:
            calibration.append(np.resize(classes.indices, _CALIBRATION_DIGITS))
    return TrainingSession(gan, config, workers, calibration)


def next_batch(config: Config, dataset: Dataset, classes: Classes | None, step: int) -> list[np.ndarray]:
    """The images, the latent vectors and, where there are classes, the labels of the step after `step`."""
    chosen = draws.batch_indices(len(dataset.images), config.batch_size, config.seed, step)
    batch = [dataset.images[chosen], draws.latents(config, Stream.TRAIN, step, config.batch_size)]
    return batch if classes is None else [*batch, classes.indices[chosen]]


def with_precision(run: Run) -> Run:
    """The same run; `--precision auto` becomes the fastest precision here, which the first commit then records."""
    if run.config.precision != "auto":
        return run
    return run._replace(config=run.config.replace(precision=fastest_precision()))


def _begin(
    session: TrainingSession,
    run: Run,
    workers: Workers,
    machine: dict[str, Any],
    initial: Mapping[str, np.ndarray] | None,
) -> None:
    """Restore or initialize the variables, and print the device and the step that training starts from."""
    precision = run.config.precision
    print(f"device: {session.device()}, {precision}")
    if precision == "bfloat16" and fastest_precision() != precision:
        print("note: bfloat16 is slower than float32 here; --precision float32 goes on in float32")
    workers.together(session.initialize)  # or who waits for one that is lost would wait for long
    if not workers.chief:
        print(f"from step {run.start.step if run.start else 0}, which the chief gives", flush=True)
    elif run.start:
        session.restore(run.start.prefix)
        _note_other_machine(run.start.machine, machine)
        print(f"resumed at step {run.start.step} of {run.config.iterations}", flush=True)
    else:
        if initial is not None:
            session.start_from(initial)
        how = one_line(f"from the weights of {run.config.init_from}") if initial is not None else "fresh"
        print(f"starting {how}, to {run.config.iterations} steps", flush=True)
    session.synchronise()


def _note_other_machine(recorded: dict[str, Any], present: dict[str, Any]) -> None:
    """Print a note if the checkpoint was written by another machine, or by other versions."""
    before, now = ({"workers": 1, **each} for each in (recorded, present))
    changed = [f"{key} {before.get(key)} -> {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        print(f"note: not as the checkpoint was written, so not bit for bit the same run: {', '.join(changed)}")


def _check(finite: bool, what: str, step: int, committed: int) -> None:
    """Raise DivergedError unless all of `what` is finite."""
    if not finite:
        raise DivergedError(
            f"diverged: {what} is NaN or infinite at step {step}; step {committed} is kept: try lower --lr_g and --lr_d"
        )
