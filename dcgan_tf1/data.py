"""Data sets, and the batches that training draws from them.

A file is untrusted: nothing is allocated, decompressed or parsed beyond what its size on disk can back, and whatever
is wrong with it ends in one `DataError` line. A batch is a pure function of the seed and the step, so a resumed run
sees what an uninterrupted one would have seen, and there is no iterator to save.
"""

import contextlib
import functools
import hashlib
import io
import math
import os
import socket
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dcgan_tf1.errors import DataError, UsageError, one_line
from dcgan_tf1.quiet import import_tensorflow

_CHUNK = 1 << 18
_NPY_HEADER_BYTES = 4096
_MAX_BYTES = 1 << 30
_DEFLATE_RATIO = 1032  # no deflate stream expands further (zlib, "Maximum Expansion Factor")
_DOWNLOAD_TIMEOUT = 10.0  # seconds without a byte

_IDX_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_EXPECTED_SHAPE = {3: "[N, 28, 28] or [N, 32, 32]", 1: "[N]"}
_EXPECTED_FILE = "expected a whole IDX (.gz or not) or .npz file of uint8"

_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Dataset(NamedTuple):
    """Images as they are stored: 0 is the background and 255 the full stroke."""

    name: str
    """`mnist`, `digits`, or the base name of the file."""
    images: np.ndarray
    """uint8 [N, 28, 28] or [N, 32, 32]."""
    labels: np.ndarray | None
    """uint8 [N], or None where the source has none."""
    digest: str
    """sha256, in hex, of the images as an IDX file (header and bytes): the same from every container."""


def load(dataset: str, data_dir: str, split: str = "train", announce: Callable[[str], object] = print) -> Dataset:
    """The data set that `--dataset` and `--data_dir` name.

    Args:
        dataset: `mnist`; `digits`, the 1,797 scans that scikit-learn brings, all of them for training; `auto`, MNIST
            or, if it is neither given nor to be had, `digits`; else the path of an IDX (.gz or not) or .npz file.
        data_dir: folder of MNIST's files, for `auto` and `mnist`; if empty, Keras's copy or download is used.
        split: `train` or `test`. A file that holds one set of images gives it for both.
        announce: called with one line if `auto` falls back.

    Raises:
        DataError: the data is missing, malformed, has no such split, or is under MNIST's name but is not MNIST.
    """
    if dataset in ("auto", "mnist"):
        if data_dir:
            return _mnist_in(Path(data_dir), split)
        try:
            return _mnist_of_keras(split)
        except DataError as error:
            if dataset == "mnist":
                raise
            announce(
                f"WARNING: MNIST could not be had ({error}). Give it by --data_dir FOLDER, with its four IDX files "
                "(.gz or not) or mnist.npz. Going on with the 1,797 digits of scikit-learn instead."
            )
    if dataset in ("auto", "digits"):
        return _digits(split)
    path = Path(dataset)
    if not os.path.exists(dataset):
        raise DataError(
            one_line(f"--dataset: found no {_short(dataset, 80)!r}, expected auto, mnist, digits or a PATH")
        )
    return _dataset(path.name, *_read_images(path, split))


def _dataset(name: str, images: np.ndarray, labels: np.ndarray | None) -> Dataset:
    return Dataset(name, images, labels, _digest(images))


def _digest(array: np.ndarray) -> str:
    """sha256, in hex, of a uint8 array as an IDX file."""
    content = hashlib.sha256(struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape))
    content.update(np.ascontiguousarray(array))
    return content.hexdigest()


# Sources


def _mnist_in(folder: Path, split: str) -> Dataset:
    """MNIST from the files in `folder`."""
    with _refusing(folder, "expected a folder that can be read"):
        if not folder.is_dir():
            raise DataError("found no folder, expected one with MNIST's four IDX files or mnist.npz")
        files = {name: _find(folder, name) for name in _MNIST_SHA256}
        archive = folder / "mnist.npz"
        missing = next((name for name, path in files.items() if not path), None)
        if missing and not archive.exists():
            raise DataError(f"found no {missing}(.gz), expected MNIST's four IDX files or mnist.npz")
    if missing:
        return _official(archive, split, *_read_images(archive, split))
    images_path, labels_path = (files[name] for name in _MNIST_FILES[split])
    images, _ = _read_images(images_path, split)
    return _official(folder, split, images, _read_labels(labels_path, len(images)))


