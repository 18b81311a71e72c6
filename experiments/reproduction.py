"""Make the figures and tables of docs/reproduction.md from runs on disk.

    python experiments/reproduction.py --data_dir MNIST reference=DIR "as people type it"=DIR default=DIR

Each DIR is the `--out_dir` of a run that was trained with `--eval_every 5000 --checkpoint_every 5000
--max_to_keep 1000`. The digits of every checkpoint that was kept are compared with MNIST's test digits. That takes
about a quarter of a minute each, and is kept in the run's `logs/quality.json`. Hours are steps times the milliseconds
of a step in benchmarks/step.json. A run that is not finished is shown as far as it went.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dcgan_tf1.config import Folders
from dcgan_tf1.data import draws, sources
from dcgan_tf1.files import write_whole
from dcgan_tf1.pictures import images
from dcgan_tf1.pictures.figures import COLOURS, in_own_style, new_figure, save_figure, smooth, tidy, use_plain_numbers
from dcgan_tf1.quality.classifier import Classifier
from dcgan_tf1.quality.scorer import Scorer
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.log import read_table
from dcgan_tf1.runs.weights import read_weights
from dcgan_tf1.sampling.trained_gan import TrainedGan

ROOT = Path(__file__).parent.parent
STEPS = (1_000, 5_000, 20_000, 50_000, 100_000, 150_000)
"""The steps that the grids and the tables show."""
DIGITS = 10_000
QUALITIES = {"frechet_distance": "Frechet distance", "coverage": "coverage", "missing_classes": "missing classes"}
GRID = 6
"""How many digits along each side of a grid are shown."""


class TrainedRun(NamedTuple):
    """What a run left on disk."""

    name: str
    folders: Folders
    last: checkpoint.Checkpoint
    metrics: dict[str, np.ndarray]
    """The columns of metrics.csv."""
    quality: dict[int, dict[str, Any]]
    """The metrics of DIGITS generated digits, by step, as `Scorer.measure` gives them."""
    ms_per_step: float

    def hours(self, steps: Any) -> Any:
        """How long `steps` steps take, on the machine that benchmarks/step.json names."""
        return steps * self.ms_per_step / 3.6e6


def read_run(name: str, out_dir: str, scorer: Scorer) -> TrainedRun:
    """The run in `out_dir`; checkpoints that have not been measured yet are measured now.

    Raises:
        CheckpointError: there is no good checkpoint.
        DataError: a table is missing or damaged.
    """
    folders = Folders.of(out_dir)
    last = checkpoint.newest(folders.checkpoints, print)
    if last is None:
        raise SystemExit(f"{name}: found no checkpoint in {folders.checkpoints}")
    rows = read_table(folders.logs, "metrics.csv")
    ms = json.loads((ROOT / "benchmarks" / "step.json").read_text())["ms_per_step"]
    config = last.config
    return TrainedRun(
        name,
        folders,
        last,
        {column: np.array([row[column] for row in rows]) for column in rows[0]},
        measure(folders, scorer),
        ms[config.preset][f"dcgan-tf1 {config.precision}"],
    )


def measure(folders: Folders, scorer: Scorer) -> dict[int, dict[str, Any]]:
    """The quality of the digits at every step of which the run has kept a checkpoint, by step."""
    path = folders.logs / "quality.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for manifest in folders.checkpoints.glob("model-*.json"):
        digest = json.loads(manifest.read_text())["sha256"]
        if digest in known:
            continue
        found = checkpoint.load(folders.checkpoints, int(manifest.stem.partition("-")[2]))
        with TrainedGan(read_weights(found)) as gan:
            quality = scorer.measure(images.fit(gan.sample(DIGITS, seed=0), 28))
        known[digest] = {"step": found.step, **quality}
        print(f"{found.prefix}: distance {quality['frechet_distance']:.3f}, coverage {quality['coverage']:.3f}")
        write_whole(path, json.dumps(known, indent=1).encode())
    return {quality["step"]: quality for quality in sorted(known.values(), key=lambda quality: quality["step"])}


@in_own_style
def plot_grids(runs: list[TrainedRun], path: Path) -> None:
    """A row for each of STEPS, and in it a corner of each run's sample grid."""
    steps = [step for step in STEPS if any(step <= run.last.step for run in runs)]
    figure = new_figure((2.3 * len(runs), 2.35 * len(steps)))
    panels = figure.subplots(len(steps), len(runs), squeeze=False)
    for run, axes in zip(runs, panels[0], strict=True):
        axes.set_title(run.name, fontsize=10)
    for step, row in zip(steps, panels, strict=True):
        for run, axes in zip(runs, row, strict=True):
            snapshot = run.folders.samples / f"{step:07d}.png"
            axes.set_axis_off()
            if step <= run.last.step:
                side = images.SNAPSHOT_SCALE * (GRID * (run.last.config.image_size + 1) + 1)
                axes.imshow(np.asarray(Image.open(snapshot))[:side, :side], cmap="gray", vmin=0, vmax=255)
        row[0].text(-0.06, 0.5, f"{step:,}", rotation=90, va="center", ha="right", transform=row[0].transAxes)
    save_figure(figure, path)


