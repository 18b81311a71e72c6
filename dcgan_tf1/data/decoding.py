"""One picture file, which is not trusted, becomes an image of the size that networks take."""

import io
from typing import NamedTuple

import numpy as np

from dcgan_tf1.errors import DataError

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff")
KINDS = "PNG, JPEG, BMP, WebP, GIF or TIFF"
_SIDES = {1: 28, 3: 32}  # of the images, in pixels, by the number of channels: MNIST's in grey, CIFAR-10's in colour
_MOST_PIXELS = 1 << 25  # that a picture may have when it is decoded; a JPEG file is decoded at a smaller scale


class Form(NamedTuple):
    """What images a data set is wanted as."""

    channels: int = 1  # 1 for grey, 3 for colour
    invert: bool = False  # whether bright becomes dark, and dark bright
    skip_bad: bool = False  # whether pictures that cannot be read are passed over
    transpose: bool = False  # whether rows become columns, as the images of EMNIST need it


def image_shape(form: Form) -> tuple[int, ...]:
    """The shape of an image."""
    side = _SIDES[form.channels]
    return (side, side) if form.channels == 1 else (side, side, form.channels)


def decode(content: bytes, form: Form) -> np.ndarray:
    """A picture file's content as uint8 [28, 28], or [32, 32, 3]: turned as it was taken, its middle square, resized.

    Raises DataError: it has several frames or too many pixels. Pillow's own errors are left as they are.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        frames = getattr(image, "n_frames", 1) if image.format in ("PNG", "WEBP", "TIFF") else 1
        if frames > 1:  # a GIF's first one is shown, and that of a photograph with a preview behind it
            raise DataError(f"found {frames} frames, expected a still picture")
        side = _SIDES[form.channels]
        image.draft(None, (4 * side, 4 * side))  # a large JPEG file is decoded at an eighth, a quarter or half
        if image.width * image.height > _MOST_PIXELS:
            raise DataError(f"found {image.width}x{image.height} pixels, expected at most {_MOST_PIXELS} in all")
        ImageOps.exif_transpose(image, in_place=True)
        picture: Image.Image = image
        if picture.mode.startswith("I"):  # 16 bits
            clear = picture.info.get("transparency")  # the grey that stands for none
            levels = np.asarray(picture).clip(0, 65535)
            picture = Image.fromarray((levels / 257).round().astype(np.uint8))
            if clear is not None:
                picture.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
        if picture.has_transparency_data:
            paper = "white" if form.invert else "black"  # either becomes 0, the background
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, paper), picture)
        mode = "L" if form.channels == 1 else "RGB"
        if picture.mode != mode:
            picture = picture.convert(mode)
        if picture.size != (side, side):
            picture = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
    return 255 - pixels if form.invert else pixels
