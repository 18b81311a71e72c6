"""What a training leaves behind: grids, metrics, distances and commits. Only the chief has a recorder."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from dcgan_tf1.data import draws
from dcgan_tf1.data.draws import Stream
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.losses import CROSS_ENTROPIES
from dcgan_tf1.pictures import images
from dcgan_tf1.quality.classifier import SIDE
from dcgan_tf1.quality.judging import MEASURED, open_measure
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.folder import Run
from dcgan_tf1.runs.log import Events, Progress, Table
from dcgan_tf1.training.collapse import CollapseDetector
from dcgan_tf1.training.session import TrainingSession

_SHOWN = "d_loss {d_loss:.2f}, g_loss {g_loss:.2f}, D(x) {d_x:.2f}, D(G(z)) {d_g_z:.2f}"
_MOST_COLUMNS = 32  # how many classes the grids of a conditional GAN show at most


class Recorder:
    """Writes what a run leaves on disk. It is a context, in which its logs are open.

    Raises (from every method):
        OutputError: something cannot be written. The last checkpoint is intact.
    """

    def __init__(self, run: Run, dataset: Dataset, session: TrainingSession, machine: dict[str, Any]) -> None:
        """A recorder for a run that goes on from `run.start`; for `machine` see `checkpoint.machine_record`."""
        self._config, self._folders, self._dataset = run.config, run.folders, dataset
        self._session, self._machine = session, machine
        self._first = run.start.step if run.start else 0
        self._classes = dataset.classes() if run.config.conditional else None
        self._columns = min(len(self._classes.names), _MOST_COLUMNS) if self._classes else run.config.sample_grid
        self._collapse = CollapseDetector() if run.config.loss in CROSS_ENTROPIES else None
        self._distances: Table | None = None
        self._last_grid = (time.monotonic(), self._first)
        self._resources = ExitStack()

    def __enter__(self) -> "Recorder":
        """Open the logs, and what distances are measured with.

        Raises DataError: `Config.eval_every` is set, and there are too few images to measure by.
        """
        config, logs, first = self._config, self._folders.logs, self._first
        with ExitStack() as stack:
            self._metrics = stack.enter_context(closing(Table(logs, first)))
            self._events = stack.enter_context(closing(Events(logs, first)))
            self._progress = stack.enter_context(closing(Progress(first, config.iterations)))
            if config.eval_every or (logs / "distance.csv").exists():
                self._distances = stack.enter_context(closing(Table(logs, first, "distance.csv")))
            if config.eval_every:
                self._measure = stack.enter_context(open_measure(self._dataset))
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    def begin(self) -> None:
        """Leave what a fresh run begins with: a grid of real images, the first grid and the first commit."""
        self._save_reals()
        self.grid(0)
        self.commit(0)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write a row of metrics, and warn of a collapse."""
        self._metrics.write(step, metrics)
        self._events.scalars(step, metrics)
        self._progress.update(step, _SHOWN.format(**metrics))
        for warning in self._collapse.check(metrics) if self._collapse else ():
            self._progress.say(warning)

    def grid(self, step: int) -> None:
        """Add a grid of the fixed latent vectors to sample_image/ and to TensorBoard, and the speed since the last."""
        rows, columns = self._config.sample_grid, self._columns
        if self._classes:  # a column for each class, and one latent vector for each row
            z = draws.latents(self._config, Stream.SNAPSHOT, 0, rows).repeat(columns, 0)
            digits = self._session.sample(z, np.tile(np.arange(columns, dtype=np.int32), rows))
        else:
            digits = self._session.sample(draws.latents(self._config, Stream.SNAPSHOT, 0, rows * rows))
        picture = images.grid(digits, columns)
        images.save_png(self._folders.samples / f"{step:07d}.png", picture, images.SNAPSHOT_SCALE)
        self._events.image(step, "samples", images.png(picture), *picture.shape)
        (then, last), now = self._last_grid, time.monotonic()
        self._last_grid = (now, step)
        if step > last:
            self._events.scalars(step, {"steps_per_second": (step - last) / (now - then)})

    def distance(self, step: int) -> None:
        """Add the Frechet distance between generated digits and the data set to distance.csv and to TensorBoard."""
        z = draws.latents(self._config, Stream.EVALUATE, 0, MEASURED)
        labels: Sequence[np.ndarray | None] = [None] * (MEASURED // draws.CHUNK)
        if self._classes:  # those of the images that the digits are compared with
            wanted = np.resize(self._classes.indices[self._measure.held_out], MEASURED)
            labels = np.split(wanted, MEASURED // draws.CHUNK)
        chunks = zip(np.split(z, MEASURED // draws.CHUNK), labels, strict=True)
        digits = np.concatenate([self._session.sample(*chunk) for chunk in chunks])
        distance = self._measure.scorer.distance(images.fit(digits, SIDE))
        if self._distances:
            self._distances.write(step, {"frechet_distance": distance})
        self._events.scalars(step, {"frechet_distance": distance})
        self._progress.say(f"step {step}: Frechet distance {distance:.3f}")

    def commit(self, step: int) -> None:
        """Make `step` the newest checkpoint. The logs are made durable first."""
        for table in (self._metrics, self._distances):
            if table:
                table.sync()
        self._events.sync()
        record = self._dataset.record(self._config.conditional)
        checkpoint.commit(self._folders.checkpoints, step, self._session.save, self._config, record, self._machine)
        self._progress.say(f"committed {step}")

    def _save_reals(self) -> None:
        """Write a grid of real images, for comparison with the generated ones."""
        rows, columns = self._config.sample_grid, self._columns
        if self._classes:  # a class with fewer images than rows shows them again
            members = [np.flatnonzero(self._classes.indices == label)[:rows] for label in range(columns)]
            chosen = np.stack([np.resize(each, rows) for each in members], 1).ravel()
        else:
            chosen = np.arange(min(rows * columns, len(self._dataset.images)))
        reals = images.fit(self._dataset.images[chosen], self._config.image_size)
        images.save_png(self._folders.samples / "real.png", images.grid(reals, columns), images.SNAPSHOT_SCALE)
