"""One picture file, which is not trusted, becomes one or more images of the size that networks take."""

import io
import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dcgan_tf1.config import Config
from dcgan_tf1.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff")
KINDS = "PNG, JPEG, BMP, WebP, GIF or TIFF"
EXPECTED = f"expected a whole {KINDS} picture"
_SIDES = {1: 28, 3: 32}  # of the images, in pixels, by the number of channels: MNIST's in grey, CIFAR-10's in colour
_CONTRAST = 16  # levels of 256 that greys of one paper or one ink are apart at most
_MOST_PIXELS = 1 << 25  # that a picture may have when it is decoded; a JPEG file is decoded at a smaller scale

NOT_SQUARE = "not square"  # a picture that was padded or cropped
IN_ALPHA = "ink in the alpha channel alone"  # one whose alpha channel was taken for the picture
ODD = (NOT_SQUARE, IN_ALPHA)


class Form(NamedTuple):
    """What images a data set is wanted as; each field is the setting of its name."""

    channels: int = 1  # 1 for grey, 3 for colour
    invert: bool = False  # whether bright becomes dark, and dark bright
    skip_bad: bool = False  # whether pictures that cannot be read are passed over
    fit: str = "pad"  # what becomes of a picture that is not square: `pad` or `crop`
    stretch: bool = False  # whether the greys of each image are stretched from black to white
    grid: tuple[int, int] = (1, 1)  # the rows and columns that a picture is cut into
    transpose: bool = False  # whether rows become columns, as the images of EMNIST need it


def form_of(config: Config) -> Form:
    """The images that the settings of a run ask for."""
    return Form(**{name: getattr(config, name) for name in Form._fields})


def image_shape(form: Form) -> tuple[int, ...]:
    """The shape of an image."""
    side = _SIDES[form.channels]
    return (side, side) if form.channels == 1 else (side, side, form.channels)


def decode(content: bytes, form: Form) -> tuple[np.ndarray, set[str]]:
    """A picture file's content as images: turned as it was taken, cut, made square and resized.

    Returns uint8 [n, 28, 28] or [n, 32, 32, 3], as many as `form.grid` has parts, row by row; and which of ODD it
    was.

    Raises DataError: it is no picture, or has several frames or too many pixels. Pillow's own errors stay as they are.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        opened = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(f"found {len(content)} bytes of another kind, {EXPECTED}") from error
    with opened as image:
        frames = getattr(image, "n_frames", 1) if image.format in ("PNG", "WEBP", "TIFF") else 1
        if frames > 1:  # a GIF's first one is shown, and that of a photograph with a preview behind it
            raise DataError(f"found {frames} frames, expected a still picture")
        (rows, columns), side = form.grid, _SIDES[form.channels]
        large = 4 * side * max(rows, columns)
        image.draft(None, (large, large))  # a large JPEG file is decoded at an eighth, a quarter or half
        if image.width * image.height > _MOST_PIXELS:
            raise DataError(f"found {image.width}x{image.height} pixels, expected at most {_MOST_PIXELS} in all")
        ImageOps.exif_transpose(image, in_place=True)
        picture, in_alpha = _opaque(image, form)
        parts = [picture] if rows == columns == 1 else _cut(picture, rows, columns)
        not_square = any(abs(part.width - part.height) > (len(parts) > 1) for part in parts)
        pixels = np.stack([np.asarray(_square(part, side, form)) for part in parts])
    odd = {name for name, is_so in ((NOT_SQUARE, not_square), (IN_ALPHA, in_alpha)) if is_so}
    return 255 - pixels if form.invert else pixels, odd


def _cut(picture: "Image.Image", rows: int, columns: int) -> list["Image.Image"]:
    """The parts of a picture, row by row, which differ by a pixel at most. Raises DataError if some would be empty."""
    width, height = picture.size
    if width < columns or height < rows:
        raise DataError(f"found {width}x{height} pixels, expected {columns}x{rows} at least")
    tops, lefts = ([i * n // count for i in range(count + 1)] for n, count in ((height, rows), (width, columns)))
    boxes = itertools.product(itertools.pairwise(tops), itertools.pairwise(lefts))
    return [picture.crop((left, top, right, bottom)) for (top, bottom), (left, right) in boxes]


def stretched(image: np.ndarray) -> np.ndarray:
    """An image, uint8 of any shape, whose darkest pixel becomes 0 and its brightest 255; one of one grey stays."""
    low, high = int(image.min()), int(image.max())
    return image if low == high else ((image - low) * (255 / (high - low))).round().astype(np.uint8)


def _opaque(picture: "Image.Image", form: Form) -> tuple["Image.Image", bool]:
    """A picture in grey or in colour, without transparency, and whether its ink was in the alpha channel alone."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits
        clear = picture.info.get("transparency")  # the grey that stands for none
        levels = np.asarray(picture).clip(0, 65535)
        low, high = (int(levels.min()), int(levels.max())) if form.stretch else (0, 65535)
        picture = Image.fromarray(((levels - low) * (255 / max(1, high - low))).round().astype(np.uint8))
        if clear is not None:
            picture.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    in_alpha = False
    if picture.has_transparency_data:
        ink, paper = ("black", "white") if form.invert else ("white", "black")  # the paper becomes 0, the background
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, paper), picture)
        in_alpha = bool(np.ptp(np.asarray(picture.convert("L"))) < _CONTRAST <= np.ptp(np.asarray(alpha)))
        if in_alpha:
            picture = Image.composite(Image.new("L", picture.size, ink), Image.new("L", picture.size, paper), alpha)
    mode = "L" if form.channels == 1 else "RGB"
    return picture if picture.mode == mode else picture.convert(mode), in_alpha


def _square(picture: "Image.Image", side: int, form: Form) -> "Image.Image":
    """A picture in grey or in colour as a square of `side` pixels, resized by Lanczos's filter."""
    from PIL import Image, ImageOps

    if form.stretch:
        picture = Image.fromarray(stretched(np.asarray(picture)))
    if picture.size == (side, side):
        return picture
    if form.fit == "crop" or picture.width == picture.height:
        return ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
    width, height = (max(1, round(side * length / max(picture.size))) for length in picture.size)
    square = Image.new(picture.mode, (side, side), _paper(np.asarray(picture), form))
    square.paste(picture.resize((width, height), Image.Resampling.LANCZOS), ((side - width) // 2, (side - height) // 2))
    return square


def _paper(pixels: np.ndarray, form: Form) -> int | tuple[int, ...]:
    """The grey or the colour of the border of an image, where strokes may touch it or be cut off.

    In grey it is the darkest that is frequent, or the brightest where dark ink on white paper is announced.
    """
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    levels = border if form.channels == 1 else border.mean(1)
    share = 50 if form.channels > 1 else 90 if form.invert else 10
    paper = np.median(border[abs(levels - np.percentile(levels, share)) <= _CONTRAST], 0)
    return int(paper) if form.channels == 1 else tuple(map(int, paper))
