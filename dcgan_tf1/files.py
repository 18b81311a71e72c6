"""Files that are written whole or not at all."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import platformdirs

from dcgan_tf1.errors import CheckpointError, OutputError


def make_folder(path: Path) -> Path:
    """Create the folder `path` and its parents where they are missing. Raises OutputError if it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; expected a folder that can be written") from error
    return path


def cache_folder() -> Path | None:
    """The folder of what can be computed again, as `~/.cache/dcgan-tf1` on Linux. None: the user has no folder."""
    with contextlib.suppress(RuntimeError):
        folder = platformdirs.user_cache_path("dcgan-tf1", appauthor=False)
        if folder.is_absolute():  # before version 4.12 of platformdirs, a ~ stays that stands for nothing
            return folder
    return None


def read_published(path: Path, sha256: str) -> bytes:
    """The content of a file of weights that comes with the project.

    Raises CheckpointError: it is missing, or its sha256, in hex, is another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; expected the weights that ship") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise CheckpointError(f"{path}: found sha256 {found[:16]}, expected {sha256[:16]}; reinstall the package")
    return content


def sync(path: Path) -> None:
    """Make the content of the file `path`, or the names in the folder `path`, durable."""
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows syncs only what is open to write
    except PermissionError:
        if is_folder:  # Windows opens no folders, and keeps their names durable by itself
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes | Callable[[IO[bytes]], object]) -> None:
    """Write `content`, or what it writes to an open file, beside `path`; make it durable, and rename it into place.

    A reader sees the old file or the new one, never half of one.

    Raises OutputError: the file cannot be written. The old one, if any, is intact, and nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}; expected room and permission to write it") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def refuse_existing(folder: Path, names: Iterable[str]) -> None:
    """Raise OutputError if anything in `folder` has one of `names`."""
    for name in names:
        if os.path.lexists(folder / name):
            raise OutputError(f"{folder / name}: found a file, expected none; --force replaces it")


@contextlib.contextmanager
def all_or_none(folder: Path, names: Sequence[str], force: bool = False) -> Iterator[Path]:
    """A temporary folder for files of `names`. When the block ends well, all move to `folder`; otherwise none does.

    They move in the order of `names`, so that all are there when the last one is. A single name may be a folder's.

    Raises OutputError: a file cannot be written, or is there already and `force` is not given. Nothing is left behind.
    """
    if not force:
        refuse_existing(folder, names)
    created = not folder.exists()
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=make_folder(folder)))
        yield temporary
        for name in names:
            sync(temporary / name)
        if len(names) > 1:  # old files beside new ones would be worse than none
            for name in reversed(names):
                (folder / name).unlink(missing_ok=True)
        for name in names:
            (temporary / name).replace(folder / name)
        sync(folder)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}; expected room and permission to write it") from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        if created:
            with contextlib.suppress(OSError):  # it is not empty where files were written
                folder.rmdir()
