"""What a trained GAN draws, as files: pictures, data sets that readers of MNIST read, and ways between digits."""

import gzip
import math
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
from dcgan_tf1.sampling.trained_gan import TrainedGan

_IDX = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_LEVEL = 6
"""Of deflate: what gzip does unasked."""
_FRAMES = 4
"""Of a film, for each step of the picture beside it."""
_FRAME_SECONDS = 0.05
_PAUSE = 10
"""Frames for which a film stands still at either end."""


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
    size: int = 28,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Draw `count` digits of `size` x `size` pixels to files in `out`: all of them, or none.

    Args:
        form: `png` (a file a digit), `grid` (one PNG), `npz` (arrays `images` and `labels`) or `idx` (as MNIST's).
        seed, digit, balanced, min_confidence: see `TrainedGan.select`.
        labels: whether a data set gets labels; the classifier, whose they are, must be sure of each.
        scale: pixels of a picture for each of a digit's.

    Raises:
        CheckpointError: the generator draws no such digits.
        OutputError: a file cannot be written, or is there already and `force` is not given.
    """
    if labels and min_confidence is None:
        min_confidence = MIN_CONFIDENCE
    began = time.monotonic()
    found, drawn = [], 0

    def digits() -> Iterator[np.ndarray]:
        nonlocal drawn
        with tqdm(total=count, unit=" digits", disable=None) as bar:
            for kept in gan.select(count, seed, digit, balanced, min_confidence):
                found.append(kept.labels)
                drawn = kept.drawn
                bar.update(len(kept.digits))
                yield images.fit(kept.digits, size)

    prefix = "" if digit is None else f"{digit}_"
    names = {
        "png": [f"{prefix}{i:05d}.png" for i in range(count)] if form == "png" else [],
        "grid": ["digits.png"],
        "npz": ["digits.npz"],
        "idx": list(_IDX[: 1 + labels]),
    }[form]
    with all_or_none(out, names, force) as folder:
        paths = [folder / name for name in names]
        if form == "png":
            for path, picture in zip(paths, (picture for part in digits() for picture in part), strict=True):
                path.write_bytes(images.png(picture, scale))
        elif form == "grid":
            tiles = np.concatenate(list(digits()))
            if balanced:  # class by class
                tiles = tiles[np.concatenate(found).argsort(kind="stable")]
            picture = images.grid(tiles, _columns(count))
            paths[0].write_bytes(images.png(picture, scale))
        elif form == "npz":
            _write_npz(paths[0], (count, size, size), digits(), found if labels else None)
        else:
            for path, shape, parts in zip(paths, ((count, size, size), (count,)), (digits(), found), strict=False):
                _write_idx(path, shape, parts)
    share = "" if found[0] is None else f", kept of {drawn} drawn"
    print(f"{count} digit{'s' * (count > 1)}{share}, in {time.monotonic() - began:.1f} s")
    print(", ".join(str(out / name) for name in (names if len(names) < 3 else [names[0], "...", names[-1]])))


def draw_paths(
    gan: TrainedGan,
    out: Path,
    rows: int,
    steps: int,
    digits: tuple[int | None, int | None],
    seeds: tuple[int, int],
    size: int = 28,
    scale: int = 4,
    force: bool = False,
) -> None:
    """Write interpolation.png, a path a row, and interpolation.gif, which goes all paths there and back, to `out`.

    Args:
        rows, steps, digits, seeds: see `TrainedGan.interpolate`.
        size, scale, force: see `draw_digits`.

    Raises:
        CheckpointError: the generator does not draw one of `digits`.
        OutputError: as for `draw_digits`.
    """
    names = ["interpolation.gif", "interpolation.png"]
    with all_or_none(out, names, force) as folder:
        drawn = gan.interpolate((steps - 1) * _FRAMES + 1, rows, digits, seeds)
        drawn = images.fit(drawn.reshape(-1, *drawn.shape[2:]), size).reshape(rows, -1, size, size)
        film = np.stack([images.grid(frame, _columns(rows)) for frame in drawn.swapaxes(0, 1)])
        film = np.concatenate([film[:1].repeat(_PAUSE, 0), film, film[-1:].repeat(_PAUSE, 0), film[::-1]])
        (folder / names[0]).write_bytes(images.gif(film, _FRAME_SECONDS, scale))
        picture = images.grid(drawn[:, ::_FRAMES].reshape(-1, size, size), steps)
        (folder / names[1]).write_bytes(images.png(picture, scale))
    print(", ".join(str(out / name) for name in names))


def _columns(count: int) -> int:
    """How many columns make a grid of `count` tiles near to a square, with no row unfinished if that can be."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in range(least, 2 * least) if count % columns == 0), least)


def _write_npz(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], labels: Sequence[np.ndarray] | None
) -> None:
    """Write uint8 arrays `images`, of `shape` and in `parts`, and `labels`, whose parts are there once those are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, size, content in (("images", shape, parts), ("labels", shape[:1], labels)):
            if content is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    header = {"descr": "|u1", "fortran_order": False, "shape": size}
                    np.lib.format.write_array_header_1_0(file, header)
                    for part in content:
                        file.write(part.tobytes())


def _write_idx(path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write uint8 `parts`, of `shape` together, as MNIST's files are: big-endian sizes, then the bytes, gzipped."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
        file.write(struct.pack(f">HBB{len(shape)}I", 0, 0x08, len(shape), *shape))
        for part in parts:
            file.write(part.tobytes())
