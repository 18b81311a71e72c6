"""Pictures: grids, PNG and GIF files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_tf1.files import write_whole

BACKGROUND = 48
"""Grey level between the tiles of a grid: dark, so that the digits stand out, and not black, so that tiles show."""

SNAPSHOT_SCALE = 3
"""Pixels of a sample grid's file for each of the images', along each axis."""


def grid(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """uint8 [n, height, width] -> one uint8 picture, `columns` images a row, `gap` grey pixels around each."""
    count, height, width = images.shape
    rows = -(-count // columns)
    picture = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), BACKGROUND, np.uint8)
    for i, image in enumerate(images):
        top, left = (gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap))
        picture[top : top + height, left : left + width] = image
    return picture


def fit(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n, height, height] -> [n, side, side], cropped or padded with black, about the middle."""
    margin = (side - images.shape[1]) // 2
    if margin < 0:
        return images[:, -margin:margin, -margin:margin]
    return np.pad(images, [(0, 0), (margin, margin), (margin, margin)])


def png(picture: np.ndarray, scale: int = 1) -> bytes:
    """uint8 [height, width] -> a PNG file's bytes, each pixel `scale` x `scale`."""
    buffer = io.BytesIO()
    Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def save_png(path: Path, picture: np.ndarray, scale: int = 1) -> None:
    """Write uint8 [height, width] to `path`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    content = png(picture, scale)
    write_whole(path, lambda file: file.write(content))


def gif(pictures: np.ndarray, seconds: float, scale: int = 1, last: float | None = None) -> bytes:
    """uint8 [n, height, width] -> the bytes of a GIF that loops through them for ever.

    Each stands for `seconds`, and the last one for `last`, if given.
    """
    buffer = io.BytesIO()
    first, *others = (Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1)) for picture in pictures)
    durations = [round(1000 * each) for each in [seconds] * len(others) + [seconds if last is None else last]]
    first.save(buffer, "gif", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()
