"""Parquet files as Hugging Face has them: a column of pictures, as the bytes of their files, and one of labels.

They are read by pyarrow, which is an extra: `pip install 'dcgan-tf1[parquet]'`.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from dcgan_tf1.data.places import Content, File, Place
from dcgan_tf1.data.readers import shorten
from dcgan_tf1.errors import DataError

_ROWS = 256  # that are read at a time
_LEAST = 8  # bytes of a row, lest a small file claimed many rows
_LIMITS = {"pre_buffer": False, "thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 1 << 20}
_LABELS = ("label", "labels", "class", "target", "digit", "character", "fine_label")


class Rows(Place):
    """The pictures in some Parquet files of a place, one after the other, and their labels, if they have some."""

    def __init__(self, place: Place, files: Sequence[File]) -> None:
        """Raises DataError: pyarrow is not installed, or the files are not such files."""
        self._place, self._parts = place, files
        self.labels: list[tuple[str, str]] = []
        rows: list[File] = []
        for file in files:
            with self._opened(file) as (table, _, label):
                count = table.metadata.num_rows
                if count * _LEAST > file.size:
                    raise DataError(f"found {count} rows in {file.size} bytes, expected pictures")
                rows += [File(f"{file.name}, row {row:07}", 0, file.changed) for row in range(1, count + 1)]
                if label:
                    names = _classes(table.schema_arrow, label)
                    values = table.read([label]).column(0).to_pylist()
                    self.labels += [("", names[value] if names else str(value)) for value in values]
        super().__init__(place.path, rows)

    def contents(self, files: Sequence[File]) -> Iterator[tuple[int, Content]]:
        index = 0
        for part in self._parts:
            with self._opened(part) as (table, path, _):
                for batch in table.iter_batches(_ROWS, columns=[path]):
                    for value in batch.column(0).field("bytes"):
                        yield index, value.as_py
                        index += 1

    @contextlib.contextmanager
    def _opened(self, file: File) -> Iterator[tuple[Any, str, str | None]]:
        """A file as pyarrow opens it, and the names of its columns of pictures' bytes and of labels, if any."""
        with self._place.open(file) as content:
            try:
                from pyarrow import parquet, set_memory_pool, system_memory_pool, types
            except ImportError as error:
                fault = "found a Parquet file, expected pyarrow to read it: pip install 'dcgan-tf1[parquet]'"
                raise DataError(fault) from error
            set_memory_pool(system_memory_pool())  # the others keep what they once had
            table = parquet.ParquetFile(content.raw, **_LIMITS)
            kinds = {field.name: field.type for field in table.schema_arrow}
            image = next((name for name in ("image", "img") if name in kinds and types.is_struct(kinds[name])), None)
            if image is None or kinds[image].get_field_index("bytes") < 0:
                found = shorten(", ".join(kinds), 60)
                raise DataError(f"found columns {found}, expected image, of the bytes of pictures")
            path = f"{image}.bytes"  # a dictionary: one picture that many rows share is in memory once
            table = parquet.ParquetFile(content.raw, metadata=table.metadata, read_dictionary=[path], **_LIMITS)
            yield table, path, next((name for name in _LABELS if name in kinds), None)


def _classes(schema: Any, label: str) -> list[str]:
    """The names of the labels 0, 1, ..., where Hugging Face's record of the columns has them; otherwise nothing."""
    record = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names = record.get("info", {}).get("features", {}).get(label, {}).get("names")
    return list(map(str, names or ()))
