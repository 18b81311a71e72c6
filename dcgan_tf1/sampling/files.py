"""Files of what a trained GAN generates: pictures, data sets in MNIST's formats, and paths between digits."""

import math
import re
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dcgan_tf1.data import idx
from dcgan_tf1.data.classes import are_numbers
from dcgan_tf1.files import all_or_none
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.sampling.trained_gan import TrainedGan

_IDX_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_FRAMES_PER_STEP = 4  # of the film, for one step of the picture beside it
_FRAME_SECONDS = 0.05
_PAUSE = 10  # frames for which a film stands still at either end


def write_digits(
    gan: TrainedGan,
    out: Path,
    format: str,
    count: int,
    seed: int,
    digit: int | None = None,
    balanced: bool = False,
    labels: bool = False,
    min_confidence: float | None = None,
    size: int | None = None,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Write `count` generated digits of `size` x `size` pixels to files in `out`: all of them, or none.

    Args:
        size: 28 or 32; None: 28, and in colour the size that the networks generate.
        format: `png` (a file for each digit), `grid` (one PNG), `npz` (arrays `images` and `labels`) or `idx` (files
            like MNIST's).
        seed, digit, balanced, min_confidence: see `TrainedGan.select`.
        labels: whether a data set gets labels. They are those that a conditional GAN was asked for, or else the
            classifier's, which must then be sure of each digit.
        scale: the pixels of a picture for each pixel of a digit.

    Raises:
        CheckpointError: the generator makes no such digits.
        OutputError: a file cannot be written, or is there already and `force` is not given.
    """
    if labels and min_confidence is None and not gan.classes:
        min_confidence = MIN_CONFIDENCE
    began = time.monotonic()
    size = size or _usual_size(gan)
    shape = (count, *gan.config.image_shape(size))
    known: list[np.ndarray] = []  # the labels of the parts so far, where they have some
    examined = 0

    def parts() -> Iterator[np.ndarray]:
        nonlocal examined
        with tqdm(total=count, unit=" digits", disable=None) as bar:
            for selection in gan.select(count, seed, digit, balanced, min_confidence):
                known.extend([] if selection.labels is None else [selection.labels])
                examined = selection.examined
                bar.update(len(selection.digits))
                yield images.fit(selection.digits, size)

    prefix = "" if digit is None else f"{_file_name(gan, digit)}_"
    names = {
        "png": [f"{prefix}{i:05d}.png" for i in range(count)] if format == "png" else [],
        "grid": ["digits.png"],
        "npz": ["digits.npz"],
        "idx": list(_IDX_FILES if labels else _IDX_FILES[:1]),
    }[format]
    with all_or_none(out, names, force) as folder:
        paths = [folder / name for name in names]
        if format == "png":
            pictures = (picture for part in parts() for picture in part)
            for path, picture in zip(paths, pictures, strict=True):
                path.write_bytes(images.png(picture, scale))
        elif format == "grid":
            tiles = np.concatenate(list(parts()))
            if balanced:  # class by class
                tiles = tiles[np.concatenate(known).argsort(kind="stable")]
            paths[0].write_bytes(images.png(images.grid(tiles, _columns(count)), scale))
        elif format == "npz":
            with zipfile.ZipFile(paths[0], "w", zipfile.ZIP_DEFLATED) as archive:
                _write_npy(archive, "images", shape, parts())
                if labels:
                    _write_npy(archive, "labels", (count,), known)
        else:
            idx.write_gzipped(paths[0], shape, parts())
            if labels:
                idx.write_gzipped(paths[1], (count,), known)
    share = f", kept of {examined} generated" if known and not gan.classes else ""
    noun = "digits" if count > 1 else "digit"
    print(f"{count} {noun}{share}, in {time.monotonic() - began:.1f} s")
    print(", ".join(str(out / name) for name in (names if len(names) < 3 else [names[0], "...", names[-1]])))


def write_paths(
    gan: TrainedGan,
    out: Path,
    rows: int,
    steps: int,
    digits: tuple[int | None, int | None],
    seeds: tuple[int, int],
    size: int | None = None,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Write paths between digits to `out`.

    interpolation.png has a row for each path. interpolation.gif goes along all paths, there and back.

    For `rows`, `steps`, `digits` and `seeds` see `paths.interpolate`, for the others and what is raised `write_digits`.
    """
    names = ["interpolation.gif", "interpolation.png"]
    with all_or_none(out, names, force) as folder:
        paths = gan.interpolate((steps - 1) * _FRAMES_PER_STEP + 1, rows, digits, seeds)
        size = size or _usual_size(gan)
        shape = gan.config.image_shape(size)
        paths = images.fit(paths.reshape(-1, *paths.shape[2:]), size).reshape(rows, -1, *shape)
        film = np.stack([images.grid(frame, _columns(rows)) for frame in paths.swapaxes(0, 1)])
        film = np.concatenate([film[:1].repeat(_PAUSE, 0), film, film[-1:].repeat(_PAUSE, 0), film[::-1]])
        (folder / names[0]).write_bytes(images.gif(film, _FRAME_SECONDS, scale))
        picture = images.grid(paths[:, ::_FRAMES_PER_STEP].reshape(-1, *shape), steps)
        (folder / names[1]).write_bytes(images.png(picture, scale))
    print(", ".join(str(out / name) for name in names))


def _usual_size(gan: TrainedGan) -> int:
    """The size of digits where none is asked for: that of MNIST's files in grey, and all of a picture in colour."""
    return 28 if gan.config.channels == 1 else gan.config.image_size


def _file_name(gan: TrainedGan, label: int) -> str:
    """How files of the class `label` begin: with its label, or its name, with - for what no file should be named."""
    if not gan.classes or are_numbers(gan.classes):
        return str(label)
    return re.sub(r"[^\w+=-]+", "-", gan.classes[label])[:40]


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
