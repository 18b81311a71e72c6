"""Where data sets come from: MNIST from a folder, from Keras or by download, scikit-learn's digits, or your own."""

import contextlib
import hashlib
import io
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcgan_tf1.config import Config
from dcgan_tf1.data import idx, layout
from dcgan_tf1.data.classes import MOST, Classes, are_numbers, check_each_name, check_names, labels_of
from dcgan_tf1.data.decoding import Form, form_of
from dcgan_tf1.data.readers import Images, data_errors, shorten
from dcgan_tf1.errors import DataError, UsageError
from dcgan_tf1.tensorflow_import import import_tensorflow

_PLAIN = Form()
_DOWNLOAD_TIMEOUT = 10.0  # seconds without a byte

_MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The sha256 of each of MNIST's files as it was published, unpacked."""


class Dataset(NamedTuple):
    """Images as files have them: 0 is the background, and 255 the full stroke."""

    name: str  # `mnist`, `digits`, or the name of the file or folder without its folders
    images: np.ndarray  # uint8 [N, 28, 28] or [N, 32, 32], with 3 channels behind in colour
    labels: np.ndarray | None  # integers [N]; None where the source has no labels
    digest: str
    """The sha256, in hex, that the images have as an IDX file. It is the same from every kind of file."""
    names: tuple[str, ...] | None = None
    """The names of the labels 0, 1, ...; None: labels are numbers, and have no other names."""
    files: tuple[str, ...] = ()  # the file of each image; nothing where one file holds them all
    notes: Sequence[str] = ()  # what was odd about the files, in lines
    tests: int | None = None  # how many images the test split has; None: that takes to read it

    @property
    def is_mnist(self) -> bool:
        """Whether these are MNIST's training images, or its test images."""
        return self.digest in (MNIST_SHA256[images] for images, _ in _MNIST_FILES.values())

    def classes(self) -> Classes:
        """The classes of the images, for a GAN that generates by class.

        Raises DataError if there are no labels, fewer than two classes or too many, or a class with a single image.
        """
        expected = f"expected labels of 2 to {MOST} classes"
        if self.labels is None:
            raise DataError(f"--conditional: found no labels in {shorten(self.name)}, {expected}")
        values, indices, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        found = f"--conditional: found {len(values)} class{'es' * (len(values) > 1)} in {shorten(self.name)}"
        if not 2 <= len(values) <= MOST:
            raise DataError(f"{found}, {expected}")
        if counts.min() < 2:
            lonely = shorten(self._name(values[counts.argmin()]))
            raise DataError(f"{found}, of which {lonely} has a single image, expected 2 or more of each")
        return Classes(tuple(map(self._name, values)), indices.astype(np.int32))

    def indices_of(self, other: "Dataset") -> np.ndarray:
        """The classes of the images of another split, by their places in `classes().names`: int64 [n].

        Raises DataError if it has no labels, or one that this split has not.
        """
        if self.labels is None or other.labels is None:
            raise DataError(f"--dataset: found no labels in {shorten(self.name)}, expected some")
        places = {self._name(label): place for place, label in enumerate(self.labels_in_order)}
        values, indices = np.unique(other.labels, return_inverse=True)
        names = [other._name(label) for label in values]
        strange = next((name for name in names if name not in places), None)
        if strange is not None:
            fault = f"found a test image of class {shorten(strange)}, of which there is none to train on"
            raise DataError(f"--dataset: {fault}")
        return np.array([places[name] for name in names])[indices]

    @property
    def counts(self) -> dict[str, int]:
        """The number of images of each class, by its name; nothing where there are no labels."""
        values, counts = np.unique([] if self.labels is None else self.labels, return_counts=True)
        return dict(zip(map(self._name, values), counts.tolist(), strict=True))

    @property
    def labels_in_order(self) -> np.ndarray:
        """The different labels, in ascending order; nothing where there are none."""
        return np.unique([] if self.labels is None else self.labels)

    def _name(self, label: int) -> str:
        return self.names[label] if self.names else str(label)

    def record(self, conditional: bool) -> dict[str, Any]:
        """What a checkpoint records of the data set: `name`, `digest`, the number of `images` and, for a conditional
        GAN, the `classes` by their names and the `labels_digest`. Raises DataError as `classes` does."""
        record: dict[str, Any] = {"name": self.name, "digest": self.digest, "images": len(self.images)}
        if conditional:
            names, indices = self.classes()
            record["classes"] = list(names)
            record["labels_digest"] = hashlib.sha256(indices.astype("<i4").tobytes()).hexdigest()
        return record


