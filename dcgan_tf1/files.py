"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dcgan_tf1.errors import OutputError


def make_folder(path: Path) -> Path:
    """Create `path` and its parents and prove that it can be written.

    Raises:
        OutputError: it cannot be created, is no folder, or is read-only.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; expected a folder that can be written") from error
    return path


def sync_folder(path: Path) -> None:
    """Make the names in folder `path` durable, as `fsync` of a file does for its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, make it durable, and rename it into place.

    A reader sees the old file or the new one, never half of one.

    Raises:
        OutputError: the file cannot be written; the old one, if any, is intact and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: {error.strerror or error}; expected room and permission to write it") from error
