"""A film of how training went: the sample grids of a run one after another, with the step written below each."""

import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from dcgan_tf1.errors import DataError, OutputError, UsageError, reason
from dcgan_tf1.pictures.images import SNAPSHOT_SCALE, gif
from dcgan_tf1.runs.folder import closer_early

_SNAPSHOT = re.compile(r"\d{7,10}\.png")
_LARGEST_SIDE = 4096  # in pixels; a grid of 32 by 32 images has 3171
MOST_BYTES = 1 << 29  # of all frames together
_SCALE = 2
_STRIP = 36  # the height of the strip below the grid, in pixels
_LINE, _TEXT = 96, 208  # grey levels
_GREYS = 8  # digits look much the same as with 256, and the file is a third as large
_SECONDS, _LAST_SECONDS = 0.12, 3


def animate(folder: Path, suffix: str, frames: int) -> tuple[bytes, str]:
    """The bytes of a film of the sample grids in `folder`, and which are shown: a looping GIF, or ffmpeg's for .mp4.

    At most `frames` grids, 2 or more, are shown, closer together early on, when the most changes.

    Raises:
        DataError: there is no grid, or one is damaged or of another size than the ones before it.
        OutputError: ffmpeg is missing or fails.
        UsageError: so many grids of that size are too much for a film.
    """
    paths = snapshots(folder)
    chosen = closer_early(len(paths), frames)
    film: list[np.ndarray] = []
    size = None
    for i in tqdm(chosen, unit="frame", leave=False, disable=not sys.stderr.isatty()):
        picture = read_snapshot(paths[i], size)
        size = picture.size
        film.append(_frame(picture, int(paths[i].stem), int(paths[-1].stem)))
        most = MOST_BYTES // film[0].nbytes
        if len(chosen) > most:
            raise UsageError(f"--frames: found {frames}, expected at most {most} for grids as large as {paths[0]}")
        if film[-1].shape != film[0].shape:
            found, expected = ("colour", "greys") if picture.mode == "RGB" else ("greys", "colour")
            raise DataError(f"{paths[i]}: found {found}, expected {expected} as in the grid before it")
    shown = np.array(film)
    if suffix == ".mp4":
        content = _mp4(shown)
    else:
        nearest = ((np.arange(256) * (_GREYS - 1) / 255).round() * 255 / (_GREYS - 1)).round().astype(np.uint8)
        content = gif(nearest[shown] if shown.ndim == 3 else shown, _SECONDS, last=_LAST_SECONDS)
    return content, f"{len(film)} of {len(paths)} sample grids"


def snapshots(folder: Path) -> list[Path]:
    """The sample grids of a run, in the order of their steps. Raises DataError if there is none."""
    try:
        paths = [path for path in folder.iterdir() if _SNAPSHOT.fullmatch(path.name)]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; expected the sample grids of a run, see --out_dir") from error
    if not paths:
        raise DataError(f"{folder}: found no sample grid, expected those of a run (0000000.png, ...), see --out_dir")
    return sorted(paths, key=lambda path: int(path.stem))


def read_snapshot(path: Path, size: tuple[int, int] | None) -> Image.Image:
    """The picture in `path`, in greys or in colour, of `size`, (width, height), where that is given.

    Raises DataError: the file is damaged, of another size, or no sample grid.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: found a pipe, folder or device, expected a sample grid")
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=["PNG"]) as image:
            if size and image.size != size:
                found, expected = ("x".join(map(str, pixels)) for pixels in (image.size, size))
                raise DataError(f"{path}: found {found} pixels, expected {expected} as in the grid before it")
            if not SNAPSHOT_SCALE <= min(image.size) <= max(image.size) <= _LARGEST_SIDE:
                found = "x".join(map(str, image.size))
                raise DataError(f"{path}: found {found} pixels, expected a sample grid, at most {_LARGEST_SIDE} wide")
            return image.convert("RGB" if image.mode == "RGB" else "L")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a PNG cut short
        raise DataError(f"{path}: damaged ({reason(error)}); remove it, or restore it") from error


def _frame(picture: Image.Image, step: int, last: int) -> np.ndarray:
    """A frame: the picture, a bar for the part of `last` steps that is done, and the number of the step."""
    middle = SNAPSHOT_SCALE // 2
    pixels = np.asarray(picture)[middle::SNAPSHOT_SCALE, middle::SNAPSHOT_SCALE]
    pixels = pixels.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    height, width = pixels.shape[:2]
    frame = Image.fromarray(np.pad(pixels, [(0, _STRIP), (0, 0), (0, 0)][: pixels.ndim]))
    draw = ImageDraw.Draw(frame)
    line, text = ((grey,) * len(frame.getbands()) for grey in (_LINE, _TEXT))
    draw.rectangle((0, height, width * step // max(last, 1), height + 2), line)
    draw.text((8, height + _STRIP // 2 + 1), f"step {step:,}", text, ImageFont.load_default(20), anchor="lm")
    return np.asarray(frame)


def _mp4(film: np.ndarray) -> bytes:
    """The bytes of an MP4 file of uint8 [n, height, width], or [n, height, width, 3], that every player can show."""
    height, width = film.shape[1:3]
    film = np.concatenate([film, film[-1:].repeat(round(_LAST_SECONDS / _SECONDS), axis=0)])
    with tempfile.TemporaryDirectory() as folder:  # ffmpeg seeks in its output, which a pipe cannot do
        path = Path(folder) / "film.mp4"
        pixels = "gray" if film.ndim == 3 else "rgb24"
        taken = f"-f rawvideo -pix_fmt {pixels} -s {width}x{height} -r {1 / _SECONDS} -i -"
        command = f"ffmpeg -v error {taken} -pix_fmt yuv420p -movflags +faststart".split()
        try:
            subprocess.run([*command, str(path)], input=film.tobytes(), capture_output=True, check=True)
        except FileNotFoundError as error:
            raise OutputError("--out: found no ffmpeg, which .mp4 needs; install it, or name a .gif") from error
        except subprocess.CalledProcessError as error:
            raise OutputError(f"ffmpeg: {error.stderr.decode(errors='replace')}; expected it to write MP4") from error
        return path.read_bytes()