def check_dataset_record(record: Any, conditional: bool) -> None:
    """Raise ValueError unless `record`, read from a file, is one that `Dataset.record` could have made."""
    keys = ("name", "digest", "labels_digest") if conditional else ("name", "digest")
    good = isinstance(record, dict) and all(isinstance(record.get(key), str) for key in keys)
    if not good or not isinstance(record.get("images", 0), int):  # earlier versions did not count them
        raise ValueError("found no record of the data set")
    check_names(record.get("classes", []), conditional)


def load_for(
    config: Config, split: str = "train", announce: Callable[[str], object] = print, recorded: str = ""
) -> Dataset:
    """The data set of a run; see `load`.

    Raises DataError also if it is no longer where `recorded`, if that is not empty, says that it was.
    """
    for name, path in (("dataset", config.dataset), ("data_dir", config.data_dir)) if recorded else ():
        if os.path.isabs(path) and not os.path.exists(path):
            fault = f"found no {shorten(path, 60)!r}, which {shorten(recorded)} recorded"
            raise DataError(f"--{name}: {fault}; give its new place by this flag")
    return load(config.dataset, config.data_dir, split, announce, form_of(config), config.labels)


def load(
    dataset: str,
    data_dir: str,
    split: str = "train",
    announce: Callable[[str], object] = print,
    form: Form = _PLAIN,
    labels: str = "",
) -> Dataset:
    """The data set that `--dataset` and `--data_dir` name.

    Args:
        dataset: `mnist`; `digits`, the 1,797 scans that come with scikit-learn, all of them for training; `auto`, which
            is MNIST, or `digits` where MNIST cannot be had; otherwise a path, see `layout`.
        data_dir: the folder of MNIST's files, for `auto` and `mnist`. If it is empty, Keras's copy or download is used.
        split: `train` or `test`. A file or a folder that holds a single set of images gives it for both.
        announce: is given one line if `auto` falls back to `digits`, and lines about a folder of pictures.
        form: the images that are wanted.
        labels: the path of a file of the labels, for a path that has none.

    Raises:
        DataError: the data is missing or malformed, has no such split or not the channels that are wanted, or is called
            MNIST and is not MNIST.
        UsageError: MNIST, or scikit-learn's digits, are wanted in another form, or with other labels.
    """
    names = ("invert", "stretch", "grid", "transpose")
    changed = next((name for name in names if getattr(form, name) != getattr(_PLAIN, name)), labels and "labels")
    if changed and dataset in ("auto", "mnist", "digits"):
        known = "its digits are single, bright on black, upright and labelled already"
        raise UsageError(f"--{changed}: found with --dataset {dataset}, expected a PATH: {known}")
    found = _load(dataset, data_dir, split, announce, form, labels)
    channels = 1 if found.images.ndim == 3 else 3
    if channels != form.channels:
        images = f"the images of {shorten(found.name)} are {'grey' if channels == 1 else 'in colour'}"
        raise DataError(f"--channels: found {form.channels}, expected {channels}: {images}")
    return found


def _load(
    dataset: str, data_dir: str, split: str, announce: Callable[[str], object], form: Form, labels: str
) -> Dataset:
    """The same as `load`, in whichever channels the data is."""
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
        return _digits()
    if not os.path.exists(dataset):
        raise DataError(f"--dataset: found no {shorten(dataset, 80)!r}, expected auto, mnist, digits or a PATH")
    path = Path(dataset)
    name = path.resolve().name if path.is_dir() else path.name
    return _dataset(name, layout.read(path, split, form, announce, labels))


