"""The classes that a GAN can be asked for, and the labels that data sets know them by."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dcgan_tf1.errors import one_line
from dcgan_tf1.quality import CLASSES


def labels_of(classes: Sequence[str]) -> np.ndarray:
    """The labels of classes of those names: the numbers that they are, or else their places in the list.

    Returns:
        uint8 [n], or int32 [n] where a label is larger than 255.
    """
    numeric = all(name.isdecimal() and len(name) < 10 and name == str(int(name)) for name in classes)
    numbers = [int(name) for name in classes] if numeric else range(len(classes))
    return np.array(numbers, np.uint8 if max(numbers, default=0) < 256 else np.int32)


def find_label(flag: str, value: int | str | None, classes: Sequence[str]) -> int | None:
    """The label of the class that `value` is: its label already, or its name, or None, which stays.

    Raises:
        ValueError: it is no class that a GAN can draw; see `check_label`. It calls it `flag`.
    """
    if isinstance(value, str):
        if not classes:
            raise ValueError(one_line(f"{flag}: found {value!r}, expected a digit: these weights know no names"))
        if value not in classes:
            expected = f"expected one of the classes {describe_classes(classes)}"
            raise ValueError(one_line(f"{flag}: found {value!r}, {expected}"))
        return int(labels_of(classes)[list(classes).index(value)])
    check_label(flag, value, classes)
    return value


def check_label(name: str, value: Any, classes: Sequence[str]) -> None:
    """Raise ValueError, which calls it `name`, unless `value` is None or the label of a class that a GAN can draw.

    Args:
        classes: the names of the classes of a conditional GAN; of an unconditional one, which is asked for digits,
            nothing.
    """
    if value is None:
        return
    if not classes:
        check_integer(name, value, 0, CLASSES - 1)
    elif not _is_integer(value) or value not in labels_of(classes):
        raise ValueError(one_line(f"{name}: found {value!r}, expected one of the classes {describe_classes(classes)}"))


def check_integer(name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError, which calls it `name`, unless `value` is an integer from `low` to `high`."""
    if not _is_integer(value) or not low <= value <= high:
        raise ValueError(one_line(f"{name}: found {value!r}, expected an integer from {low} to {high}"))


def describe_classes(classes: Sequence[str]) -> str:
    """The names of the classes for an error message; of many, the first ones and the last one."""
    names = ", ".join(classes)
    return names if len(names) <= 60 else f"{names[:40]}, ..., {classes[-1]}"


def _is_integer(value: Any) -> bool:
    """Whether `value` is an integer; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
