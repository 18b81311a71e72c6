"""Which files, arrays or folders are to train on and which to test on, by their names."""

import re
from collections.abc import Sequence
from typing import TypeVar

_WORD = r"(train|training|test|testing|t10k|val|valid|validation)([-_ ]?(set|data|images|\d+k))?"
_WHOLE = re.compile(_WORD, re.IGNORECASE)
_AMONG_OTHERS = re.compile(rf"(?<![A-Za-z]){_WORD}(?![A-Za-z])", re.IGNORECASE)
_SPLITS = {"tr": "train", "te": "test", "t1": "test", "va": "val"}
_T = TypeVar("_T")


def split_of(name: str, whole: bool = False) -> str:
    """`train`, `test` or `val`, as the last such word in `name` says, or `name` as a whole; otherwise nothing."""
    words = [_WHOLE.fullmatch(name)] if whole else list(_AMONG_OTHERS.finditer(name))
    return _SPLITS[words[-1][1][:2].lower()] if words and words[-1] else ""


def choose(items: Sequence[tuple[str, _T]], split: str) -> list[_T]:
    """Those of `items`, each after its split, that are `split`; a single set is the same for both.

    Images to validate with are those to test on, where there are no others.
    """
    order = {"train": ("train", ""), "test": ("test", "val", "", "train"), "val": ("val", "test", "", "train")}[split]
    chosen = next((each for each in order if any(found == each for found, _ in items)), None)
    return [item for found, item in items if chosen in (found, None)]