def _dataset(name: str, images: Images) -> Dataset:
    """A data set of `images`. Raises DataError if their labels have names that cannot be classes."""
    pixels, labels, names, files, notes, tests = images
    if labels is not None and names:
        check_each_name(names)
        if len(names) <= labels.max() or labels.min() < 0:
            raise DataError(f"{shorten(name)}: found the label {labels.max()}, expected one of {len(names)} names")
        if are_numbers(names):
            labels, names = labels_of(names)[labels], None
    return Dataset(name, pixels, labels, idx.digest(pixels), names, files, notes, tests)


def _mnist_in(folder: Path, split: str) -> Dataset:
    """MNIST from the files in `folder`."""
    with data_errors(folder, "expected a folder that can be read"):
        if not folder.is_dir():
            raise DataError("found no folder, expected one with MNIST's four IDX files or mnist.npz")
        files = {name: path for name in MNIST_SHA256 if (path := _find_idx(folder, name))}
        missing = [name for name in MNIST_SHA256 if name not in files]
        archive = folder / "mnist.npz"
        if missing and not archive.exists():
            raise DataError(f"found no {missing[0]}(.gz), expected MNIST's four IDX files or mnist.npz")
    if missing:
        return _verified_mnist(archive, split, layout.read(archive, split, _PLAIN, print))
    return _verified_mnist(folder, split, layout.read(files[_MNIST_FILES[split][0]], split, _PLAIN, print))


def _find_idx(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, plain or .gz, in either of the two spellings that are in use."""
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / (spelling + suffix) for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in paths if path.exists()), None)


def _mnist_of_keras(split: str) -> Dataset:
    """MNIST from Keras's cache or, failing that, by Keras's own loader, which also caches it."""
    cache = Path(os.environ.get("KERAS_HOME", os.path.expanduser("~/.keras")), "datasets", "mnist.npz")
    if os.path.exists(cache):
        return _verified_mnist(cache, split, layout.read(cache, split, _PLAIN, print))
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import_tensorflow()  # quietly, since Keras imports it
            import keras  # `tf.keras` would be another package under Ray, which sets TF_USE_LEGACY_KERAS

            train, test = keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises bare Exceptions
        told = str(error).rpartition(" -- ")[2] or type(error).__name__  # the address precedes the dashes
        raise DataError(f"MNIST's download: expected a network or --data_dir FOLDER; {told}") from error
    finally:
        socket.setdefaulttimeout(timeout)
    return _verified_mnist("Keras's download", split, Images(*(train if split == "train" else test)))


def _verified_mnist(source: Path | str, split: str, images: Images) -> Dataset:
    """MNIST's `split`. Raises DataError unless its images and labels are the published ones."""
    for name, array in zip(_MNIST_FILES[split], images[:2], strict=True):
        found = idx.digest(array)[:16] if array is not None else "none"
        if not MNIST_SHA256[name].startswith(found):
            fault = f"found {name} of sha256 {found}, expected {MNIST_SHA256[name][:16]}"
            raise DataError(f"{shorten(source, 80)}: {fault}; other data goes in by --dataset PATH")
    return _dataset("mnist", images)


def _digits() -> Dataset:
    """scikit-learn's 8x8 digits, enlarged to look like MNIST's: 20x20 within 28x28, with solid strokes."""
    with data_errors("--dataset digits", "expected scikit-learn and SciPy to be installed"):
        from scipy import ndimage
        from sklearn.datasets import load_digits

        scans, labels = load_digits(return_X_y=True)
        enlarge = ndimage.zoom(np.eye(8), (2.5, 1), order=3, mode="nearest", grid_mode=True)  # cubic splines are linear
        scans = enlarge @ scans.reshape(-1, 8, 8) @ enlarge.T
        # Values run from 0 to 16. The middle half is stretched to the full range, which gives about MNIST's shares of
        # black, grey and white. Enlarging alone would leave everything grey and blurred.
        strokes = np.clip((scans - 4) * 255 / 8, 0, 255).round().astype(np.uint8)
        return _dataset("digits", Images(np.pad(strokes, ((0, 0), (4, 4), (4, 4))), labels.astype(np.uint8), tests=0))
