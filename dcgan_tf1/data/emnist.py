"""EMNIST (Cohen et al. 2017): digits and letters, whose images lie on their sides in its files."""

import re
import string

_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"  # the other small letters look like large ones
_NAMES = {
    "letters": "?" + string.ascii_uppercase,  # whose labels begin at 1
    "balanced": _MERGED,
    "bymerge": _MERGED,
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}


def is_emnist(name: str) -> bool:
    """Whether a file of that name is one of EMNIST's, so that rows and columns of its images are exchanged."""
    return re.match(r"emnist-(\w+)-(train|test)", name) is not None


def names_of(name: str) -> tuple[str, ...] | None:
    """The names of the labels 0, 1, ... in one of EMNIST's files; None: labels are digits."""
    return tuple(_NAMES.get(name.split("-")[1], "")) or None
