"""Where files lie: in a folder, a .zip or a .tar (.gz or not), which are all read in the same way, without unpacking.

Of an archive nothing is written to the disk, no link is followed, and an archive in it is not opened.
"""

import contextlib
import functools
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dcgan_tf1.data.readers import (
    DataFile,
    data_errors,
    open_data_file,
    open_member,
    open_regular,
    read_exactly,
    unzipped,
)
from dcgan_tf1.errors import DataError

_OF_PROGRAMS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN"}  # folders that are nobody's, as those that begin with a dot
_LINK = "found a link or device, expected a file"
_MOST_TIMES = 100  # nothing but a bomb expands to more than so many times its size
_SMALL = 1 << 23  # the length to which anything may expand
_MOST_FILES = 400_000  # in an archive
_LARGEST_GZIPPED = 1 << 29

Content = Callable[[], bytes]  # reads the file of a picture; raises DataError


class File(NamedTuple):
    """A file as a place lists it."""

    name: str  # its path in the place, with slashes
    size: int = 0
    changed: tuple[int, int] = (0, 0)  # when its content did, and when its place in the file system did, in nanoseconds
    fault: str = ""  # why it cannot be read, where that is known


class Place:
    """A folder, or some of the files in it."""

    def __init__(self, path: Path, files: list[File] | None = None) -> None:
        self.path = path
        self.files = _walk(path) if files is None else files

    def open(self, file: File) -> contextlib.AbstractContextManager[DataFile]:
        """A file, open for reading. Whatever goes wrong until it is closed is a DataError that names it."""
        return open_data_file(self.path / file.name)

    def read(self, file: File) -> bytes:
        """The content of a file, which must be as it was listed, before and after it is read."""
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path / file.name, flags)  # a pipe that has taken its place would be waited for
        with open(descriptor, "rb") as content:
            found = content.read(file.size + 1)
            status = os.fstat(descriptor)
        if (status.st_size, status.st_mtime_ns) != (file.size, file.changed[0]) or len(found) != file.size:
            raise DataError("found it changed while it was read, expected it to stay; start again")
        return found

    def contents(self, files: Sequence[File]) -> Iterator[tuple[int, Content]]:
        """What reads each of `files`, which have no faults, after its index, in the order in which they lie here."""
        return ((index, functools.partial(self.read, file)) for index, file in enumerate(files))


class _Archive(Place):
    """A .zip or .tar file, given as its files and a function for each that opens it."""

    def __init__(self, path: Path, members: Iterator[tuple[File, Callable[[], DataFile]]]) -> None:
        self._openers: dict[str, Callable[[], DataFile]] = {}
        self._lock = threading.Lock()  # several threads read one file
        files = []
        for count, (file, opener) in enumerate(members):
            if file.name in self._openers or count == _MOST_FILES:
                fault = "two files of one name" if count < _MOST_FILES else f"more than {_MOST_FILES} files"
                raise DataError(f"found {fault}, expected none")
            self._openers[file.name] = opener
            if not any(map(_is_hidden, file.name.split("/"))):
                files.append(file)
        super().__init__(path, files)

    @contextlib.contextmanager
    def open(self, file: File) -> Iterator[DataFile]:
        with data_errors(self.path / file.name):
            if file.fault:
                raise DataError(file.fault)
            with self._openers[file.name]() as member:
                yield member

    def read(self, file: File) -> bytes:
        with self._lock, self._openers[file.name]() as member:
            return bytes(read_exactly(member, file.size))


def _zip_members(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[File, Callable[[], DataFile]]]:
    changed = os.stat(path).st_mtime_ns if path.exists() else 0
    for member in archive.infolist():
        link = stat.S_ISLNK(member.external_attr >> 16)
        fault = _LINK if link else _bomb(member.file_size, member.compress_size)
        if not member.is_dir():
            entry = File(_tidy(member.filename), member.file_size, (changed, member.CRC), fault)
            yield entry, functools.partial(open_member, archive, member)


