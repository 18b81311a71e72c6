"""Files of what a trained GAN draws: pictures, data sets in MNIST's formats, and paths between digits."""

import gzip
import math
import re
import struct
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dcgan_tf1.files import all_or_none
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.sampling.trained_gan import Selection, TrainedGan

_IDX_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_DEFLATE_LEVEL = 6
"""The compression level of the files of data sets, which is gzip's own default."""
_FRAMES_PER_STEP = 4
"""How many frames of the film stand for one step of the picture beside it."""
_FRAME_SECONDS = 0.05
_PAUSE = 10
"""The number of frames for which a film stands still at either end."""


def draw_digits(
    gan: TrainedGan,
    out: Path,
    form: str,
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
    """Draw `count` digits of `size` x `size` pixels to files in `out`: all of them, or none.

    Args:
        size: 28 or 32; None: 28, and in colour the size that the networks draw.
        form: `png` (a file for each digit), `grid` (one PNG), `npz` (arrays `images` and `labels`) or `idx` (files like
            MNIST's).
        seed, digit, balanced, min_confidence: see `TrainedGan.select`.
        labels: whether a data set gets labels. They are those that a conditional GAN was asked for, or else the
            classifier's, which must then be sure of each digit.
        scale: the pixels of a picture for each pixel of a digit.

    Raises:
        CheckpointError: the generator draws no such digits.
        OutputError: a file cannot be written, or is there already and `force` is not given.
    """
    if labels and min_confidence is None and not gan.classes:
        min_confidence = MIN_CONFIDENCE
    began = time.monotonic()
    size = size or _usual_size(gan)
    drawing = _Drawing(gan.select(count, seed, digit, balanced, min_confidence), count, size)
    prefix = "" if digit is None else f"{_file_name(gan, digit)}_"
    names = {
        "png": [f"{prefix}{i:05d}.png" for i in range(count)] if form == "png" else [],
        "grid": ["digits.png"],
        "npz": ["digits.npz"],
        "idx": list(_IDX_FILES if labels else _IDX_FILES[:1]),
    }[form]
    with all_or_none(out, names, force) as folder:
        paths = [folder / name for name in names]
        if form == "png":
            pictures = (picture for part in drawing.parts() for picture in part)
            for path, picture in zip(paths, pictures, strict=True):
                path.write_bytes(images.png(picture, scale))
        elif form == "grid":
            tiles = np.concatenate(list(drawing.parts()))
            if balanced:  # class by class
                tiles = tiles[np.concatenate(drawing.labels).argsort(kind="stable")]
            paths[0].write_bytes(images.png(images.grid(tiles, _columns(count)), scale))
        elif form == "npz":
            _write_npz(
                paths[0], (count, *gan.config.image_shape(size)), drawing.parts(), drawing.labels if labels else None
            )
        else:
            _write_idx(paths[0], (count, *gan.config.image_shape(size)), drawing.parts())
            if labels:
                _write_idx(paths[1], (count,), drawing.labels)
    share = f", kept of {drawing.drawn} drawn" if drawing.labels and not gan.classes else ""
    noun = "digits" if count > 1 else "digit"
    print(f"{count} {noun}{share}, in {time.monotonic() - began:.1f} s")
    print(", ".join(str(out / name) for name in (names if len(names) < 3 else [names[0], "...", names[-1]])))


class _Drawing:
    """Digits as they are selected, shown by a progress bar, and what is known of those that were."""

    def __init__(self, selections: Iterator[Selection], count: int, size: int) -> None:
        self._selections, self._count, self._size = selections, count, size
        self.labels: list[np.ndarray] = []
        """The labels of the parts so far, or nothing where there are none."""
        self.drawn = 0
        """How many digits were drawn so far, the unwanted ones included."""

    def parts(self) -> Iterator[np.ndarray]:
        """The digits part by part, uint8 [n, size, size], with 3 channels behind in colour."""
        with tqdm(total=self._count, unit=" digits", disable=None) as bar:
            for selection in self._selections:
                if selection.labels is not None:
                    self.labels.append(selection.labels)
                self.drawn = selection.drawn
                bar.update(len(selection.digits))
                yield images.fit(selection.digits, self._size)


def draw_paths(
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

    Args:
        rows, steps, digits, seeds: see `TrainedGan.interpolate`.
        size, scale, force: see `draw_digits`.

    Raises:
        CheckpointError: the generator does not draw one of `digits`.
        OutputError: as for `draw_digits`.
    """
    names = ["interpolation.gif", "interpolation.png"]
    with all_or_none(out, names, force) as folder:
        drawn = gan.interpolate((steps - 1) * _FRAMES_PER_STEP + 1, rows, digits, seeds)
        size = size or _usual_size(gan)
        shape = gan.config.image_shape(size)
        drawn = images.fit(drawn.reshape(-1, *drawn.shape[2:]), size).reshape(rows, -1, *shape)
        film = np.stack([images.grid(frame, _columns(rows)) for frame in drawn.swapaxes(0, 1)])
        film = np.concatenate([film[:1].repeat(_PAUSE, 0), film, film[-1:].repeat(_PAUSE, 0), film[::-1]])
        (folder / names[0]).write_bytes(images.gif(film, _FRAME_SECONDS, scale))
        picture = images.grid(drawn[:, ::_FRAMES_PER_STEP].reshape(-1, *shape), steps)
        (folder / names[1]).write_bytes(images.png(picture, scale))
    print(", ".join(str(out / name) for name in names))


def _usual_size(gan: TrainedGan) -> int:
    """The size of digits where none is asked for: that of MNIST's files in grey, and all of a picture in colour."""
    return 28 if gan.config.channels == 1 else gan.config.image_size


def _file_name(gan: TrainedGan, label: int) -> str:
    """How files of the class `label` begin: with its label, or its name without what no file should be named."""
    if not gan.classes or str(label) in gan.classes:
        return str(label)
    return re.sub(r"\W+", "-", gan.classes[label])[:40]


def _columns(count: int) -> int:
    """The number of columns that makes a grid of `count` tiles nearly square, if possible with a full last row."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, 2 * least) if count % columns == 0), least)


def _write_npz(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], labels: Sequence[np.ndarray] | None
) -> None:
    """Write the arrays `images`, of `shape` and given in parts, and `labels`, which are known after them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as archive:
        for name, size, content in (("images", shape, parts), ("labels", shape[:1], labels)):
            if content is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    for i, part in enumerate(content):
                        if i == 0:
                            header = {"descr": part.dtype.str, "fortran_order": False, "shape": size}
                            np.lib.format.write_array_header_1_0(file, header)
                        file.write(part.tobytes())


def _write_idx(path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write an array of `shape`, given in parts, like MNIST's files: big-endian sizes, then the values, gzipped.

    The values are uint8; labels beyond 255 are int32.
    """
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _DEFLATE_LEVEL, raw, mtime=0) as file:
        for i, part in enumerate(parts):
            if i == 0:
                code = 0x08 if part.dtype == np.uint8 else 0x0C
                file.write(struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape))
            file.write(part.astype(part.dtype.newbyteorder(">")).tobytes())
