"""`run.py generate`: digits of a trained GAN, as pictures or as a data set."""

from collections.abc import Sequence
from pathlib import Path

import click

from dcgan_tf1.commands.options import WeightsChoice, choice, integer, number, option, switch
from dcgan_tf1.commands.sampling import CLASS, open_trained_gan, sampling_options, scale_for
from dcgan_tf1.config import LARGEST_SEED
from dcgan_tf1.errors import UsageError
from dcgan_tf1.quality import MIN_CONFIDENCE

_FORMATS = {
    "png": "a picture for each digit",
    "grid": "one picture",
    "npz": "images and labels",
    "idx": "files like MNIST's",
}
_LARGEST_GRID = 10_000


@click.command
@option("--num_digits", integer(1, 10**7), "how many digits to generate", default=10)
@option("--seed", integer(0, LARGEST_SEED), "seed of the digits; the same seed gives the same digits", default=0)
@option("--digit --class", CLASS, "generate this digit only, or another class, by its name", name="label")
@switch("--balanced", "generate equally many of each digit")
@switch("--labels", "write labels too, in a data set; pictures go to a folder for each class")
@option("--min_confidence", number(0, 1), "how sure of a digit the classifier must be", shown=str(MIN_CONFIDENCE))
@option("--format", choice(_FORMATS), "; ".join(map(": ".join, _FORMATS.items())), name="form", default="png")
@sampling_options
def generate(
    choice: WeightsChoice,
    num_digits: int,
    seed: int,
    label: str | None,
    balanced: bool,
    labels: bool,
    min_confidence: float | None,
    form: str,
    size: int | None,
    scale: int | None,
    out: str,
    force: bool,
) -> int:
    """Generate digits: pictures, or a data set like MNIST."""
    if label is not None and balanced:
        raise UsageError("--balanced: found with --digit or --class, expected one of the two")
    pictures = form in ("png", "grid")
    if labels and form == "grid":
        raise UsageError("--labels: found with --format grid, expected png, npz or idx")
    if scale is not None and not pictures:
        raise UsageError(f"--scale: found with --format {form}, expected png or grid")
    if min_confidence is not None and label is None and not balanced and not labels:
        raise UsageError("--min_confidence: found alone, expected --digit, --balanced or --labels too")
    if form == "grid" and num_digits > _LARGEST_GRID:
        raise UsageError(f"--num_digits: found {num_digits}, expected at most {_LARGEST_GRID} in a grid")
    pixels = scale_for(scale or (1 if labels else None), num_digits if form == "grid" else 1)

    from dcgan_tf1.sampling.files import file_names, write_digits
    from dcgan_tf1.sampling.request import Request

    request, asked = Request(num_digits, label, seed, balanced, min_confidence), {"--digit, --class": label}

    def files(classes: Sequence[str]) -> list[str]:
        return file_names(form, request, labels, classes)

    with open_trained_gan(choice, asked, out, files, force, balanced or labels) as gan:
        if gan.classes and min_confidence is not None:
            reason = "a conditional GAN generates the class it is asked for"
            raise UsageError(f"--min_confidence: found with a conditional GAN, expected none: {reason}")
        write_digits(gan, Path(out), form, request, labels, size, pixels, force)
    return 0
