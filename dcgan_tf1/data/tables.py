"""Tables of text: CSV files of pixels, one image a row, and files of labels."""

import csv
import itertools
import math
import warnings
from collections.abc import Iterator

import numpy as np

from dcgan_tf1.data.arrays import to_images
from dcgan_tf1.data.classes import check_each_name, named
from dcgan_tf1.data.readers import MOST_BYTES, DataFile, Images
from dcgan_tf1.errors import DataError

_LONGEST_LINE = 1 << 17
_MOST_TEXT = 1 << 31  # of 1 GiB of pixels, most of them black, or more
_ROWS = 1000  # that are read at a time
_PIXELS = (28 * 28, 32 * 32)
_LABEL = {"label", "labels", "class", "class_name", "category", "target", "digit", "y"}
_FILE = {"file", "filename", "file_name", "image", "image_name", "name", "path", "id"}


def _lines(file: DataFile) -> Iterator[str]:
    """The lines of a text, without empty ones. Raises DataError: it, or a line of it, is too long."""
    if file.limit > _MOST_TEXT:
        raise DataError(f"found {file.limit} bytes, expected at most {_MOST_TEXT} of text")
    for number in itertools.count(1):
        line = file.readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise DataError(f"found a line {number} of more than {_LONGEST_LINE} bytes, expected shorter ones")
        if not line:
            return
        if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
            yield text


def read(file: DataFile) -> Images:
    """The images, and the labels if it has them, in a table of 784 or 1,024 columns of pixels.

    The label is the first column of one more, or that of a name like `label`, the first or the last one. Raises
    DataError if it is no such table.
    """
    lines = _lines(file)
    first = next(lines, "")
    header = [field.strip(' "').lower() for field in first.split(",")]
    if all(_is_number(field) for field in header):
        lines, header = (
            itertools.chain([first], lines),
            ["label", *header[1:]] if len(header) - 1 in _PIXELS else header,
        )
    labelled = len(header) - 1 in _PIXELS
    if not labelled and len(header) not in _PIXELS:
        raise DataError(f"found {len(header)} columns, expected 784 or 1024 of pixels, and one of labels")
    last = labelled and header[-1] in _LABEL and header[0] not in _LABEL
    count = len(header) - labelled
    labels: list[str] = []
    blocks: list[np.ndarray] = []
    while rows := list(itertools.islice(lines, _ROWS)):
        if labelled:
            parts = [row.rpartition(",")[::-1] if last else row.partition(",") for row in rows]
            labels += [part[0].strip(' "').removesuffix(".0") for part in parts]
            rows = [part[2] for part in parts]
        blocks.append(_numbers(rows, len(blocks) * _ROWS, count))
        if len(blocks) * _ROWS * count > MOST_BYTES:
            raise DataError(f"found more than {len(blocks) * _ROWS} rows, expected {MOST_BYTES} bytes at most")
    if not blocks:
        raise DataError("found no rows, expected some")
    pixels = to_images(np.concatenate(blocks))
    return Images(pixels, *named(labels)) if labelled else Images(pixels)


def _numbers(rows: list[str], before: int, count: int) -> np.ndarray:
    """The numbers in `rows`, which follow so many others: uint8 [n, count], or float32 where they are no integers."""
    for dtype in (np.uint8, np.float32):
        try:
            with warnings.catch_warnings(action="error"):  # of integers that are written as floats
                numbers = np.loadtxt(rows, dtype, delimiter=",", comments=None, quotechar='"', ndmin=2)
        except (ValueError, Warning) as error:
            fault = str(error)
        else:
            if numbers.shape == (len(rows), count):
                return numbers
            fault = f"{numbers.shape[1]} columns"
    raise DataError(f"found in the rows from {before + 1} on: {fault:.60}, expected {count} numbers from 0 to 255")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_labels(file: DataFile) -> list[tuple[str, str]]:
    """The file names and labels in a table of them, as `labels.csv`; the names are empty where it has labels alone.

    Its first line may name the columns; what is neither the file nor the label is passed over. Raises DataError if it
    is no such table.
    """
    lines = _lines(file)
    first = next(lines, "")
    rows: Iterator[list[str]] = csv.reader(itertools.chain([first], lines), delimiter=max(",;\t", key=first.count))
    header = next(rows, [""])
    columns = [field.strip().lower() for field in header]
    label = next((place for place, column in enumerate(columns) if column in _LABEL), None)
    name = next((place for place, column in enumerate(columns) if column in _FILE and place != label), 0)
    if label is None:
        if len(columns) > 2:
            raise DataError(f"found columns {', '.join(columns)[:60]}, expected a file name and a label")
        label, rows = len(columns) - 1, itertools.chain([header], rows)
    found = []
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DataError(f"found {len(row)} columns in row {number}, expected {len(header)}")
        found.append((row[name].strip() if name != label else "", row[label].strip()))
    return found


def read_names(file: DataFile, count: int) -> tuple[str, ...]:
    """The names of the `count` labels or more, one on each line. Raises DataError if it is no such list."""
    lines = (line.strip() for line in file.read(1 << 16).decode("utf-8-sig").splitlines())
    names = tuple(filter(None, lines))
    if len(set(names)) < len(names) or count > len(names):
        raise DataError(f"found {len(set(names))} different names of {len(names)}, expected {count} or more")
    check_each_name(names)
    return names
