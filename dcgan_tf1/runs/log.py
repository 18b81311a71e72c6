"""The logs of a run: tables of metrics, TensorBoard's events, and the progress bar."""

import contextlib
import csv
import functools
import io
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from tqdm import tqdm

from dcgan_tf1.data.readers import open_data_file
from dcgan_tf1.errors import DataError, OutputError, reason

v1 = tf.compat.v1

TABLES = {
    "metrics.csv": ("step", "d_loss_real", "d_loss_fake", "d_loss", "g_loss", "d_x", "d_g_z"),
    "distance.csv": ("step", "frechet_distance"),
}
"""The columns of each table.

`d_x` and `d_g_z` are D(x) and D(G(z)): D's mean probabilities that real and that generated images are real.
"""
_EVENTS = re.compile(r"events\.out\.tfevents\.(\d{12})\.\d{4}")  # other programs' have the time and the host's name
_LARGEST = 3.5e38  # no finite float32 is larger
_LONGEST_LINE = 1000  # bytes of a table's line; a longer one is none of its own
_SECONDS_BETWEEN_LINES = 10  # of progress, where there is no terminal


class Table:
    """One of TABLES as a file that rows are added to. Every method raises OutputError if it cannot be written."""

    def __init__(self, folder: Path, step: int, name: str = "metrics.csv") -> None:
        """Go on with the table `name` in `folder` from a checkpoint of `step`: later rows are dropped."""
        self.path = folder / name
        self._columns = TABLES[name]
        header = (",".join(self._columns) + "\n").encode()
        with _writing(self.path):
            if self.path.exists() and not self.path.is_file():
                raise OutputError(f"{self.path}: found a folder, pipe or device, expected a regular file, or none")
            self._file = self.path.open("ab+")
            self._file.seek(0)
            first = self._file.readline(_LONGEST_LINE)
            if not header.startswith(first):  # it may be torn
                raise OutputError(f"{self.path}: found other columns than this program's; move the file away")
            end, dropped = len(first), 0
            lines = iter(functools.partial(self._file.readline, _LONGEST_LINE), b"")
            for number, line in enumerate(lines, 2):
                if self._step(line) > step:
                    dropped = dropped or number
                elif dropped:
                    found = f"found line {dropped} damaged, expected numbers"
                    raise OutputError(f"{self.path}: {found}; mend it or move the file away")
                else:
                    end += len(line)
            self._file.truncate(end if first == header else 0)
            if first != header:
                self._file.write(header)

    def _step(self, line: bytes) -> float:
        """The step of a row; infinity for what is no whole row of numbers."""
        try:
            step, *values = map(float, line.split(b","))
        except ValueError:
            return math.inf
        is_whole = len(values) == len(self._columns) - 1 and line.endswith(b"\n")
        return step if is_whole and step > 0 else math.inf

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add the row of `step`. Its numbers have nine digits, which tell any two float32 apart."""
        with _writing(self.path):
            self._file.write((f"{step}," + ",".join(f"{metrics[c]:.9g}" for c in self._columns[1:]) + "\n").encode())

    def sync(self) -> None:
        """Make the rows so far durable; before a commit, so that the file is never behind a checkpoint."""
        with _writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            if not self.path.exists():
                raise OutputError(f"{self.path}: found it removed, expected it to stay while the run goes on")

    def close(self) -> None:
        with _writing(self.path):
            self._file.close()


class Events:
    """TensorBoard's events, in one file for each start of the run, named by the step that it starts from.

    TensorBoard reads the files in the order of their names. Where a session starts again, it drops the later steps that
    it has read. So a resumed run is one clean line. Every method raises OutputError if the file cannot be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Begin a file in `folder` for a session that starts from `step`. Files of later starts are removed."""
        start = f"events.out.tfevents.{step:012d}"
        with _writing(folder):
            for path in folder.iterdir():
                own = _EVENTS.fullmatch(path.name)
                if own and int(own[1]) > step:
                    path.unlink()
            taken = [int(path.name[-4:]) for path in folder.glob(f"{start}.[0-9][0-9][0-9][0-9]")]
            self._path = folder / f"{start}.{max(taken, default=-1) + 1:04d}"
            self._path.open("xb").close()  # a new file, whatever lies there
            self._writer = tf.io.TFRecordWriter(os.fsencode(self._path))
        self._write(v1.Event(file_version="brain.Event:2"))
        self._write(v1.Event(step=step + 1, session_log=v1.SessionLog(status=v1.SessionLog.START)))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        summary = v1.Summary(value=[v1.Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self._write(v1.Event(step=step, summary=summary))

    def image(self, step: int, tag: str, png: bytes, height: int, width: int, channels: int = 1) -> None:
        image = v1.Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png)
        self._write(v1.Event(step=step, summary=v1.Summary(value=[v1.Summary.Value(tag=tag, image=image)])))

    def sync(self) -> None:
        with _writing(self._path):
            self._writer.flush()

    def close(self) -> None:
        with _writing(self._path):
            self._writer.close()

    def _write(self, event: tf.compat.v1.Event) -> None:
        event.wall_time = time.time()
        with _writing(self._path):
            self._writer.write(event.SerializeToString())


class Progress:
    """A progress bar on a terminal, and a plain line every ten seconds elsewhere."""

    def __init__(self, step: int, iterations: int) -> None:
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(total=iterations, initial=step, unit="it", dynamic_ncols=True, disable=hidden)
        self._iterations = iterations
        self._since = (time.monotonic(), step)

    def update(self, step: int, shown: str) -> None:
        """Say that `step` is taken, and beside it what is `shown`."""
        if not self._bar.disable:
            self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        then, last = self._since
        now = time.monotonic()
        if now - then >= _SECONDS_BETWEEN_LINES:
            rate = (step - last) / (now - then)
            left = tqdm.format_interval((self._iterations - step) / rate)
            print(f"step {step}/{self._iterations}, {rate:.1f} it/s, {left} left, {shown}", flush=True)
            self._since = (now, step)

    def say(self, line: str) -> None:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()


def read_table(folder: Path, name: str, least: int = 0) -> list[dict[str, float]]:
    """The rows of the table `name` in `folder`. Raises DataError if it is no such table, or has fewer than `least`."""
    expected = f"expected the columns {','.join(TABLES[name])}"
    with open_data_file(folder / name, "expected the metrics of a run") as file:
        reader = csv.DictReader(io.TextIOWrapper(file, newline=""))
        rows = [{key: float(value) for key, value in row.items()} for row in reader]
        header = tuple(reader.fieldnames or ())
        if header != TABLES[name]:
            raise DataError(f"found the columns {','.join(header)[:60]}, {expected}")
        if len(rows) < least:
            raise DataError(f"found no rows, {expected}")
        if any(_LARGEST < abs(value) < math.inf for row in rows for value in row.values()):
            raise DataError(f"found a value beyond float32, {expected}")
    return rows


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A context in which errors of writing to `path` become OutputError."""
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        raise OutputError(f"{path}: {reason(error)}; expected room and permission to write it") from error
