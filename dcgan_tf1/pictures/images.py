"""Grids, PNG and GIF files of grey images, uint8 [..., height, width], or of colour, [..., height, width, 3]."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_tf1.files import write_whole

BACKGROUND = 48  # grey between the tiles of a grid: dark, so that digits stand out, but not black, so that tiles show
SNAPSHOT_SCALE = 3  # how many pixels of a sample grid's file stand for one pixel of an image, along each axis


def grid(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """One picture of uint8 [n, height, width], with `columns` images in a row and `gap` grey pixels around each."""
    count, height, width, *channels = images.shape
    rows = -(-count // columns)
    picture = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, *channels), BACKGROUND, np.uint8)
    for i, image in enumerate(images):
        top, left = (gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap))
        picture[top : top + height, left : left + width] = image
    return picture


def tiles(snapshot: Image.Image, side: int) -> np.ndarray:
    """The images of a sample grid in grey as `grid` and `save_png` make it: uint8 [rows, columns, side, side].

    Raises ValueError if it has no whole number of them.
    """
    middle = SNAPSHOT_SCALE // 2
    picture = np.asarray(snapshot)[middle::SNAPSHOT_SCALE, middle::SNAPSHOT_SCALE]
    rows, columns = (length // (side + 1) for length in picture.shape)
    parts = picture[1:, 1:].reshape(rows, side + 1, columns, side + 1).swapaxes(1, 2)
    return parts[:, :, :side, :side]


def fit(images: np.ndarray, side: int) -> np.ndarray:
    """Crop uint8 [n, height, height] to [n, side, side], or pad it with black, equally on all sides."""
    margin = (side - images.shape[1]) // 2
    if margin < 0:
        return images[:, -margin:margin, -margin:margin]
    return np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)][: images.ndim])


def png(picture: np.ndarray, scale: int = 1) -> bytes:
    """The bytes of a PNG file of uint8 [height, width], with `scale` x `scale` pixels for each."""
    buffer = io.BytesIO()
    Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)).save(buffer, "png")
    return buffer.getvalue()


def save_png(path: Path, picture: np.ndarray, scale: int = 1) -> None:
    """Write uint8 [height, width] to the PNG file `path`, whole or not at all. Raises OutputError if it cannot."""
    write_whole(path, png(picture, scale))


def gif(pictures: np.ndarray, seconds: float, scale: int = 1, last: float | None = None) -> bytes:
    """The bytes of a GIF that shows the pictures uint8 [n, height, width] again and again.

    Each is shown for `seconds`; the last one for `last` seconds, if that is given.
    """
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)) for picture in pictures)
    durations = [round(1000 * each) for each in [seconds] * len(others) + [seconds if last is None else last]]
    first.save(buffer, "gif", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()
