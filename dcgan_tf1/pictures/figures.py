"""Figures: the curves of a run."""

import logging
from pathlib import Path

from dcgan_tf1.files import write_whole
from dcgan_tf1.runs.log import read_table


def plot_curves(folder: Path) -> Path:
    """Draw metrics.csv of `folder` to curves.png beside it: losses, probabilities, and distance.csv where it has rows.

    Raises:
        DataError: there is no metrics.csv with rows.
        OutputError: the figure cannot be written.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that it cannot write to
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = read_table(folder, "metrics.csv")
    measured = read_table(folder, "distance.csv") if (folder / "distance.csv").exists() else []
    steps = [row["step"] for row in rows]
    count = 3 if measured else 2
    figure, panels = plt.subplots(count, 1, sharex=True, figsize=(8, 2.5 * count), layout="constrained")
    losses, chances, *distance = panels
    blue, orange = "#4477aa", "#ee7733"
    for axes, names in ((losses, {"d_loss": blue, "g_loss": orange}), (chances, {"d_x": blue, "d_g_z": orange})):
        for name, colour in names.items():
            values = [row[name] for row in rows]
            axes.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axes.plot(steps, smooth(values), color=colour, label={"d_x": "D(x)", "d_g_z": "D(G(z))"}.get(name, name))
        axes.legend(frameon=False, ncols=2, loc="upper right")
    for axes in distance:
        points = [row["step"] for row in measured], [row["frechet_distance"] for row in measured]
        axes.plot(*points, ".-", color=blue, linewidth=1)
        axes.set(ylabel="Frechet distance", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    losses.set_ylabel("loss")
    chances.set(ylabel="probability of real", ylim=(0, 1))
    panels[-1].set_xlabel("step")
    figure.align_ylabels()
    target = folder / "curves.png"
    write_whole(target, lambda file: figure.savefig(file, format="png", dpi=150))
    plt.close(figure)
    return target


def smooth(values: list[float]) -> list[float]:
    """Exponential moving average over about a twentieth of the curve."""
    weight = 1 / max(1.0, len(values) / 20)
    average, smoothed = values[0], []
    for value in values:
        average += weight * (value - average)
        smoothed.append(average)
    return smoothed
