"""Files that are written whole or not at all."""

import contextlib
import glob
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import platformdirs

from dcgan_tf1.errors import CheckpointError, OutputError, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp", re.DOTALL)
_UNFINISHED = ".unfinished-"  # begins the name of a temporary folder
_OLD = ".old"  # the folder in it for files that are replaced


def make_folder(path: Path) -> Path:
    """Create the folder `path` and its parents where they are missing. Raises OutputError if it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; expected a folder that can be written") from error
    return path


@contextlib.contextmanager
def made_folders(*folders: Path) -> Iterator[None]:
    """Create `folders` and their parents for a block. Those that were missing go again if they are empty after it.

    Raises OutputError if one of them cannot be written.
    """
    missing = [path for folder in folders for path in (folder, *folder.parents) if not path.exists()]
    try:
        for folder in folders:
            make_folder(folder)
        yield
    finally:
        for path in sorted(missing, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):  # it is not empty, or has gone
                path.rmdir()


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

    A reader sees the old file or the new one, never half of one. What killed processes had begun of this file goes.

    Raises OutputError: the file cannot be written. The old one, if any, is intact, and nothing is left behind.
    """
    _remove_temporaries(path.parent, glob.escape(path.name[:50]))
    temporary = None
    try:
        with _open_temporary(path) as file:
            temporary = Path(file.name)
            file.write(content) if isinstance(content, bytes) else content(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}; expected room and permission to write it") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _open_temporary(path: Path) -> IO[bytes]:
    """A new file beside `path`, whatever link or pipe lies there, which is held as long as it is open."""
    while True:
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}.tmp")
        file = temporary.open("xb")
        with contextlib.suppress(OSError):  # not all file systems can
            _hold(file.fileno())
        if temporary.exists():  # otherwise another process has just taken it for one of the dead
            return file
        file.close()


def refuse_existing(folder: Path, names: Iterable[str], force: bool = False) -> None:
    """Raise OutputError if anything in `folder` has one of `names`; with `force`, if it is no regular file."""
    for path in (folder / name for name in names):
        if os.path.lexists(path) and not force:
            raise OutputError(f"{path}: found a file, expected none; --force replaces it")
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            raise OutputError(f"{path}: found a link, folder, pipe or device, expected a regular file, or none")


@contextlib.contextmanager
def all_or_none(folder: Path, names: Sequence[str], force: bool = False) -> Iterator[Path]:
    """A temporary folder for files of `names`. When the block ends well, all move to `folder`; otherwise none does.

    They move in the order of `names`, so that all are there when the last one is. Old ones move out of the way before,
    since old files beside new ones would be worse than none. A process that is killed meanwhile loses neither: the next
    one that writes to `folder` finds both in the temporary folder, and moves the new ones. A name may be that of a
    folder, which replaces none.

    Raises OutputError: a file cannot be written, or is there already and `force` is not given. Nothing is left behind.
    """
    with made_folders(folder):
        try:
            _finish(folder)
            refuse_existing(folder, names, force)
            temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
            with contextlib.ExitStack() as stack:
                stack.callback(_discard, temporary)
                with contextlib.suppress(OSError):  # not all file systems can
                    stack.enter_context(_held(temporary))
                yield temporary
                for path in (path for name in names for path in ((temporary / name), *(temporary / name).rglob("*"))):
                    sync(path)
                refuse_existing(folder, names, force)  # some may have come meanwhile
                _move_in(temporary, names)
        except OSError as error:
            raise OutputError(f"{folder}: {reason(error)}; expected room and permission to write it") from error


def _move_in(temporary: Path, names: Sequence[str]) -> None:
    """Move files of `names` from the temporary folder to the one that it lies in, and old ones out of the way.

    Where that fails, or is interrupted, the old ones come back.
    """
    folder, old = temporary.parent, temporary / _OLD
    try:
        if len(names) > 1:
            old.mkdir()
            sync(temporary)
            for name in filter(lambda name: os.path.lexists(folder / name), names):
                (folder / name).replace(old / name)
        for name in names:
            (temporary / name).replace(folder / name)
    except BaseException:
        # Each is tried, whatever comes of those before it, from the last to the first: new files leave before old ones
        # come back, and are kept, so that `clean` can finish at any time.
        with contextlib.ExitStack() as every:
            for name in filter(lambda name: os.path.lexists(old / name), names):
                every.callback((old / name).replace, folder / name)
            for name in filter(lambda name: not os.path.lexists(temporary / name), names):
                every.callback((folder / name).replace, temporary / name)
        raise
    sync(folder)
    shutil.rmtree(old, ignore_errors=True)  # only now that the new ones are durable


def _discard(temporary: Path) -> None:
    """Remove a temporary folder, unless old files could not leave it: then it is kept under a name that shows it."""
    with contextlib.suppress(OSError):
        if os.listdir(temporary / _OLD):
            temporary.replace(temporary.with_name(f"old-{temporary.name.removeprefix(_UNFINISHED)}"))
            return
        (temporary / _OLD).rmdir()  # before the new files, a part of which would be taken for all of them
    shutil.rmtree(temporary, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove the temporary files and folders of processes that have ended from `folder`, which is a run's."""
    _remove_temporaries(folder)
    _finish(folder)


def _finish(folder: Path) -> None:
    """Remove the temporary folders in `folder` of processes that have ended; move what they had begun to move."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError), _held(path):
            if (path / _OLD).is_dir():  # all new files were there
                left = sorted(set(os.listdir(path)) - {_OLD})
                for name in left:
                    (path / name).replace(folder / name)
            shutil.rmtree(path, ignore_errors=True)


def _remove_temporaries(folder: Path, name: str = "*") -> None:
    """Remove temporary files in `folder`, of files that have the pattern `name`, whose processes have ended."""
    for path in folder.glob(f".{name}.*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            with contextlib.suppress(OSError), _held(path):
                path.unlink()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a file or a folder until the block ends. Raises OSError if another process holds it."""
    if fcntl is None:  # Windows removes no open files
        yield
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _hold(descriptor)
        yield
    finally:
        os.close(descriptor)


def _hold(descriptor: int) -> None:
    """Hold an open file or folder as long as it is open. Raises OSError if another process holds it."""
    if fcntl:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
