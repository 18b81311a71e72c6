"""Figures: the curves of a run, and the comparison of several models."""

import contextlib
import functools
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcgan_tf1.files import write_whole
from dcgan_tf1.runs.log import read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#4477aa", "#ee7733", "#228833", "#aa3377", "#ccbb44", "#66ccee", "#999933", "#555555")
"""Colours that people with any colour vision can tell apart (Paul Tol's bright scheme, and two more)."""
_DARK, _LIGHT = "#333333", "#777777"
_LABELS = {"d_x": "D(x)", "d_g_z": "D(G(z))"}  # how metrics are called in a legend, where that is not their name


class ModelHistory(NamedTuple):
    """What `plot_comparison` shows of one model."""

    name: str
    parameters: int  # the number of trainable parameters of both networks
    steps_per_second: float
    seconds: list[float]  # the times at which the model was measured, in seconds of training
    distances: list[float]  # the Frechet distance at each of these times
    strips: list[np.ndarray]  # a row of sample digits at each of these times, uint8 [height, width]
    loss_minutes: np.ndarray  # the times of the losses, in minutes of training
    losses: dict[str, np.ndarray]  # `d_loss` and `g_loss` at those times


def in_own_style(plot: Callable[..., Any]) -> Callable[..., Any]:
    """A function that draws as this project does, whatever matplotlib's settings of the user are."""

    @functools.wraps(plot)
    def styled(*arguments: Any) -> Any:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write to
        with contextlib.ExitStack() as after:
            if "MPLBACKEND" in os.environ:  # one that matplotlib does not know would be an error at its import
                after.callback(os.environ.__setitem__, "MPLBACKEND", os.environ.pop("MPLBACKEND"))
            import matplotlib

            own = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
            after.enter_context(matplotlib.rc_context(own))
            after.enter_context(warnings.catch_warnings(action="ignore"))  # of odd values, which tables may hold
            return plot(*arguments)

    return styled


def new_figure(size: tuple[float, float]) -> Any:  # a Figure, whose types are more exact than useful
    """A figure of that width and height, in inches, which knows no window."""
    from matplotlib.figure import Figure

    return Figure(size, layout="constrained")


@in_own_style
def plot_curves(logs: Path) -> Path:
    """Draw the tables in the folder `logs` to curves.png beside them.

    The panels show losses, probabilities and, where distance.csv has rows, the Frechet distance.

    Raises DataError: there is no metrics.csv with rows; OutputError: the figure cannot be written.
    """
    rows = read_table(logs, "metrics.csv", least=1)
    measured = read_table(logs, "distance.csv") if (logs / "distance.csv").exists() else []
    count = 3 if measured else 2
    figure = new_figure((8, 2.5 * count))
    panels = figure.subplots(count, 1, sharex=True)
    losses, probabilities = panels[:2]
    steps = [row["step"] for row in rows]
    for axes, names in ((losses, ("d_loss", "g_loss")), (probabilities, ("d_x", "d_g_z"))):
        for name, colour in zip(names, COLOURS, strict=False):
            values = [row[name] for row in rows]
            axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axes.plot(steps, smooth(values), color=colour, label=_LABELS.get(name, name))
        axes.legend(frameon=False, ncols=2, loc="upper right")
    losses.set_ylabel("loss")
    probabilities.set(ylabel="probability of real", ylim=(0, 1))
    if measured:
        points = [row["step"] for row in measured], [row["frechet_distance"] for row in measured]
        panels[2].plot(*points, ".-", color=COLOURS[0], linewidth=1)
        panels[2].set(ylabel="Frechet distance", yscale="log")
        use_plain_numbers(panels[2].yaxis)
    for axes in panels:
        tidy(axes)
    panels[-1].set_xlabel("step")
    figure.align_ylabels()
    return save_figure(figure, logs / "curves.png")


