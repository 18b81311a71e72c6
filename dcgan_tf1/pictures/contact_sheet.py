"""A contact sheet: some images of each class of a data set beside the names of the classes, in one picture."""

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dcgan_tf1.pictures.images import BACKGROUND, grid

_SCALE = 2  # pixels of the sheet for one pixel of an image, along each axis
_MARGIN = 16  # pixels around everything
_GAP = 12  # pixels between a name and its images
_SIZES, _GREYS, _SHIFTS = (15, 11), (235, 150), (-9, 9)  # of a name and of the line below it, which share the middle
_LONGEST = 25  # characters of a name that are shown


def contact_sheet(images: np.ndarray, rows: Sequence[np.ndarray], titles: Sequence[tuple[str, str]]) -> np.ndarray:
    """The sheet of uint8 [N, side, side], or with 3 channels behind in colour; it has as many dimensions as an image.

    Args:
        rows: the indices of the images in each row, integers [n]. Many rows stand in several columns of rows.
        titles: a name, and a line below it, at the left of each row; nothing where there are no names.
    """
    fonts = [_font(size) for size in _SIZES]
    texts = [(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...", below) for name, below in titles]
    lengths = [font.getlength(text) for pair in texts for font, text in zip(fonts, pair, strict=True)]
    indent = math.ceil(max(lengths)) + _GAP if lengths else 0
    columns, tile = max(map(len, rows)), (images.shape[1] + 1) * _SCALE
    width = indent + columns * tile + _SCALE + _MARGIN
    blocks = max(1, round(math.sqrt(len(rows) * tile / width)))
    high = math.ceil(len(rows) / blocks)
    mode = "L" if images.ndim == 3 else "RGB"
    size = _MARGIN + blocks * width, 2 * _MARGIN + high * tile + _SCALE
    sheet = Image.new("L", size, BACKGROUND).convert(mode)
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(rows):
        left, top = _MARGIN + i // high * width + indent, _MARGIN + i % high * tile
        strip = grid(images[row], len(row)).repeat(_SCALE, 0).repeat(_SCALE, 1)
        sheet.paste(Image.fromarray(strip), (left, top))
        for text, font, grey, shift in zip(texts[i] if texts else (), fonts, _GREYS, _SHIFTS, strict=False):
            draw.text((left - _GAP, top + tile // 2 + shift), text, (grey,) * len(sheet.getbands()), font, "rm")
    return np.asarray(sheet)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    package = Path(importlib.util.find_spec("matplotlib").origin).parent  # type: ignore
    return ImageFont.truetype(package / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)
