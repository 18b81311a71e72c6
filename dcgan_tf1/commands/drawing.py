"""What `generate` and `interpolate` share: the options of pictures, and the trained GAN that draws them."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import Kind, WeightsChoice, force, integer, option, text, weights_options
from dcgan_tf1.errors import SIGNAL_BASE, UsageError

if TYPE_CHECKING:
    from dcgan_tf1.sampling.trained_gan import TrainedGan

DEFAULT_SCALE = 4
"""Pixels of a picture for each pixel of a digit."""
LARGEST_LABEL = 10**9
"""The largest label of a class that can be asked for. Which classes there are depends on the GAN."""


def _read_class(text: str) -> int | str:
    if not text:
        raise ValueError
    return int(text) if text.isdecimal() and len(text) < 10 else text


CLASS = Kind("CLASS", "a digit or a name", _read_class)
"""A class, by its label or by its name."""


def drawing_options(command: Callable) -> Callable:
    """The options that say how digits are drawn, where they are written, and with which weights."""
    scale = f"pixels of a picture for each pixel of a digit (default: {DEFAULT_SCALE})"
    size = Kind("{28,32}", "28 or 32", {"28": 28, "32": 32}.__getitem__)
    help_size = "side of a digit in pixels (default: 28; in colour, that of the networks)"
    command = force(weights_options(command))
    command = option("--out", text("DIR"), "folder to write to", default="generated")(command)
    command = option("--scale", integer(1, 32), scale)(command)
    return option("--size", size, help_size)(command)


@contextlib.contextmanager
def open_trained_gan(
    choice: WeightsChoice, classes: Mapping[str, int | str | None], by_class: bool = False
) -> Iterator[tuple["TrainedGan", list[int | None]]]:
    """The GAN that the user chose, and the labels of the classes that were asked for.

    From here on SIGTERM ends the process after cleaning up, with exit code 143.

    Args:
        classes: the labels or names of the classes that the GAN must be able to draw, by the flags that ask for them;
            None: any.
        by_class: whether classes are asked for in another way too.

    Raises:
        CheckpointError: there is no such GAN, or it is damaged.
        UsageError: it does not draw one of `classes`.
    """
    from dcgan_tf1.sampling.labels import find_label  # takes NumPy

    source = choice.find()
    names = source.dataset.get("classes", ())
    try:
        labels = [find_label(flag, label, names) for flag, label in classes.items()]
    except ValueError as error:
        raise UsageError(str(error)) from error
    asked = next((flag for flag, label in classes.items() if label is not None), "--balanced, --labels")
    if source.config.channels > 1 and not names and (by_class or any(label is not None for label in labels)):
        raise UsageError(f"{asked}: found, expected none: these weights draw in colour and know no classes")
    with contextlib.suppress(ValueError):  # signals can only be set in the main thread
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(SIGNAL_BASE + number))

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.sampling import trained_gan, weights

    with trained_gan.TrainedGan(weights.read_weights(source)) as gan:
        yield gan, labels
