"""Checks of what a Python caller gives. A wrong argument is a ValueError of one line that names it."""

import numbers
from typing import Any

import numpy as np
import numpy.typing as npt

from dcgan_tf1.errors import one_line


def argument_error(name: str, found: object, expected: str) -> ValueError:
    """The error about the argument `name`: what was found, and what was expected."""
    return ValueError(one_line(f"{name}: found {found}, expected {expected}"))


def is_integer(value: Any) -> bool:
    """Whether `value` is an integer, of Python's or of NumPy's; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise ValueError, which calls it `name`, unless `value` is a number from `low` to `high`."""
    is_number = is_integer(value) or isinstance(value, float | np.floating)
    if not is_number or not low <= value <= high:
        raise argument_error(name, repr(value), f"a number from {low} to {high}")


def check_integer(name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError, which calls it `name`, unless `value` is an integer from `low` to `high`."""
    if not is_integer(value) or not low <= value <= high:
        raise argument_error(name, repr(value), f"an integer from {low} to {high}")


def as_array(name: str, value: npt.ArrayLike) -> np.ndarray:
    """`value` as an array; a ValueError that names it if it is none, such as a list of rows of different lengths."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise argument_error(name, type(value).__name__, f"an array; {error}") from error


def describe(array: np.ndarray) -> str:
    """The type and the shape of `array`, for an error message."""
    return f"{array.dtype} {list(array.shape)}"