def _tar_members(file: DataFile, archive: tarfile.TarFile) -> Iterator[tuple[File, Callable[[], DataFile]]]:
    _, changed = _status(file)
    while member := archive.next():
        fault = "" if member.isreg() and not member.issparse() else _LINK
        if not member.isdir():
            entry = File(_tidy(member.name), member.size, changed, fault)
            yield entry, lambda member=member: DataFile(archive.extractfile(member), member.size)  # type: ignore


@contextlib.contextmanager
def open_place(path: Path) -> Iterator[Place]:
    """The folder, archive or other file at `path`, for as long as the block lasts. Raises DataError: it is neither."""
    with contextlib.ExitStack() as stack:
        with data_errors(path):
            place = Place(path) if path.is_dir() else _place_of_file(path, stack)
        yield place


def _place_of_file(path: Path, stack: contextlib.ExitStack) -> Place:
    file = stack.enter_context(open_regular(path))
    if file.peek(4)[:4] in (b"PK\3\4", b"PK\5\6"):
        return _zip(path, file, stack)
    if unzipped(file).peek(512)[257:262] == b"ustar":
        file.seek(0)
        content = file if (inner := unzipped(file)) is file else _in_memory(inner, file)
        return _Archive(path, _tar_members(file, stack.enter_context(tarfile.TarFile(fileobj=content))))
    return Place(path.parent, [File(path.name, *_status(file))])


def npz(place: Place, file: File, stack: contextlib.ExitStack) -> Place:
    """An .npz file in a place, which is a zip file, for as long as `stack` lasts. Raises DataError."""
    return _zip(place.path / file.name, stack.enter_context(place.open(file)), stack)


def _zip(path: Path, file: DataFile, stack: contextlib.ExitStack) -> Place:
    try:  # macOS writes names in UTF-8 and does not say so
        archive = zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        archive = zipfile.ZipFile(file)
    return _Archive(path, _zip_members(path, stack.enter_context(archive)))


def _in_memory(file: DataFile, packed: DataFile) -> DataFile:
    """What is in a gzipped tar file, whose members lie anywhere in it."""
    content = bytearray()
    while block := file.read(1 << 18):
        content += block
        if fault := _bomb(len(content), packed.tell()):
            raise DataError(fault)
        if len(content) > _LARGEST_GZIPPED:
            raise DataError(f"found more than {_LARGEST_GZIPPED} bytes in a gzipped tar file; unpack it")
    return DataFile(io.BytesIO(content), len(content))


def _status(file: DataFile) -> tuple[int, tuple[int, int]]:
    """The size of an open file, and its times of change."""
    status = os.fstat(file.fileno())
    return status.st_size, (status.st_mtime_ns, status.st_ctime_ns)


def _bomb(size: int, packed: int) -> str:
    """Return the fault of a file of `size` bytes that takes `packed` in an archive; nothing where it may be honest."""
    too_large = size > max(_SMALL, _MOST_TIMES * packed)
    return f"found {size} bytes in {packed}, expected at most {_MOST_TIMES} times as many" if too_large else ""


def _tidy(name: str) -> str:
    """The name of a file in an archive as a folder would list it."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_PROGRAMS


def _walk(root: Path) -> list[File]:
    """The files below `root`. Links are followed."""
    files: list[File] = []
    folders, seen = [""], {(root.stat().st_dev, root.stat().st_ino)}
    while folders:
        folder = folders.pop()
        with data_errors(root / folder, "expected a folder that can be read"), os.scandir(root / folder) as entries:
            for entry in entries:
                name = folder + entry.name
                if _is_hidden(entry.name):
                    continue
                try:
                    status = entry.stat()
                except OSError as error:
                    files.append(File(name, fault=error.strerror or "it cannot be read"))
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    fault = "" if stat.S_ISREG(status.st_mode) else "found a pipe, socket or device, expected a file"
                    files.append(File(name, status.st_size, (status.st_mtime_ns, status.st_ctime_ns), fault))
                elif status.st_ino and (status.st_dev, status.st_ino) in seen:
                    files.append(File(name, fault="found a link to a folder that is read already, expected none"))
                else:
                    seen.add((status.st_dev, status.st_ino))
                    folders.append(f"{name}/")
    return files
