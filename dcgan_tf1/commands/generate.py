"""`run.py generate`: digits of a trained GAN, as pictures or as a data set."""

from pathlib import Path

import click

from dcgan_tf1.commands.options import WeightsChoice, choice, integer, number, option, switch, text
from dcgan_tf1.commands.sampling import LARGEST_LABEL, open_trained_gan, sampling_options, scale_for
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
@option("--digit", integer(0, LARGEST_LABEL), "generate this digit only, 0 to 9; with other data, this label")
@option("--class", text("NAME"), "generate this class only, by its name, from weights that know it", name="class_name")
@switch("--balanced", "generate equally many of each digit")
@switch("--labels", "write labels too, in a data set")
@option("--min_confidence", number(0, 1), "how sure of a digit the classifier must be", shown=str(MIN_CONFIDENCE))
@option("--format", choice(_FORMATS), "; ".join(map(": ".join, _FORMATS.items())), name="form", default="png")
@sampling_options
def generate(
    choice: WeightsChoice,
    num_digits: int,
    seed: int,
    digit: int | None,
    class_name: str | None,
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
    asked = "--digit" if class_name is None else "--class"
    wanted = digit if class_name is None else class_name
    if digit is not None and class_name is not None:
        raise UsageError("--class: found with --digit, expected one of the two")
    if wanted is not None and balanced:
        raise UsageError(f"--balanced: found with {asked}, expected one of the two")
    pictures = form in ("png", "grid")
    if labels and pictures:
        raise UsageError(f"--labels: found with --format {form}, expected npz or idx")
    if scale is not None and not pictures:
        raise UsageError(f"--scale: found with --format {form}, expected png or grid")
    if min_confidence is not None and wanted is None and not balanced and not labels:
        raise UsageError("--min_confidence: found alone, expected --digit, --balanced or --labels too")
    if form == "grid" and num_digits > _LARGEST_GRID:
        raise UsageError(f"--num_digits: found {num_digits}, expected at most {_LARGEST_GRID} in a grid")
    pixels = scale_for(scale, num_digits if form == "grid" else 1)

    with open_trained_gan(choice, {asked: wanted}, balanced or labels) as (gan, (label,)):
        if gan.classes and min_confidence is not None:
            reason = "a conditional GAN generates the class it is asked for"
            raise UsageError(f"--min_confidence: found with a conditional GAN, expected none: {reason}")
        from dcgan_tf1.sampling.files import write_digits

        selection = num_digits, seed, label, balanced, labels, min_confidence
        write_digits(gan, Path(out), form, *selection, size, pixels, force)
    return 0
