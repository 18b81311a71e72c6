"""Parquet files as Hugging Face has them: a column of pictures, as the bytes of their files, and one of labels.

They are read by pyarrow, which is an extra: `pip install 'dcgan-tf1[parquet]'`.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dcgan_tf1.data import pictures
from dcgan_tf1.data.classes import named
from dcgan_tf1.data.decoding import Form
from dcgan_tf1.data.places import Content, File
from dcgan_tf1.data.readers import DataFile, Images, shorten
from dcgan_tf1.errors import DataError

_ROWS = 256  # that are read at a time
_LEAST = 8  # bytes of a row, lest a small file claimed many rows
_LIMITS = {"pre_buffer": False, "thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 1 << 20}
_LABELS = ("label", "labels", "class", "target", "digit", "character", "fine_label")

Opener = Callable[[File], contextlib.AbstractContextManager[DataFile]]


def read(path: Path, files: Sequence[File], opener: Opener, form: Form, announce: Callable[[str], object]) -> Images:
    """The pictures in `files`, one after the other, and their labels if they have some. Raises DataError."""
    names: list[str] = []
    labels: list[str] = []
    classes: list[str] = []
    for file in files:
        with _opened(file, opener) as (table, _, label):
            if table.metadata.num_rows * _LEAST > file.size:
                raise DataError(f"found {table.metadata.num_rows} rows in {file.size} bytes, expected pictures")
            names += [f"{file.name}, row {row}" for row in range(1, table.metadata.num_rows + 1)]
            if label:
                classes = _classes(table.schema_arrow, label)
                values = table.read([label]).column(0).to_pylist()
                labels += [classes[value] if classes else str(value) for value in values]
    contents = functools.partial(_contents, files, opener)
    images, good = pictures.read(pictures.Pictures(path, files, names, [], contents), form, announce)
    if not labels:
        return Images(images)
    return Images(images, *named([labels[index] for index in good], classes))


@contextlib.contextmanager
def _opened(file: File, opener: Opener) -> Iterator[tuple[Any, str, str | None]]:
    """A file as pyarrow opens it, and the names of its columns of pictures' bytes and of labels, which may be none."""
    with opener(file) as content:
        try:
            from pyarrow import parquet, types
        except ImportError as error:
            raise DataError("found a Parquet file, which takes pyarrow: pip install 'dcgan-tf1[parquet]'") from error
        table = parquet.ParquetFile(content.raw, **_LIMITS)
        kinds = {field.name: field.type for field in table.schema_arrow}
        image = next((name for name in ("image", "img") if name in kinds and types.is_struct(kinds[name])), None)
        if image is None or kinds[image].get_field_index("bytes") < 0:
            raise DataError(f"found columns {shorten(', '.join(kinds), 60)}, expected image, of the bytes of pictures")
        path = f"{image}.bytes"
        # One picture that many rows share is then in memory once.
        table = parquet.ParquetFile(content.raw, metadata=table.metadata, read_dictionary=[path], **_LIMITS)
        yield table, path, next((name for name in _LABELS if name in kinds), None)


def _classes(schema: Any, label: str) -> list[str]:
    """The names of the labels 0, 1, ..., where Hugging Face's record of the columns has them; otherwise nothing."""
    record = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names = record.get("info", {}).get("features", {}).get(label, {}).get("names")
    return list(map(str, names or ()))


def _contents(files: Sequence[File], opener: Opener) -> Iterator[tuple[int, Content]]:
    index = 0
    for file in files:
        with _opened(file, opener) as (table, path, _):
            for batch in table.iter_batches(_ROWS, columns=[path]):
                for value in batch.column(0).field("bytes"):
                    yield index, value.as_py
                    index += 1
