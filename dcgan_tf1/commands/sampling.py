"""What `generate` and `interpolate` share: the options of pictures, and the trained GAN that makes them."""

import contextlib
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import Kind, WeightsChoice, choice, force, integer, option, text, weights_options
from dcgan_tf1.errors import SIGNAL_BASE, UsageError

if TYPE_CHECKING:
    from dcgan_tf1.sampling.trained_gan import TrainedGan

DEFAULT_SCALE = 4  # pixels of a picture for each pixel of a digit
_MOST_DIGITS = 160_000  # that a picture or all frames of a film show, at a scale of 1; in colour they take 523 MB


def _read_class(text: str) -> str:
    if not text:
        raise ValueError
    return text


CLASS = Kind(_read_class, "NAME", "the name of a class")


def sampling_options(command: Callable) -> Callable:
    """The options that say with which weights digits are generated, how they are shown, and where they are written."""
    scale = "pixels of a picture for each pixel of a digit"
    size, usual = "side of a digit in pixels", "28; in colour, that of the networks"
    command = force(weights_options(command))
    command = option("--out", text("DIR"), "folder to write to", default="generated")(command)
    command = option("--scale", integer(1, 32), scale, shown=f"{DEFAULT_SCALE}, and 1 with labels")(command)
    return option("--size", choice((28, 32)), size, shown=usual)(command)


def scale_for(scale: int | None, digits: int) -> int:
    """The `scale` of a picture or a film of so many digits. Raises UsageError if that makes more than half a GB."""
    most = math.isqrt(_MOST_DIGITS // digits)
    if scale and scale > most:
        raise UsageError(f"--scale: found {scale}, expected at most {most} in a file that shows {digits} digits")
    return scale or DEFAULT_SCALE


@contextlib.contextmanager
def open_trained_gan(
    choice: WeightsChoice,
    classes: Mapping[str, str | None],
    out: str,
    files: Callable[[Sequence[str]], Iterable[str]],
    force: bool,
    by_class: bool = False,
) -> Iterator["TrainedGan"]:
    """The GAN that the user chose.

    From here on SIGTERM ends the process after cleaning up, with exit code 143.

    Args:
        classes: the names of classes that it must be able to generate, by the flags that ask; None: any.
        files: gives the names of what is going to be written to `out`, for a GAN that knows those classes.
        force: whether files of these names may be there.
        by_class: whether classes are asked for in another way too.

    Raises:
        CheckpointError: there is no such GAN, or it is damaged.
        OutputError: a file is there already.
        UsageError: it does not generate one of `classes`.
    """
    from dcgan_tf1.data.classes import find_class  # takes NumPy
    from dcgan_tf1.files import refuse_existing

    source = choice.find()
    names = tuple(source.dataset.get("classes", ()))
    try:
        for flag, label in classes.items():
            find_class(flag, label, names)
    except ValueError as error:
        raise UsageError(str(error)) from error
    asked = next((flag for flag, label in classes.items() if label is not None), None)
    if source.config.channels > 1 and not names and (by_class or asked):
        flags = asked or "--balanced, --labels"
        raise UsageError(f"{flags}: found, expected none: these weights are of images in colour and know no classes")
    refuse_existing(Path(out), files(names), force)
    with contextlib.suppress(ValueError):  # signals can only be set in the main thread
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(SIGNAL_BASE + number))

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.runs import weights
    from dcgan_tf1.sampling import trained_gan

    with trained_gan.TrainedGan(weights.read_weights(source)) as gan:
        yield gan