def _find(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`: plain or .gz, and in either of the spellings that are about."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / (spelling + suffix) for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in paths if path.exists()), None)


def _mnist_of_keras(split: str) -> Dataset:
    """MNIST from Keras's cache or, failing that, from Keras's download."""
    cache = Path(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")), "datasets", "mnist.npz")
    if os.path.exists(cache):
        return _official(cache, split, *_read_images(cache, split))
    return _official("Keras's download", split, *_download_mnist(split))


def _download_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST by Keras's own loader, which also caches it."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import_tensorflow()  # only here: all else in this module works without it
            import tensorflow as tf

            train, test = tf.keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises bare Exceptions
        reason = str(error).rpartition(" -- ")[2] or type(error).__name__  # the address comes first, the reason last
        raise DataError(one_line(f"MNIST's download: expected a network or --data_dir FOLDER; {reason}")) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return train if split == "train" else test


def _official(source: Path | str, split: str, images: np.ndarray, labels: np.ndarray | None) -> Dataset:
    """MNIST's data set of `split`, provided that its images and labels are the published ones."""
    for name, array in zip(_MNIST_FILES[split], (images, labels), strict=True):
        found = _digest(array)[:16] if array is not None else "none"
        if not _MNIST_SHA256[name].startswith(found):
            fault = f"found {name} of sha256 {found}, expected {_MNIST_SHA256[name][:16]}"
            raise DataError(one_line(f"{_short(source, 80)}: {fault}; other data goes in by --dataset PATH"))
    return _dataset("mnist", images, labels)


def _digits(split: str) -> Dataset:
    """scikit-learn's 8x8 digits, made to look like MNIST's: 20x20 within 28x28, with solid strokes."""
    with _refusing("--dataset digits", "expected scikit-learn and SciPy to be installed"):
        if split != "train":
            raise DataError(f"found no {split} split, expected MNIST or a file that has one")
        from scipy import ndimage
        from sklearn.datasets import load_digits

        scans, labels = load_digits(return_X_y=True)
        scans = ndimage.zoom(scans.reshape(-1, 8, 8), (1, 2.5, 2.5), order=3, mode="nearest", grid_mode=True)
        # Values run from 0 to 16. The middle half is stretched to the full range, which gives about MNIST's shares of
        # black, grey and white; enlarging alone leaves everything grey and blurred.
        strokes = np.clip((scans - 4) * 255 / 8, 0, 255).round().astype(np.uint8)
        return _dataset("digits", np.pad(strokes, ((0, 0), (4, 4), (4, 4))), labels.astype(np.uint8))


# Files


def _short(value: object, width: int = 40) -> str:
    """The text of `value`, or its end, for a message that has 200 characters for everything."""
    text = str(value)
    return text if len(text) <= width else "..." + text[3 - width :]


@contextlib.contextmanager
def _refusing(source: Path | str, expected: str = _EXPECTED_FILE) -> Iterator[None]:
    """Turn whatever goes wrong inside into a DataError of one line that names `source`.

    Checks inside raise a DataError that says what was found and what was expected. All else comes from libraries,
    which raise on hostile bytes whatever their parsers trip over, documented or not: hence `Exception`.
    """
    try:
        yield
    except DataError as error:
        raise DataError(one_line(f"{_short(source, 80)}: {error}")) from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(one_line(f"{_short(source, 80)}: {expected}; {reason}")) from error


class _ShortReads(io.BufferedReader):
    """A file that refuses long reads: `zipfile` takes in a directory whole, at the length the file claims for it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _CHUNK:
            raise DataError(f"found a zip directory of {size} bytes, expected at most {_CHUNK}")
        return super().read(size)


@contextlib.contextmanager
def opened(path: Path, expected: str = _EXPECTED_FILE) -> Iterator[IO[bytes]]:
    """The regular file at `path`, opened to read; whatever goes wrong until it is closed is a DataError."""
    with _refusing(path, expected):
        mode = os.stat(path).st_mode  # before opening: to open a pipe is to wait for its writer
        if stat.S_ISDIR(mode):
            raise DataError("found a folder, expected a file; --data_dir takes the folder of MNIST's files")
        if not stat.S_ISREG(mode):
            raise DataError("found a pipe, socket or device, expected a regular file")
        with _ShortReads(io.FileIO(path)) as file:
            yield file


def _read_images(path: Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images in an IDX or .npz file, and the labels that the .npz file holds beside them."""
    with opened(path) as file:
        if file.peek(2)[:2] == b"PK":
            return _read_npz(file, split)
        return _read_idx(file, ndim=3), None


def _read_labels(path: Path, count: int) -> np.ndarray:
    """The `count` labels in an IDX file."""
    with opened(path) as file:
        labels = _read_idx(file, ndim=1)
        _check_labels(labels, count)
        return labels


def _check_labels(labels: np.ndarray, count: int) -> None:
    if len(labels) != count:
        raise DataError(f"found {len(labels)} labels, expected {count}, one an image")


def _check_shape(shape: tuple[int, ...], ndim: int, limit: int) -> int:
    """How many bytes a uint8 array of `shape` takes, provided it can be images (or labels) of at most `limit` bytes."""
    if len(shape) != ndim or min(shape) < 1 or shape[1:] not in ((), (28, 28), (32, 32)):
        raise DataError(f"found shape {_short(list(shape))}, expected {_EXPECTED_SHAPE[ndim]}")
    count = math.prod(shape)
    if count > min(limit, _MAX_BYTES):
        raise DataError(f"found shape {_short(list(shape))}, expected {min(limit, _MAX_BYTES)} bytes at most")
    return count


def _read_exactly(stream: IO[bytes], count: int) -> bytearray:
    """The next `count` bytes. Memory grows with what is there, whatever the header claims."""
    content = bytearray()
    while len(content) < count:
        block = stream.read(min(count - len(content), _CHUNK))
        if not block:
            raise DataError(f"found {len(content)} bytes and then the end, expected {count}")
        content += block
    return content


class _GzipMember:
    """A gzip file of one member, read forward.

    `zlib` does all of it in C; the gzip module walks file names and padding a byte at a time, for minutes if asked to.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)  # with gzip's header and trailer: checks the CRC and the length

    def read(self, size: int) -> bytes:
        """1 to `size` bytes, or none at the end."""
        content = b""
        while not content and not self._inflate.eof:
            block = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            if not block:
                raise DataError("found a truncated gzip file, expected a whole one")
            content = self._inflate.decompress(block, size)
        if self._inflate.eof and (self._inflate.unused_data or self._file.peek(1)):
            raise DataError("found bytes after the gzip data, expected none")
        return content


def _read_idx(file: IO[bytes], ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in an IDX file, gzipped or not."""
    size = os.fstat(file.fileno()).st_size
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    stream = _GzipMember(file) if gzipped else file
    magic = bytes(_read_exactly(stream, 4))
    if magic != bytes((0, 0, 0x08, ndim)):
        kind = f" ({_IDX_TYPES[magic[2]]}, {magic[3]} dimensions)" if magic[2] in _IDX_TYPES else ""
        raise DataError(f"found magic 0x{magic.hex()}{kind}, expected 0x0000080{ndim} (uint8, {ndim} dimensions)")
    shape = struct.unpack(f">{ndim}I", _read_exactly(stream, 4 * ndim))
    header = 4 + 4 * ndim
    count = _check_shape(shape, ndim, limit=_DEFLATE_RATIO * size if gzipped else _MAX_BYTES)
    found = _gzip_length(file, size) if gzipped else size
    if found != header + count:
        raise DataError(f"found {found} bytes (truncated or padded?), expected {header + count} for {list(shape)}")
    pixels = _read_exactly(stream, count)
    if stream.read(1):
        raise DataError(f"found bytes after the array, expected {header + count} in all")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _gzip_length(file: IO[bytes], size: int) -> int:
    """The uncompressed length that a gzip file of `size` bytes ends with: a lie there is caught later, at more cost."""
    here = file.tell()
    file.seek(size - 4)
    (length,) = struct.unpack("<I", file.read(4))
    file.seek(here)
    return length


def _read_npz(file: IO[bytes], split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of `split` in an .npz file, and their labels if it has them."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        arrays = {member.filename.removesuffix(".npy"): member for member in members}
        if len(arrays) != len(members):
            raise DataError("found two arrays of one name, expected different names")
        only = next(iter(arrays)) if len(arrays) == 1 else None
        key = next((key for key in (f"x_{split}", "images", "arr_0", only) if key in arrays), None)
        if key is None:
            raise DataError(
                f"found arrays {_short(sorted(arrays))}, expected x_{split}, images, arr_0 or a single array"
            )
        images = _read_npy(archive, arrays[key], file, ndim=3)
        label_key = f"y_{split}" if key == f"x_{split}" else "labels"
        if label_key not in arrays:
            return images, None
        labels = _read_npy(archive, arrays[label_key], file, ndim=1)
        _check_labels(labels, len(images))
        return images, labels


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: IO[bytes], ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in `member` of the archive in `file`."""
    if member.flag_bits & 1:
        raise DataError(f"found {_short(member.filename)!r} encrypted, expected it in clear")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"found zip compression {member.compress_type}, expected deflate or none, as NumPy writes")
    with archive.open(member) as stream:
        # NumPy reads a header at whatever length it claims, so it is shown the first bytes only.
        head = io.BytesIO(stream.read(_NPY_HEADER_BYTES))
        version = np.lib.format.read_magic(head)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"found .npy version {version}, expected 1.0 or 2.0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2, and about what a hostile one makes it parse
            if version == (1, 0):
                shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(head)
            else:
                shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(head)
        if dtype != np.uint8:
            raise DataError(f"found {_short(member.filename)!r} of {_short(dtype)}, expected uint8")
        size = os.fstat(file.fileno()).st_size
        count = _check_shape(shape, ndim, limit=_DEFLATE_RATIO * size)
        if member.file_size != head.tell() + count:
            raise DataError(
                f"found {member.file_size} bytes in {_short(member.filename)!r}, expected {head.tell() + count}"
            )
        stream.seek(head.tell())
        pixels = np.frombuffer(_read_exactly(stream, count), np.uint8)
    return np.ascontiguousarray(pixels.reshape(shape, order="F" if fortran_order else "C"))


# Batches


class Stream(IntEnum):
    """What random numbers are for. Each use is a key of its own, so no two share numbers; the values are for ever."""

    SHUFFLE = 0
    """The order of the images, by epoch."""
    TRAIN = 1
    """z of the training steps, by step."""
    SNAPSHOT = 2
    """The fixed z of the sample grids, at counter 0."""
    SAMPLE = 3
    """z of the digits drawn once trained, by chunk."""
    EVALUATE = 4
    """z of the digits measured while training, at counter 0."""


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Which of `count` images make the batch of the 0-based `step`: int64 [batch_size], read-only.

    An epoch is count // batch_size steps over a fresh permutation. It shows no image twice, and leaves out the
    remainder.

    Raises:
        UsageError: `batch_size` is more than `count`.
    """
    if batch_size > count:
        raise UsageError(f"--batch_size: found {batch_size}, expected at most {count}, the size of the data set")
    epoch, position = divmod(step, count // batch_size)
    return _permutation(count, seed, epoch)[position * batch_size :][:batch_size]


def latent(seed: int, stream: int, counter: int, shape: tuple[int, ...], distribution: str = "uniform") -> np.ndarray:
    """float32 of `shape`, `uniform` over [-1, 1) or standard `normal`: a pure function of its arguments.

    Args:
        seed: 0 to 2**64 - 1.
        stream: what for, see `Stream`.
        counter: which draw of that stream, say the step: 0 to 2**64 - 1.
    """
    bits = _bits(seed, stream, counter, math.prod(shape))
    if (
        distribution == "normal"
    ):  # Box and Muller 1958: the radius from the upper half of the bits, the angle from the rest
        radius = np.sqrt(-2 * np.log(((bits >> 32) + 1) * 2.0**-32))
        return (radius * np.cos((bits & 0xFFFFFFFF) * (2 * np.pi * 2.0**-32))).astype(np.float32).reshape(shape)
    bits = bits >> 40  # 24 bits: each value is exact in float32
    return (bits.astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


@functools.lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of range(count), int64 [count], read-only since it is shared."""
    order = _bits(seed, Stream.SHUFFLE, epoch, count).argsort(kind="stable")
    order.setflags(write=False)
    return order


def _bits(seed: int, stream: int, counter: int, count: int) -> np.ndarray:
    """uint64 [count] of random bits.

    Philox takes 128 bits of key and 256 of counter, so every argument has 64 bits to itself and none are hashed. Raw
    bits are drawn because NumPy keeps those for ever, and what `Generator` makes of them only until it knows better.
    """
    key = np.array([seed, stream], np.uint64)
    start = np.array([0, 0, 0, counter], np.uint64)  # Philox itself counts in the first word
    return np.random.Philox(key=key, counter=start).random_raw(count)
