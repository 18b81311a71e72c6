"""One exception for each exit code. A message is one line: the flag or file, what was found, what was expected."""

import os
import re
from unicodedata import category


class DcganError(Exception):
    """The base of every error that a user can cause. The process ends with `exit_code`."""

    exit_code = 1


class UsageError(DcganError):
    """A flag or a configuration value is wrong."""

    exit_code = 2


class DataError(DcganError):
    """The data set is missing or malformed. The message quotes files that are not trusted, and is made one line."""

    exit_code = 3

    def __init__(self, message: object, is_named: bool = False) -> None:
        super().__init__(one_line(message))
        self.is_named = is_named  # whether the message begins with the file that it is about


class CheckpointError(DcganError):
    """A checkpoint is missing, damaged or belongs to another run."""

    exit_code = 4


class VersionError(CheckpointError):
    """A checkpoint is whole, but this version of the program cannot read it."""


class OutputError(DcganError):
    """A file or folder cannot be written."""

    exit_code = 5


class DivergedError(DcganError):
    """A loss or a weight became NaN or infinite."""

    exit_code = 6


class BusyError(DcganError):
    """Another process holds the run."""

    exit_code = 75


class ClusterError(DcganError):
    """The workers of a cluster cannot go on together. Started again, they resume from the last commit."""

    exit_code = 76


def reason(error: BaseException) -> str:
    """What is wrong, as an exception of Python or of a library says it, where that means something to users."""
    if isinstance(error, KeyError):
        return f"found no entry {error!s:.40}"
    if isinstance(error, TypeError | AttributeError | RecursionError):
        return "its entries are of other kinds, or not in their places"
    told = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return told.strip().partition("\n")[0] or type(error).__name__


SIGNAL_BASE = 128  # a process that a signal ended exits with this number plus the signal's, as in shells
LINE_WIDTH = 200
# Zero-width joiners, marks of direction that change nothing by themselves, and the tags that some emoji are made of.
_JOINERS = {"\u200c", "\u200d", "\u200e", "\u200f", *map(chr, range(0xE0020, 0xE0080))}
_ISOLATES = {0x2068: None, 0x2069: None}
_RTL = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u200f\U00010800-\U00010fff\U0001e800-\U0001efff]"
_RIGHT_TO_LEFT = re.compile(f"{_RTL}(?:[^\\x21-\\x7e]*{_RTL})?[\u200c-\u200f]*")
_PATH_END = 100  # how many characters of a path are shown where there is not room for all


def is_printable(text: str) -> bool:
    """Whether people write all of `text`: what Python calls printable, and spaces, joiners and marks of direction."""
    return text.isprintable() or all(c.isprintable() or c in _JOINERS or category(c) == "Zs" for c in text)


def printable(text: str) -> str:
    """`text` as a terminal may show it: what is not printable, such as the codes that move its cursor, as Python would
    write it, and what is written from right to left isolated, so that it moves nothing that is beside it."""
    text = text.translate(_ISOLATES)
    if not is_printable(text):
        text = "".join(c if is_printable(c) else repr(c)[1:-1] for c in text)
    return text if text.isascii() else _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", text)


def one_line(message: object) -> str:
    """`message` as a single printable line of at most 200 characters.

    Where there are more, long paths lose their beginnings first, since what follows a path says what is wrong with it.
    """
    line = printable(re.sub(r"[ \t\r\n\f\v]+", " ", str(message)).strip())
    if len(line) > LINE_WIDTH:
        line = " ".join("..." + word[-_PATH_END:] if _is_long_path(word) else word for word in line.split(" "))
    return line if len(line) <= LINE_WIDTH else line[: LINE_WIDTH - 3] + "..."


def _is_long_path(word: str) -> bool:
    return len(word) > _PATH_END and ("/" in word or os.sep in word)
