"""Where data sets come from: MNIST from a folder, from Keras or by download, scikit-learn's digits, or any file."""

import contextlib
import hashlib
import io
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcgan_tf1.data.readers import data_errors, read_images, read_labels, shorten
from dcgan_tf1.errors import DataError, one_line
from dcgan_tf1.tensorflow_import import import_tensorflow

_DOWNLOAD_TIMEOUT = 10.0  # seconds without a byte

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


_MOST_CLASSES = 1000
_LONGEST_NAME = 100
"""The most characters of a class's name."""


class Classes(NamedTuple):
    """The classes of a data set's images."""

    names: tuple[str, ...]
    """The different labels in ascending order, as text."""
    indices: np.ndarray
    """The class of each image, int32 [N], each from 0 to len(names) - 1."""


class Dataset(NamedTuple):
    """Images as files have them: 0 is the background, and 255 the full stroke."""

    name: str
    """`mnist`, `digits`, or the name of the file without its folders."""
    images: np.ndarray
    """uint8 [N, 28, 28] or [N, 32, 32]."""
    labels: np.ndarray | None
    """Integers [N]; None where the source has no labels."""
    digest: str
    """The sha256, in hex, that the images have as an IDX file. It is the same from every kind of file."""

    def classes(self) -> Classes:
        """The classes of the images, for a GAN that draws by class.

        Raises:
            DataError: there are no labels, fewer than two classes or too many, or a class with a single image.
        """
        expected = f"expected labels of 2 to {_MOST_CLASSES} classes"
        if self.labels is None:
            raise DataError(one_line(f"--conditional: found no labels in {shorten(self.name)}, {expected}"))
        values, indices, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        found = f"--conditional: found {len(values)} class{'es' * (len(values) > 1)} in {shorten(self.name)}"
        if not 2 <= len(values) <= _MOST_CLASSES:
            raise DataError(one_line(f"{found}, {expected}"))
        if counts.min() < 2:
            lonely = values[counts.argmin()]
            raise DataError(one_line(f"{found}, of which {lonely} has a single image, expected 2 or more of each"))
        return Classes(tuple(map(str, values)), indices.astype(np.int32))

    def record(self, conditional: bool) -> dict[str, Any]:
        """What a checkpoint records of the data set: `name`, `digest` and, for a conditional GAN, the `classes` by
        their names and the `labels_digest`.

        Raises:
            DataError: as for `classes`.
        """
        record = {"name": self.name, "digest": self.digest}
        if not conditional:
            return record
        names, indices = self.classes()
        return {
            **record,
            "classes": list(names),
            "labels_digest": hashlib.sha256(indices.astype("<i4").tobytes()).hexdigest(),
        }


def check_dataset_record(record: Any, conditional: bool) -> None:
    """Raise ValueError unless `record`, read from a file, is one that `Dataset.record` could have made."""
    keys = ("name", "digest", "labels_digest") if conditional else ("name", "digest")
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in keys):
        raise ValueError("found no record of the data set")
    names = record.get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names):
        raise ValueError("found no list of classes")
    low, high = (2, _MOST_CLASSES) if conditional else (0, 0)
    if not low <= len(set(names)) == len(names) <= high:
        raise ValueError(f"found {len(names)} classes, expected {low} to {high} different ones")


