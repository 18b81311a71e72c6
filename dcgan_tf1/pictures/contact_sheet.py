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
_TEXT, _GREY = 15, 230  # the size and the grey of a name
_LONGEST = 25  # characters of a name that are shown


def contact_sheet(images: np.ndarray, classes: Mapping[str, np.ndarray]) -> np.ndarray:
    """The sheet of uint8 [N, side, side], or with 3 channels behind in colour; it has as many dimensions as an image.

    `classes` are the indices of the images of each class, by its name, or of all images by an empty name.
    """
    package = Path(importlib.util.find_spec("matplotlib").origin).parent  # type: ignore
    font = ImageFont.truetype(package / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", _TEXT)
    rows: list[tuple[str, np.ndarray]] = []
    for name, indices in list(classes.items())[:_MOST_CLASSES]:
        count = min(len(indices), _COLUMNS if name else _COLUMNS**2)
        chosen = indices[np.linspace(0, len(indices) - 1, count).astype(int)]
        shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
        rows += [(shown, chosen[i : i + _COLUMNS]) for i in range(0, count, _COLUMNS)]
    tile, longest = (images.shape[1] + 1) * _SCALE, max(font.getlength(name) for name, _ in rows)
    indent = math.ceil(longest) + _GAP if longest else 0
    width = indent + max(len(row) for _, row in rows) * tile + _SCALE + _MARGIN
    blocks = max(1, round(math.sqrt(len(rows) * tile / width)))  # many rows stand in several columns
    high = math.ceil(len(rows) / blocks)
    size = _MARGIN + blocks * width, 2 * _MARGIN + high * tile + _SCALE
    sheet = Image.new("L", size, BACKGROUND).convert("L" if images.ndim == 3 else "RGB")
    draw = ImageDraw.Draw(sheet)
    for i, (name, row) in enumerate(rows):
        left, top = _MARGIN + i // high * width + indent, _MARGIN + i % high * tile
        sheet.paste(Image.fromarray(grid(images[row], len(row)).repeat(_SCALE, 0).repeat(_SCALE, 1)), (left, top))
        draw.text((left - _GAP, top + tile // 2), name, (_GREY,) * len(sheet.getbands()), font, "rm")
    return np.asarray(sheet)
