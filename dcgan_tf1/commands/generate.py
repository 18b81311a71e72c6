"""`run.py generate`: digits of a trained GAN, as pictures or as a data set."""

from pathlib import Path

import click

from dcgan_tf1.commands.drawing import DEFAULT_SCALE, LARGEST_LABEL, drawing_options, open_trained_gan
from dcgan_tf1.commands.options import LARGEST_SEED, WeightsChoice, choice, integer, number, option, switch, text
from dcgan_tf1.errors import UsageError
from dcgan_tf1.quality import MIN_CONFIDENCE

_FORMATS = {
    "png": "a picture for each digit (the default)",
    "grid": "one picture",
    "npz": "images and labels",
    "idx": "files like MNIST's",
}
_LARGEST_GRID = 10_000


@click.command
@option("--num_digits", integer(1, 10**7), "how many digits to draw", default=10)
@option("--seed", integer(0, LARGEST_SEED - 1), "seed of the digits; the same seed gives the same digits", default=0)
@option("--digit", integer(0, LARGEST_LABEL), "draw this digit only, 0 to 9; with other data, this label")
@option("--class", text("NAME"), "draw this class only, by its name; for weights that know classes", name="class_name")
@switch("--balanced", "draw equally many of each digit")
@switch("--labels", "label the digits of a data set")
@option(
    "--min_confidence", number(0, 1), f"how sure of a digit the classifier must be, 0 to 1 (default: {MIN_CONFIDENCE})"
)
@option(
    "--format",
    choice(list(_FORMATS)),
    "; ".join(f"{name}: {help}" for name, help in _FORMATS.items()),
    name="given_form",
)
@switch("--separate", "the same as --format png")
@switch("--grid", "the same as --format grid")
@drawing_options
def generate(
    choice: WeightsChoice,
    num_digits: int,
    seed: int,
    digit: int | None,
    class_name: str | None,
    balanced: bool,
    labels: bool,
    min_confidence: float | None,
    given_form: str | None,
    separate: bool,
    grid: bool,
    size: int | None,
    scale: int | None,
    out: str,
    force: bool,
) -> int:
    """Draw digits: pictures, or a data set like MNIST."""
    forms = [name for name, given in ((given_form, given_form), ("png", separate), ("grid", grid)) if name and given]
    if len(forms) > 1:
        raise UsageError("--format: found two of --format, --separate and --grid, expected one")
    asked = "--digit" if class_name is None else "--class"
    wanted = digit if class_name is None else class_name
    if digit is not None and class_name is not None:
        raise UsageError("--class: found with --digit, expected one of the two")
    if wanted is not None and balanced:
        raise UsageError(f"--balanced: found with {asked}, expected one of the two")
    form = forms[0] if forms else "png"
    pictures = form in ("png", "grid")
    if labels and pictures:
        raise UsageError(f"--labels: found with --format {form}, expected npz or idx")
    if scale is not None and not pictures:
        raise UsageError(f"--scale: found with --format {form}, expected png or grid")
    if min_confidence is not None and wanted is None and not balanced and not labels:
        raise UsageError("--min_confidence: found alone, expected --digit, --balanced or --labels too")
    if form == "grid" and num_digits > _LARGEST_GRID:
        raise UsageError(f"--num_digits: found {num_digits}, expected at most {_LARGEST_GRID} in a grid")

    with open_trained_gan(choice, {asked: wanted}, balanced or labels) as (gan, (label,)):
        if gan.classes and min_confidence is not None:
            raise UsageError(
                "--min_confidence: found, expected none: a conditional GAN draws the class it is asked for"
            )
        from dcgan_tf1.sampling.drawing import draw_digits

        scale = scale or DEFAULT_SCALE
        draw_digits(gan, Path(out), form, num_digits, seed, label, balanced, labels, min_confidence, size, scale, force)
    return 0