@in_own_style
def plot_quality(runs: list[TrainedRun], real: dict[str, Any], path: Path) -> None:
    """Distance, coverage and missing classes against steps and against hours."""
    figure = new_figure((10, 8))
    panels = figure.subplots(3, 2, sharex="col", sharey="row")
    for (key, title), row in zip(QUALITIES.items(), panels, strict=True):
        for run, colour in zip(runs, COLOURS, strict=False):
            steps = np.array([step for step in run.quality if step])
            values = [run.quality[step][key] for step in steps]
            for axes, x in zip(row, (steps / 1000, run.hours(steps)), strict=True):
                axes.plot(x, values, ".-", color=colour, linewidth=1, markersize=4, label=run.name)
        for axes in row:
            axes.axhline(real[key], color="#777777", linestyle="--", linewidth=1, label="real digits")
            tidy(axes)
        row[0].set_ylabel(title)
    for axes in panels[0]:
        axes.set_yscale("log")
        use_plain_numbers(axes.yaxis)
    panels[0, 1].legend(frameon=False)
    panels[-1, 0].set(ylim=(-0.5, 10), yticks=range(0, 11, 2))
    panels[-1, 0].set_xlabel("thousands of steps")
    panels[-1, 1].set_xlabel("hours on two cores")
    figure.align_ylabels()
    save_figure(figure, path)


@in_own_style
def plot_curves(runs: list[TrainedRun], path: Path) -> None:
    """The smoothed losses and probabilities of each run."""
    figure = new_figure((10, 5.4))
    panels = figure.subplots(2, 2, sharex=True)
    titles = {"d_loss": "loss of D", "g_loss": "loss of G", "d_x": "D(x)", "d_g_z": "D(G(z))"}
    for (column, title), axes in zip(titles.items(), panels.flat, strict=True):
        for run, colour in zip(runs, COLOURS, strict=False):
            axes.plot(run.metrics["step"] / 1000, smooth(run.metrics[column]), color=colour, label=run.name)
        axes.set_ylabel(title)
        tidy(axes)
    for axes in panels[1]:
        axes.set(ylim=(0, 1), xlabel="thousands of steps")
    panels[0, 0].legend(frameon=False)
    figure.align_ylabels()
    save_figure(figure, path)


def runs_table(runs: list[TrainedRun]) -> list[str]:
    """A row for each run: what it was and how long it takes."""
    lines = ["| run | preset | rates of G, D | precision | seed | steps | ms a step | hours |"]
    lines.append("|---|---|---|---|--:|--:|--:|--:|")
    for run in runs:
        config, step = run.last.config, run.last.step
        lines.append(
            f"| {run.name} | {config.preset} | {config.lr_g:g}, {config.lr_d:g} | {config.precision} | {config.seed} "
            f"| {step:,} | {run.ms_per_step:.0f} | {run.hours(step):.1f} |"
        )
    return lines


def quality_table(runs: list[TrainedRun], real: dict[str, Any]) -> list[str]:
    """A row for each run and each of STEPS that was measured."""
    lines = ["| run | steps | hours | distance | over reference | coverage | missing | loss of D | D(x) | D(G(z)) |"]
    lines.append("|---|" + "--:|" * 9)
    lines.append(f"| *real digits* | | | {real['frechet_distance']:.3f} | 1 | {real['coverage']:.3f} | 0 | | | |")
    for run in runs:
        for step in sorted(set(STEPS) & set(run.quality)):
            quality = run.quality[step]
            distance = quality["frechet_distance"]
            recent = (run.metrics["step"] > step - 1000) & (run.metrics["step"] <= step)
            means = (run.metrics[column][recent].mean() for column in ("d_loss", "d_x", "d_g_z"))
            lines.append(
                f"| {run.name} | {step:,} | {run.hours(step):.2f} | {distance:.3g} "
                f"| {distance / real['frechet_distance']:.1f} | {quality['coverage']:.3f} "
                f"| {quality['missing_classes']} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |"
            )
    return lines


def fill(page: Path, name: str, lines: list[str]) -> None:
    """Replace what stands between the markers of `name` in the Markdown file `page`."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    text, count = re.subn(
        f"(?<={re.escape(start)}).*?(?={re.escape(end)})",
        lambda _: "\n" + "\n".join(lines) + "\n\n",
        page.read_text(),
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{page}: found {count} places between {start.strip()} and {end}, expected one")
    write_whole(page, text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of reproduction.md and images/")
    arguments = parser.parse_args()

    train, test = (sources.load("mnist", arguments.data_dir, split) for split in ("train", "test"))
    with Classifier.load() as classifier:
        scorer = Scorer(classifier, test.images)
        real = scorer.measure(train.images[draws.batch_indices(len(train.images), DIGITS, 0, 0)])
        runs = [read_run(name, out_dir, scorer) for name, _, out_dir in (run.partition("=") for run in arguments.runs)]
    pictures = arguments.docs / "images"
    plot_grids(runs, pictures / "reproduction-grids.png")
    plot_quality(runs, real, pictures / "reproduction-quality.png")
    plot_curves(runs, pictures / "reproduction-curves.png")
    page = arguments.docs / "reproduction.md"
    fill(page, "runs", runs_table(runs))
    fill(page, "quality", quality_table(runs, real))


if __name__ == "__main__":
    main()