@in_own_style
def plot_comparison(models: Sequence[ModelHistory], reference: float, path: Path) -> Path:
    """Draw models, 8 at most, side by side: samples over time, and below them distances and losses against minutes.

    `reference` is the Frechet distance of real digits.

    Raises OutputError: the figure cannot be written.
    """
    rows = -(-len(models) // 5)
    columns = max(-(-len(models) // rows), 3)
    figure = new_figure((3.4 * columns, 2.55 * rows + 3))
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
    grid = figure.add_gridspec(rows + 1, 3 * columns, height_ratios=[*[2.5] * rows, 3])
    panels = [figure.add_subplot(grid[rows, columns * i : columns * (i + 1)]) for i in range(3)]
    quality, *losses = panels
    for axes in losses:
        axes.sharex(quality)
    for i, (model, colour) in enumerate(zip(models, COLOURS, strict=False)):
        row, column = divmod(i, columns)
        _show_samples(figure.add_subplot(grid[row, 3 * column : 3 * (column + 1)], anchor="NW"), model, colour)
        minutes = [seconds / 60 for seconds in model.seconds]
        quality.plot(minutes, model.distances, "o-", color=colour, markersize=4, label=model.name)
        shown = model.loss_minutes >= minutes[0] / 2
        for axes, name in zip(losses, ("d_loss", "g_loss"), strict=True):
            if shown.any():
                smoothed = smooth(model.losses[name][shown])
                axes.plot(model.loss_minutes[shown], smoothed, color=colour, linewidth=1.2)

    quality.axhline(reference, color=_LIGHT, linestyle="--", linewidth=1)
    style = {"textcoords": "offset points", "color": _LIGHT, "fontsize": 8}
    quality.annotate("real digits", (0, reference), (4, 3), ("axes fraction", "data"), **style)
    quality.set_yscale("log")
    quality.legend(frameon=False, fontsize=8, labelcolor=_DARK)
    titles = ("Frechet distance to MNIST's test digits", "loss of the discriminator", "loss of the generator")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=10, color=_DARK, loc="left")
        axes.set_xscale("log")
        axes.set_xlabel("minutes of training", fontsize=9, color=_DARK)
        use_plain_numbers(axes.xaxis)
        use_plain_numbers(axes.yaxis)
        axes.tick_params(labelsize=8, color=_LIGHT, labelcolor=_DARK)
        axes.spines[["left", "bottom"]].set_color(_LIGHT)
        tidy(axes)
    return save_figure(figure, path)


def format_seconds(seconds: float) -> str:
    """A short time in seconds, a longer one in minutes."""
    return f"{seconds:.2g} s" if seconds < 59.5 else f"{seconds / 60:.3g} min"


def _show_samples(axes: "Axes", model: ModelHistory, colour: str) -> None:
    """Show the sample digits of `model`, a row for each time."""
    axes.imshow(np.concatenate(model.strips), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
    height = len(model.strips[0])
    middles = [(i + 0.5) * height for i in range(len(model.strips))]
    axes.set_yticks(middles, [format_seconds(seconds) for seconds in model.seconds])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8, labelcolor=_LIGHT)
    axes.spines[:].set_visible(False)
    axes.set_title(model.name, color=colour, fontweight="bold", fontsize=12, loc="left")
    facts = f"{model.parameters / 1e6:.2f} M weights, {model.steps_per_second:.3g} steps/s"
    axes.set_title(facts, color=_LIGHT, fontsize=7, loc="right")


def use_plain_numbers(axis: "Axis") -> None:
    """Label a logarithmic axis with plain numbers, not with powers; a short axis has more of them."""
    from matplotlib import ticker

    if axis.get_scale() != "log":
        return
    low, high = axis.get_view_interval()
    axis.set_major_formatter("{x:g}")
    few = ticker.LogLocator(subs=(1.0, 2.0, 5.0)) if high < 30 * low else ticker.LogLocator()
    axis.set_major_locator(few)
    axis.set_minor_formatter(ticker.NullFormatter())


def tidy(axes: "Axes") -> None:
    """Two spines, and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save_figure(figure: "Figure", path: Path) -> Path:
    """Write `figure` to the PNG file `path`, whole or not at all."""
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=150))
    return path


def smooth(values: Sequence[float] | np.ndarray) -> list[float]:
    """The exponential moving average of a curve, over about a twentieth of it."""
    weight = 1 / max(1.0, len(values) / 20)
    average, smoothed = values[0], []
    for value in values:
        average += weight * (value - average)
        smoothed.append(average)
    return smoothed
