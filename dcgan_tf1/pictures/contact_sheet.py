"""A contact sheet: some images of each class of a data set beside the names of the classes, in one picture."""

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_tf1.pictures.images import BACKGROUND, grid

_COLUMNS = 10  # images of a class; of images without classes there are as many rows
_MOST_CLASSES = 200
_SCALE = 2  # pixels of the sheet for one pixel of an image, along each axis
_MARGIN, _GAP = 16, 12  # pixels around everything, and between a name and its images
_SIZES, _GREYS, _SHIFTS = (15, 11), (235, 150), (-9, 9)  # of a name and of the line below it, which share the middle
_LONGEST = 25  # characters of a name that are shown


def contact_sheet(images: np.ndarray, classes: Mapping[str, np.ndarray]) -> np.ndarray:
    """The sheet of uint8 [N, side, side], or with 3 channels behind in colour; it has as many dimensions as an image.

    `classes` are the indices of the images of each class, by its name, or of all images by an empty name.
    """
    rows, titles = [], []
    for name, indices in list(classes.items())[:_MOST_CLASSES]:
        count = min(len(indices), _COLUMNS if name else _COLUMNS**2)
        chosen = indices[np.linspace(0, len(indices) - 1, count).astype(int)]
        rows += np.split(chosen, range(_COLUMNS, count, _COLUMNS))
        shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
        titles += [(shown, f"{len(indices)} image{'s' * (len(indices) > 1)}")] if name else [("", "")] * len(rows)
    fonts, tile = [_font(size) for size in _SIZES], (images.shape[1] + 1) * _SCALE
    lengths = [font.getlength(text) for title in titles for font, text in zip(fonts, title, strict=True)]
    indent = math.ceil(max(lengths)) + _GAP if any(lengths) else 0
    width = indent + max(map(len, rows)) * tile + _SCALE + _MARGIN
    blocks = max(1, round(math.sqrt(len(rows) * tile / width)))  # a long sheet stands in several columns
    high = math.ceil(len(rows) / blocks)
    size = _MARGIN + blocks * width, 2 * _MARGIN + high * tile + _SCALE
    sheet = Image.new("L", size, BACKGROUND).convert("L" if images.ndim == 3 else "RGB")
    draw = ImageDraw.Draw(sheet)
    for i, (row, title) in enumerate(zip(rows, titles, strict=True)):
        left, top = _MARGIN + i // high * width + indent, _MARGIN + i % high * tile
        strip = grid(images[row], len(row)).repeat(_SCALE, 0).repeat(_SCALE, 1)
        sheet.paste(Image.fromarray(strip), (left, top))
        for text, font, grey, shift in zip(title, fonts, _GREYS, _SHIFTS, strict=True):
            draw.text((left - _GAP, top + tile // 2 + shift), text, (grey,) * len(sheet.getbands()), font, "rm")
    return np.asarray(sheet)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    package = Path(importlib.util.find_spec("matplotlib").origin).parent  # type: ignore
    return ImageFont.truetype(package / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)
