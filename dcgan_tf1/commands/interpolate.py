"""`run.py interpolate`: paths from digits to other digits."""

from pathlib import Path

import click

from dcgan_tf1.commands.options import WeightsChoice, integer, option
from dcgan_tf1.commands.sampling import CLASS, open_trained_gan, sampling_options, scale_for
from dcgan_tf1.config import LARGEST_SEED


@click.command
@option("--from", CLASS, "class to start from, by its name", name="start", shown="any")
@option("--to", CLASS, "class to end at, by its name", name="end", shown="any")
@option("--rows", integer(1, 32), "how many paths to generate", default=8)
@option("--steps", integer(2, 32), "how many digits make a path", default=12)
@option("--seed", integer(0, LARGEST_SEED - 1), "seed of the digits to start from", default=0)
@option("--to_seed", integer(0, LARGEST_SEED), "seed of the digits to end at", shown="SEED + 1")
@sampling_options
def interpolate(
    choice: WeightsChoice,
    start: str | None,
    end: str | None,
    rows: int,
    steps: int,
    seed: int,
    to_seed: int | None,
    size: int | None,
    scale: int | None,
    out: str,
    force: bool,
) -> int:
    """Generate paths from digits to other digits: a grid and a GIF."""
    seeds = seed, seed + 1 if to_seed is None else to_seed

    pixels = scale_for(scale, rows * (8 * steps + 14))  # the frames of the film, in `sampling.files`

    from dcgan_tf1.sampling.files import PATHS, write_paths

    with open_trained_gan(choice, {"--from": start, "--to": end}, out, lambda classes: PATHS, force) as gan:
        write_paths(gan, Path(out), rows, steps, (start, end), seeds, size, pixels, force)
    return 0
