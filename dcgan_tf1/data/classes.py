"""The classes of images: what they may be called, their labels, and their numbers.

A class's number is its place in the list of names. Its label is what a data set knows it by: the number that is its
name, or else its place in the list.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dcgan_tf1.arguments import argument_error, as_array, describe, is_integer
from dcgan_tf1.errors import DataError, is_printable

DIGITS = tuple("0123456789")  # what an unconditional GAN can be asked for: its images are taken to be digits
MOST = 1000  # how many classes a conditional GAN can have; it has 2 at least
_LONGEST_NAME = 100


class Classes(NamedTuple):
    """The classes of a data set's images."""

    names: tuple[str, ...]  # the names of the different labels in ascending order; those without names are their text
    indices: np.ndarray  # the class of each image, int32 [N], each from 0 to len(names) - 1


def is_name(value: Any) -> bool:
    """Whether a class may have that name: up to 100 printable characters."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and is_printable(value)


def check_names(names: Any, conditional: bool) -> None:
    """Raise ValueError unless `names`, read from a file, name a GAN's classes; an unconditional one has none."""
    if not isinstance(names, list) or not all(map(is_name, names)):
        raise ValueError("found no list of classes")
    low, high = (2, MOST) if conditional else (0, 0)
    if not low <= len(set(names)) == len(names) <= high:
        raise ValueError(f"found {len(names)} classes, expected {low} to {high} different ones")


def check_each_name(names: Iterable[str]) -> None:
    """Raise DataError if a class may not have one of `names`."""
    for name in names:
        if not is_name(name):
            raise DataError(f"found a class named {name[-40:]!r}, expected up to {_LONGEST_NAME} printable characters")


def named(values: Sequence[str], others: Iterable[str] = ()) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels of images of classes with these names, int32 [N], and the names of the labels 0, 1, ...

    The names are None where they are numbers, which then are the labels. `others` are names of the same data set's
    other images. Accents may be written in either way. Raises DataError if one of the names may not be one.
    """
    values = [unicodedata.normalize("NFC", value) for value in values]
    names = {*values, *(unicodedata.normalize("NFC", name) for name in others)}
    check_each_name(names)
    numeric = all(name.isdecimal() for name in names)
    ordered = tuple(sorted(names, key=(lambda name: (int(name), name)) if numeric else None))
    labels = dict(zip(ordered, labels_of(ordered).tolist(), strict=True))
    return np.array([labels[value] for value in values], np.int32), None if are_numbers(ordered) else ordered


def are_numbers(names: Sequence[str]) -> bool:
    """Whether all of `names` are plain numbers below 10**9, which then are the labels."""
    return all(name.isdecimal() and len(name) < 10 and name == str(int(name)) for name in names)


def labels_of(names: Sequence[str]) -> np.ndarray:
    """The labels of classes of those names: uint8 [n], or int32 [n] where a label is larger than 255."""
    numbers = list(map(int, names)) if are_numbers(names) else range(len(names))
    return np.array(numbers, np.uint8 if max(numbers, default=0) < 256 else np.int32)


def find_class(argument: str, value: Any, names: Sequence[str]) -> int | None:
    """The place among `names` of the class that `value` names. None, which means any class, stays.

    A class is named by text. Where the names of all classes are integers, the integer will do as well. Accents may be
    written in either way. An unconditional GAN, which has no names, is asked for DIGITS. Raises ValueError, which calls
    the value `argument`, if it names none.
    """
    if value is None:
        return None
    known = [unicodedata.normalize("NFC", name) for name in names or DIGITS]
    numbers = all(re.fullmatch("0|-?[1-9][0-9]*", name) for name in known)
    name = unicodedata.normalize("NFC", str(value)) if isinstance(value, str) or (numbers and is_integer(value)) else ""
    if name not in known:
        found = value if is_integer(value) else repr(value)
        raise argument_error(argument, found, f"one of the classes {_listed(known)}")
    return known.index(name)


def find_classes(labels: npt.ArrayLike | None, count: int, names: Sequence[str]) -> np.ndarray | None:
    """The places among `names` of the classes of `count` images, int64 [count]; None for an unconditional GAN.

    The labels name classes as `find_class` takes them; an unconditional GAN, which has no names, takes None. Raises
    ValueError if they are something else, or of another number.
    """
    if not names:
        if labels is not None:
            raise argument_error("labels", "some", "None, since this GAN is unconditional")
        return None
    expected = f"{count} of the classes {_listed(names)}"
    if labels is None:
        raise argument_error("labels", "none", expected)
    given = as_array("labels", labels)
    if given.shape != (count,) or (count and given.dtype.kind not in "iuU"):
        raise argument_error("labels", describe(given), expected)
    different, places = np.unique(given, return_inverse=True)
    return np.array([find_class("labels", label, names) for label in different], int)[places]


def one_hot(indices: np.ndarray | None, count: int, names: Sequence[str]) -> np.ndarray:
    """The classes of images, by their places among `names`, as the networks take them: float32 [count, len(names)].

    For an unconditional GAN, which has no names, `indices` are None.
    """
    return np.zeros((count, 0), np.float32) if indices is None else np.eye(len(names), dtype=np.float32)[indices]


def _listed(names: Sequence[str]) -> str:
    """`names` for an error message; of many, the first ones and the last one."""
    text = ", ".join(names)
    return text if len(text) <= 60 else f"{text[:40]}, ..., {names[-1]}"
