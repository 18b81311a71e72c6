"""Recipes side by side: each trained for the same time on the same data, and measured on the way.

They train in turns, a slice of `train` each, so that all share what a machine's speed does over the hours. Only steps
are on the clock, but for the first of each slice (see `train.Stop`): not the building of graphs, not commits, not the
measuring. What counts is what a run's record says, and it is written when a slice has been committed: what was killed
in between is trained again.
"""

import contextlib
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from dcgan_tf1.config import Config, Folders
from dcgan_tf1.data import draws, sources
from dcgan_tf1.errors import CheckpointError, DivergedError
from dcgan_tf1.files import make_folder, write_whole
from dcgan_tf1.pictures import images
from dcgan_tf1.pictures.figures import smooth
from dcgan_tf1.quality.classifier import SIDE, Classifier
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.folder import open_run, with_dataset
from dcgan_tf1.sampling import weights
from dcgan_tf1.sampling.trained_gan import TrainedGan
from dcgan_tf1.training.gan import build_gan
from dcgan_tf1.training.stopping import Stopwatch
from dcgan_tf1.training.trainer import train

_FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
"""Of the time, at which all are measured: evenly on a logarithmic axis, but no slice longer than a quarter."""
_COLUMNS = 10
"""Digits of a sample strip, of the same z at all times."""
_COLOURS = ("#4477aa", "#ee7733", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#999933", "#555555")


def compare(
    configs: dict[str, Config],
    out: Path,
    training: sources.Dataset,
    test: sources.Dataset,
    minutes: float,
    count: int,
    seed: int,
) -> int:
    """Train each of `configs` for `minutes` in OUT/NAME, and write compare.json, compare.md and compare.png to `out`.

    What a comparison in `out` has done before is not done again. The caller holds the lock of `out`.

    Args:
        configs: by the models' names, 8 at most.
        training, test: MNIST's splits.
        count: digits to draw for each measurement.
        seed: of these digits.

    Returns:
        0, or the number of the signal that stopped it: after the step at hand, which is recorded.

    Raises:
        CheckpointError: a folder holds another comparison's run, or something else's.
        DivergedError: a loss or a weight of a model became NaN or infinite.
        OutputError: something cannot be written.
    """
    goal = 60 * minutes
    runs = [_Run(name, config, out / name, count) for name, config in configs.items()]
    spent = sum(min(run.seconds, goal) for run in runs)
    form = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s of training, {remaining} left"
    hidden = not sys.stderr.isatty()
    with (
        Classifier.load() as classifier,
        tqdm(total=goal * len(runs), initial=spent, bar_format=form, dynamic_ncols=True, disable=hidden) as bar,
    ):
        scorer = Scorer(classifier, test.images)
        floor = scorer.measure(training.images[draws.batch_indices(len(training.images), count, seed, 0)])
        for fraction in _FRACTIONS:
            for run in runs:
                bar.set_description(run.name)
                if run.points and run.points[-1]["seconds"] >= fraction * goal:
                    continue
                if run.seconds < fraction * goal and (number := run.train(fraction * goal, training, bar)):
                    return number
                tqdm.write(run.measure(scorer, count, seed), file=sys.stdout)
                sys.stdout.flush()
    report = {
        "minutes": minutes,
        "num_digits": count,
        "seed": seed,
        "classifier": "a",
        "dataset": {"name": training.name, "digest": training.digest},
        "machine": checkpoint.machine_record(),
        "floor": floor,
        "models": {run.name: run.result(goal, floor["frechet_distance"]) for run in runs},
    }
    text = json.dumps(report, indent=1).encode() + b"\n"
    table = _table(report)
    write_whole(out / "compare.json", lambda file: file.write(text))
    write_whole(out / "compare.md", lambda file: file.write(table.encode()))
    _draw(out / "compare.png", runs, report)
    print(f"{table}\n{out / 'compare.json'}, {out / 'compare.md'}, {out / 'compare.png'}")
    return 0


class _Run:
    """One model's run and its record: how far it is, and at which points it was measured.

    Raises:
        CheckpointError: `folder` holds something else.
        OutputError: it cannot be written.
    """

    def __init__(self, name: str, config: Config, folder: Path, count: int):
        self.name = name
        never = 10**9  # nothing but the ends of slices is committed
        self._config = config.replace(iterations=never, sample_every=never, checkpoint_every=never)
        self._folders = Folders.of(folder)
        for path in self._folders:
            make_folder(path)
            checkpoint.clean(path)
        self._identity = {**self._config.replace(data_dir="").to_json(), "num_digits": count}
        self._path = self._folders.logs / "compare.json"
        self._step = 0
        self.seconds = 0.0
        """Of training so far."""
        self.points: list[dict[str, Any]] = []
        """`step`, `seconds` and the metrics of each time at which it was measured."""
        if self._path.exists():
            self._read()
        elif checkpoint.newest(self._folders.checkpoints, warn=lambda line: None):
            raise CheckpointError(f"{folder}: found a run of no comparison, expected none; use another --out_dir")
        else:
            self._write()  # before there is a checkpoint

    def _read(self) -> None:
        try:
            record = json.loads(self._path.read_text())
            found, wanted = record["identity"], json.loads(json.dumps(self._identity))
            self._step, self.seconds, self.points = (record[key] for key in ("step", "seconds", "points"))
            other = next((key for key in wanted if found.get(key) != wanted[key]), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self._path}: damaged ({error!s:.100})") from error
        if other:
            raise CheckpointError(
                f"--{other}: found {wanted[other]}, expected {found.get(other)}, as recorded in {self._path}; "
                "use another --out_dir"
            )

    def _write(self) -> None:
        record = {"identity": self._identity, "step": self._step, "seconds": self.seconds, "points": self.points}
        text = json.dumps(record, indent=1).encode() + b"\n"
        write_whole(self._path, lambda file: file.write(text))

    def train(self, goal: float, dataset: sources.Dataset, bar: tqdm) -> int:
        """Train until `goal` seconds in all; returns as `trainer.train` does, whose words go to train.log."""
        stopwatch = _StopwatchWithBar(goal - self.seconds, bar)
        path = self._folders.logs / "train.log"
        try:
            with (
                path.open("a", encoding="utf-8", errors="backslashreplace") as log,
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(log),
                open_run(self._folders, self._config, {"data_dir": self._config.data_dir}, step=self._step) as run,
            ):
                number = train(with_dataset(run, dataset), dataset, stopwatch)
        except DivergedError as error:
            raise DivergedError(f"{self.name} {error}") from error
        self._step = checkpoint.newest(self._folders.checkpoints, warn=bar.write).step
        self.seconds += stopwatch.elapsed
        self._write()
        return number

    def measure(self, scorer: Scorer, count: int, seed: int) -> str:
        """Add the point at which it is, and the strip of its first digits; returns a line that says so."""
        found = checkpoint.load(self._folders.checkpoints, self._step)
        with TrainedGan(weights.read_weights(found)) as gan:
            digits = images.fit(gan.sample(count, seed=seed), SIDE)
        images.save_png(self._strip(self._step), images.grid(digits[:_COLUMNS], _COLUMNS))
        found = scorer.measure(digits)
        self.points.append({"step": self._step, "seconds": self.seconds, **found})
        self._write()
        distance = found["frechet_distance"]
        return f"{self.name}: {self._step} steps in {_time(self.seconds)}, Frechet distance {distance:.2f}"

    def result(self, goal: float, floor: float) -> dict[str, Any]:
        """What compare.json says of it at the first point from `goal` seconds on, and of all points until there."""
        end = next(i for i, point in enumerate(self.points) if point["seconds"] >= goal)
        last = self.points[end]
        gan = build_gan(self._config)
        players = {"generator": gan.g_variables, "discriminator": gan.d_variables}
        return {
            "parameters": {name: sum(int(np.prod(v.shape)) for v in players[name]) for name in players},
            "batch_size": self._config.batch_size,
            "steps_per_second": last["step"] / last["seconds"],
            **last,
            "frechet_over_floor": last["frechet_distance"] / floor,
            "points": self.points[: end + 1],
        }

    def strips(self, points: list[dict[str, Any]]) -> np.ndarray:
        """The strips of `points`, one below the other: uint8 [height, width]."""
        rows = []
        for point in points:
            with Image.open(self._strip(point["step"])) as picture:
                rows.append(np.asarray(picture))
        return np.concatenate(rows)

    def losses(self, points: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Minutes, d_loss and g_loss of each row of metrics.csv up to the last of `points`."""
        with (self._folders.logs / "metrics.csv").open(newline="") as file:
            rows = [[float(row[key]) for key in ("step", "d_loss", "g_loss")] for row in csv.DictReader(file)]
        steps, d_loss, g_loss = np.array(rows).reshape(-1, 3).T
        kept = steps <= points[-1]["step"]
        known = [[0, *(point[key] for point in points)] for key in ("step", "seconds")]
        return {"minutes": np.interp(steps, *known)[kept] / 60, "d_loss": d_loss[kept], "g_loss": g_loss[kept]}

    def _strip(self, step: int) -> Path:
        return self._folders.samples / f"{step:07d}.png"


class _StopwatchWithBar(Stopwatch):
    """The clock of a slice, which the bar of the whole comparison shows."""

    def __init__(self, seconds: float, bar: tqdm):
        super().__init__(seconds)
        self._bar = bar

    def tick(self) -> None:
        before = self.elapsed
        super().tick()
        self._bar.update(self.elapsed - before)


def _time(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 59.5 else f"{seconds / 60:.3g} min"


def _table(report: dict[str, Any]) -> str:
    """In Markdown, with a line below on what was compared how."""
    lines = [
        "| model | parameters | steps | steps/s | Frechet distance | over floor | coverage | missing classes |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, model in report["models"].items():
        lines.append(
            f"| {name} | {sum(model['parameters'].values()):,} | {model['step']:,} | {model['steps_per_second']:.3g} "
            f"| {model['frechet_distance']:.3f} | {model['frechet_over_floor']:.1f} "
            f"| {model['coverage']:.3f} | {model['missing_classes']} |"
        )
    machine = report["machine"]
    lines.append(
        f"\n{report['minutes']:g} minutes of training each, in turns, on {machine['cores']} cores of {machine['cpu']}; "
        f"{report['num_digits']:,} digits each against MNIST's test digits. "
        f"The floor, as many training digits: {report['floor']['frechet_distance']:.3f}."
    )
    return "\n".join(lines) + "\n"


def _draw(path: Path, runs: list[_Run], report: dict[str, Any]) -> None:
    """The figure: samples of each model over time; below, distance and both losses against minutes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    down = -(-len(runs) // 5)
    across = max(-(-len(runs) // down), 3)
    figure = plt.figure(figsize=(3.4 * across, 2.55 * down + 3), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    grid = figure.add_gridspec(down + 1, 3 * across, height_ratios=[*[2.5] * down, 3])
    quality, *curves = (figure.add_subplot(grid[down, across * i : across * (i + 1)]) for i in range(3))
    for axes in curves:
        axes.sharex(quality)
    dark, light = "#333333", "#777777"
    for i, (run, colour) in enumerate(zip(runs, _COLOURS, strict=False)):
        model = report["models"][run.name]
        points = model["points"]
        strips = run.strips(points)
        row, column = divmod(i, across)
        axes = figure.add_subplot(grid[row, 3 * column : 3 * (column + 1)], anchor="NW")
        axes.imshow(strips, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        height = len(strips) / len(points)
        axes.set_yticks([(i + 0.5) * height for i in range(len(points))], [_time(p["seconds"]) for p in points])
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=8, labelcolor=light)
        axes.spines[:].set_visible(False)
        count = f"{sum(model['parameters'].values()) / 1e6:.2f} M weights"
        axes.set_title(run.name, color=colour, fontweight="bold", fontsize=12, loc="left")
        axes.set_title(f"{count}, {model['steps_per_second']:.3g} steps/s", color=light, fontsize=7, loc="right")

        minutes = [point["seconds"] / 60 for point in points]
        distances = [point["frechet_distance"] for point in points]
        quality.plot(minutes, distances, "o-", color=colour, markersize=4, label=run.name)
        losses = run.losses(points)
        shown = losses["minutes"] >= minutes[0] / 2
        for axes, key in zip(curves, ("d_loss", "g_loss"), strict=True):
            if shown.any():
                axes.plot(losses["minutes"][shown], smooth(losses[key][shown]), color=colour, linewidth=1.2)

    floor = report["floor"]["frechet_distance"]
    quality.axhline(floor, color=light, linestyle="--", linewidth=1)
    text = {"textcoords": "offset points", "color": light, "fontsize": 8}
    quality.annotate("real digits", (0, floor), (4, 3), ("axes fraction", "data"), **text)
    quality.set_yscale("log")
    quality.legend(frameon=False, fontsize=8, labelcolor=dark)
    titles = ("Frechet distance to MNIST's test digits", "loss of the discriminator", "loss of the generator")
    for axes, title in zip((quality, *curves), titles, strict=True):
        axes.set_title(title, fontsize=10, color=dark, loc="left")
        axes.set_xscale("log")
        axes.set_xlabel("minutes of training", fontsize=9, color=dark)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(ticker.NullFormatter())
        axes.tick_params(labelsize=8, color=light, labelcolor=dark)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(light)
        axes.grid(alpha=0.25)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)