def load(dataset: str, data_dir: str, split: str = "train", announce: Callable[[str], object] = print) -> Dataset:
    """The data set that `--dataset` and `--data_dir` name.

    Args:
        dataset: `mnist`; `digits`, the 1,797 scans that come with scikit-learn, all of them for training; `auto`, which
            is MNIST, or `digits` where MNIST cannot be had; otherwise the path of an IDX (.gz or not) or .npz file, or
            of a folder with four IDX files that are named like MNIST's.
        data_dir: the folder of MNIST's files, for `auto` and `mnist`. If it is empty, Keras's copy or download is used.
        split: `train` or `test`. A file that holds a single set of images gives it for both.
        announce: is given one line if `auto` falls back to `digits`.

    Raises:
        DataError: the data is missing or malformed, has no such split, or is called MNIST and is not MNIST.
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
            one_line(f"--dataset: found no {shorten(dataset, 80)!r}, expected auto, mnist, digits or a PATH")
        )
    if path.is_dir():
        images_path, labels_path = (_find_idx(path, name) for name in _MNIST_FILES[split])
        if not images_path or not labels_path:
            name = _MNIST_FILES[split][0 if images_path is None else 1]
            found = f"--dataset: found no {name}(.gz) in the folder {shorten(dataset, 40)!r}"
            raise DataError(one_line(f"{found}, expected a file, or a folder with IDX files named like MNIST's"))
        images, _ = read_images(images_path, split)
        return _dataset(path.resolve().name, images, read_labels(labels_path, len(images)))
    return _dataset(path.name, *read_images(path, split))


def _dataset(name: str, images: np.ndarray, labels: np.ndarray | None) -> Dataset:
    return Dataset(name, images, labels, _digest(images))


def _digest(array: np.ndarray) -> str:
    """The sha256, in hex, that a uint8 array has as an IDX file."""
    content = hashlib.sha256(struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape))
    content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def _mnist_in(folder: Path, split: str) -> Dataset:
    """MNIST from the files in `folder`."""
    with data_errors(folder, "expected a folder that can be read"):
        if not folder.is_dir():
            raise DataError("found no folder, expected one with MNIST's four IDX files or mnist.npz")
        files = {name: path for name in _MNIST_SHA256 if (path := _find_idx(folder, name))}
        missing = [name for name in _MNIST_SHA256 if name not in files]
        archive = folder / "mnist.npz"
        if missing and not archive.exists():
            raise DataError(f"found no {missing[0]}(.gz), expected MNIST's four IDX files or mnist.npz")
    if missing:
        return _verified_mnist(archive, split, *read_images(archive, split))
    images_path, labels_path = (files[name] for name in _MNIST_FILES[split])
    images, _ = read_images(images_path, split)
    return _verified_mnist(folder, split, images, read_labels(labels_path, len(images)))


def _find_idx(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain or .gz, in either of the two spellings that are in use."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / (spelling + suffix) for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in paths if path.exists()), None)


def _mnist_of_keras(split: str) -> Dataset:
    """MNIST from Keras's cache or, failing that, from Keras's download."""
    cache = Path(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")), "datasets", "mnist.npz")
    if os.path.exists(cache):
        return _verified_mnist(cache, split, *read_images(cache, split))
    return _verified_mnist("Keras's download", split, *_download_mnist(split))


def _download_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's images and labels, by Keras's own loader, which also caches them."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import_tensorflow()  # nothing else in this module needs it
            import tensorflow as tf

            train, test = tf.keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises bare Exceptions
        reason = str(error).rpartition(" -- ")[2] or type(error).__name__  # the address precedes the dashes
        raise DataError(one_line(f"MNIST's download: expected a network or --data_dir FOLDER; {reason}")) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return train if split == "train" else test


def _verified_mnist(source: Path | str, split: str, images: np.ndarray, labels: np.ndarray | None) -> Dataset:
    """MNIST's `split`. Raises DataError unless its images and labels are the published ones."""
    for name, array in zip(_MNIST_FILES[split], (images, labels), strict=True):
        found = _digest(array)[:16] if array is not None else "none"
        if not _MNIST_SHA256[name].startswith(found):
            fault = f"found {name} of sha256 {found}, expected {_MNIST_SHA256[name][:16]}"
            raise DataError(one_line(f"{shorten(source, 80)}: {fault}; other data goes in by --dataset PATH"))
    return _dataset("mnist", images, labels)


def _digits(split: str) -> Dataset:
    """scikit-learn's 8x8 digits, enlarged to look like MNIST's: 20x20 within 28x28, with solid strokes."""
    with data_errors("--dataset digits", "expected scikit-learn and SciPy to be installed"):
        if split != "train":
            raise DataError(f"found no {split} split, expected MNIST or a file that has one")
        from scipy import ndimage
        from sklearn.datasets import load_digits

        scans, labels = load_digits(return_X_y=True)
        scans = ndimage.zoom(scans.reshape(-1, 8, 8), (1, 2.5, 2.5), order=3, mode="nearest", grid_mode=True)
        # Values run from 0 to 16. The middle half is stretched to the full range, which gives about MNIST's shares of
        # black, grey and white. Enlarging alone would leave everything grey and blurred.
        strokes = np.clip((scans - 4) * 255 / 8, 0, 255).round().astype(np.uint8)
        return _dataset("digits", np.pad(strokes, ((0, 0), (4, 4), (4, 4))), labels.astype(np.uint8))
