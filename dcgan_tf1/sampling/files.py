"""Files of what a trained GAN generates: pictures, data sets in MNIST's formats, and paths between digits."""

import dataclasses
import math
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from dcgan_tf1.data import idx
from dcgan_tf1.data.classes import DIGITS
from dcgan_tf1.files import all_or_none
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.sampling.request import Request

if TYPE_CHECKING:
    from dcgan_tf1.sampling.trained_gan import TrainedGan

_IDX_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "classes.txt")
PATHS = ("interpolation.gif", "interpolation.png")  # what `write_paths` writes
_FRAMES_PER_STEP = 4  # of the film, for one step of the picture beside it
_FRAME_SECONDS = 0.05
_PAUSE = 10  # frames for which a film stands still at either end


def write_digits(
    gan: "TrainedGan",
    out: Path,
    format: str,
    request: Request,
    labels: bool = False,
    size: int | None = None,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Write generated digits of `size` x `size` pixels to files in `out`: all of them, or none.

    Args:
        format: `png` (a file for each digit), `grid` (one PNG), `npz` (an array `images`) or `idx` (files like
            MNIST's).
        request: which digits.
        labels: whether a data set gets labels: for each digit the place of its class, from 0, in a list of names, which
            is the array `classes`, or classes.txt beside IDX files. PNG files lie in folders of these names. The
            classes are those that a conditional GAN was asked for, or else the classifier's, which must then be sure of
            each digit.
        size: 28 or 32; None: 28, and in colour the size that the networks generate.
        scale: the pixels of a picture for each pixel of a digit.

    Raises:
        CheckpointError: the generator makes no such digits.
        OutputError: a file cannot be written, or is there already and `force` is not given.
    """
    if labels and request.min_confidence is None and not gan.classes:
        request = dataclasses.replace(request, min_confidence=MIN_CONFIDENCE)
    began = time.monotonic()
    size = size or _usual_size(gan)
    count, shape = request.n, (request.n, *gan.config.image_shape(size))
    classes = gan.classes or DIGITS
    label_type = np.uint8 if len(classes) <= 256 else np.int32
    known: list[np.ndarray] = []  # the labels of the parts so far, where they have some
    examined = 0

    def parts() -> Iterator[np.ndarray]:
        nonlocal examined
        with tqdm(total=count, unit=" digits", disable=None) as bar:
            for selection in gan.select(request):
                known.extend([] if selection.indices is None else [selection.indices.astype(label_type)])
                examined = selection.examined
                bar.update(len(selection.digits))
                yield images.fit(selection.digits, size)

    names = file_names(format, request, labels, classes)
    with all_or_none(out, names, force) as folder:
        paths = [folder / name for name in names]
        if format == "png" and labels:
            for path in paths:
                path.mkdir()
            labelled = (pair for part in parts() for pair in zip(part, known[-1], strict=True))
            for i, (picture, index) in enumerate(labelled):
                (paths[index] / f"{i:05d}.png").write_bytes(images.png(picture, scale))
            for path in (path for path in paths if not any(path.iterdir())):
                path.rmdir()
                names.remove(path.name)
        elif format == "png":
            pictures = (picture for part in parts() for picture in part)
            for path, picture in zip(paths, pictures, strict=True):
                path.write_bytes(images.png(picture, scale))
        elif format == "grid":
            tiles = np.concatenate(list(parts()))
            if request.balanced:  # class by class
                tiles = tiles[np.concatenate(known).argsort(kind="stable")]
            paths[0].write_bytes(images.png(images.grid(tiles, _columns(count)), scale))
        elif format == "npz":
            with zipfile.ZipFile(paths[0], "w", zipfile.ZIP_DEFLATED) as archive:
                _write_npy(archive, "images", shape, parts())
                if labels:
                    _write_npy(archive, "labels", (count,), known)
                    _write_npy(archive, "classes", (len(classes),), [np.array(classes)])
        else:
            idx.write_gzipped(paths[0], shape, parts())
            if labels:
                idx.write_gzipped(paths[1], (count,), known)
                paths[2].write_text("".join(f"{name}\n" for name in classes), "utf-8")
    share = f", kept of {examined} generated" if known and not gan.classes else ""
    noun = "digits" if count > 1 else "digit"
    print(f"{count} {noun}{share}, in {time.monotonic() - began:.1f} s")
    print(", ".join(str(out / name) for name in (names if len(names) < 4 else [names[0], "...", names[-1]])))


def file_names(format: str, request: Request, labels: bool, classes: Sequence[str]) -> list[str]:
    """The names of the files, or of the folders, that `write_digits` writes for a GAN of those classes."""
    prefix = "" if request.label is None else f"{_file_name(request.label)}_"
    if format == "png" and labels:
        return [re.sub(r'[/\\:*?"<>|]|^[.]|[. ]$', "-", name) for name in classes or DIGITS]
    if format == "png":
        return [f"{prefix}{i:05d}.png" for i in range(request.n)]
    return {"grid": ["digits.png"], "npz": ["digits.npz"], "idx": list(_IDX_FILES if labels else _IDX_FILES[:1])}[
        format
    ]


def write_paths(
    gan: "TrainedGan",
    out: Path,
    rows: int,
    steps: int,
    labels: tuple[str | int | None, str | int | None],
    seeds: tuple[int, int],
    size: int | None = None,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Write paths between digits to `out`.

    interpolation.png has a row for each path. interpolation.gif goes along all paths, there and back.

    For `rows`, `steps`, `labels` and `seeds` see `paths.interpolate`, for the others and what is raised `write_digits`.
    """
    with all_or_none(out, PATHS, force) as folder:
        paths = gan.interpolate((steps - 1) * _FRAMES_PER_STEP + 1, rows, labels, seeds)
        size = size or _usual_size(gan)
        shape = gan.config.image_shape(size)
        paths = images.fit(paths.reshape(-1, *paths.shape[2:]), size).reshape(rows, -1, *shape)
        film = np.stack([images.grid(frame, _columns(rows)) for frame in paths.swapaxes(0, 1)])
        film = np.concatenate([film[:1].repeat(_PAUSE, 0), film, film[-1:].repeat(_PAUSE, 0), film[::-1]])
        (folder / PATHS[0]).write_bytes(images.gif(film, _FRAME_SECONDS, scale))
        picture = images.grid(paths[:, ::_FRAMES_PER_STEP].reshape(-1, *shape), steps)
        (folder / PATHS[1]).write_bytes(images.png(picture, scale))
    print(", ".join(str(out / name) for name in PATHS))


def _usual_size(gan: "TrainedGan") -> int:
    """The size of digits where none is asked for: that of MNIST's files in grey, and all of a picture in colour."""
    return 28 if gan.config.channels == 1 else gan.config.image_size


def _file_name(label: str | int) -> str:
    """How files of a class begin: with its name, with - for what no file should be named."""
    return re.sub(r"[^\w+=-]+", "-", str(label))[:40]


def _columns(count: int) -> int:
    """The number of columns that makes a grid of `count` tiles nearly square, if possible with a full last row."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, 2 * least) if count % columns == 0), least)


def _write_npy(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write the array `name`, of `shape` and given in parts, to an .npz file."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        for i, part in enumerate(parts):
            if i == 0:
                header = {"descr": part.dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(part.tobytes())
