"""NumPy's files: .npy, and .npz or folders of several arrays, of which the images and the labels are found."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dcgan_tf1.data import readers
from dcgan_tf1.data.classes import MOST, named
from dcgan_tf1.data.places import File, Place
from dcgan_tf1.data.readers import MOST_BYTES, SHAPES, DataFile, Images, check_size, shorten
from dcgan_tf1.data.splits import choose, split_of
from dcgan_tf1.errors import DataError

_NPY_HEADER_BYTES = 4096  # the longest .npy header that is read; those that NumPy writes for our arrays take 128
_FLAT: dict[tuple[int, ...], tuple[int, ...]] = {(side * side,): (side, side) for side, *_ in SHAPES}
_EXPECTED = "expected one of images [N, 28, 28] or [N, 32, 32], and 3 channels in colour"

Check = Callable[[tuple[int, ...], np.dtype], object]


class _Array(NamedTuple):
    """An array in a file, as its header describes it."""

    key: str
    shape: tuple[int, ...]
    place: Place
    file: File


def read_npy(file: DataFile, check: Check, convert: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The array in an .npy file, block by block.

    Args:
        check: is given the shape and the type before the array is read, and raises DataError if it wants no such array.
        convert: makes of each block, 1-d, what is kept of it; without it that is the numbers in the machine's order.

    Raises DataError: it is no .npy file of version 1.0 or 2.0, or has not the length that it claims.
    """
    shape, fortran_order, dtype = _read_header(file)
    check(shape, dtype)
    count = check_size(shape or (1,), dtype.itemsize, file.limit)
    content, kept, step = bytearray(), dtype, readers.BLOCK_BYTES // dtype.itemsize * dtype.itemsize
    for start in range(0, count, step):
        block = np.frombuffer(readers.read_exactly(file, min(step, count - start)), dtype)
        block = convert(block) if convert else block.astype(dtype.newbyteorder("="), copy=False)
        kept = block.dtype
        content += block.tobytes()
    if file.read(1):
        raise DataError(f"found more bytes than the {count} of shape {shorten(list(shape))}, expected no more")
    return np.frombuffer(content, kept).reshape(shape, order="F" if fortran_order else "C")


def _read_header(file: DataFile) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(io.BytesIO(file.read(np.lib.format.MAGIC_LEN)))
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"found .npy version {version}, expected 1.0 or 2.0")
    size = readers.read_exactly(file, 2 * version[0])
    length = int.from_bytes(size, "little")
    if length > _NPY_HEADER_BYTES:  # NumPy would read a header of whatever length it claims
        raise DataError(f"found an .npy header of {length} bytes, expected at most {_NPY_HEADER_BYTES}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings(action="ignore"):  # of headers of Python 2, and of what a hostile one holds
        return read(io.BytesIO(size + readers.read_exactly(file, length)))


def read(files: Sequence[tuple[str, Place, File]], split: str) -> Images:
    """The images of `split` among .npy files, each after its name, and their labels if there are any.

    Images are told by their shape, and the split by the name, as in x_test. What has no names of its own, as arr_0, is
    the training images, or labels, and then those to test on. Raises DataError where it is not clear which are meant.
    """
    arrays = []
    for key, place, file in files:
        with place.open(file) as content:
            arrays.append(_Array(key, _read_header(readers.unzipped(content))[0], place, file))
    found = [array for array in arrays if _image_shape(array.shape)]
    if not found:
        shapes = ", ".join(f"{array.key} {list(array.shape)}" for array in arrays)
        raise DataError(f"found {f'arrays {shapes:.90}' if arrays else 'no arrays'}, {_EXPECTED}")
    others = [array for array in arrays if array not in found]
    names = next((array for array in others if re.search(r"\bclasses$", array.key) and len(others) > 1), None)
    others = [array for array in others if array is not names]
    if all(re.fullmatch(r"arr_\d+", array.key) for array in arrays):
        index = min(split != "train", len(found) - 1)
        images, labels = found[index], dict(enumerate(others)).get(index)
    else:
        images = _only(choose([(split_of(array.key), array) for array in found], split), r"x|images?|imgs?|data|pixels")
        others = [array for array in others if split_of(array.key) == split_of(images.key)]
        labels = _only(others, r"y|labels?|targets?|class(es)?") if others else None
    with images.place.open(images.file) as content:
        pixels = to_images(read_npy(readers.unzipped(content), _check_images, _narrow))
    if labels is None:
        return Images(pixels)
    with labels.place.open(labels.file) as content:
        found_labels, found_names = read_labels(readers.unzipped(content))
    if names:
        with names.place.open(names.file) as content:
            found_names = tuple(read_npy(readers.unzipped(content), _check_labels).astype(str).tolist())
    return Images(pixels, found_labels, found_names)


def _only(arrays: list[_Array], words: str) -> _Array:
    """The array of images, or of labels, of a split: the only one, or the only one with one of `words` in its name."""
    some = [array for array in arrays if re.search(rf"(?<![a-z])({words})(?![a-z])", array.key.lower())]
    if len(some) != 1 < len(arrays):
        raise DataError(f"found arrays {shorten([array.key for array in arrays])}, expected one of them for each split")
    return (some or arrays)[0]


def to_images(array: np.ndarray) -> np.ndarray:
    """Numbers as uint8 [N, 28, 28] or [N, 32, 32], with 3 channels behind in colour.

    The numbers are uint8, or floats of 0 to 1, -1 to 1 or 0 to 255. The shape may be flat, [N, 784], or have a channel
    before or behind. Raises DataError if they are something else.
    """
    shape = _image_shape(array.shape)
    if shape is None:
        raise DataError(f"found shape {shorten(list(array.shape))}, {_EXPECTED}")
    if array.dtype != np.uint8:
        array = _scaled(array)
    if array.ndim == 4 and array.shape[1:] == (3, *shape[:2]):
        array = array.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(array.reshape(-1, *shape))


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of an image in an array of that shape. None: these are no images that are read."""
    inner = shape[1:]
    inner = _FLAT.get(inner, inner)
    if len(inner) == 3 and 1 in (inner[0], inner[2]):
        inner = inner[1:] if inner[0] == 1 else inner[:2]
    elif len(inner) == 3 and inner[0] == 3:
        inner = *inner[1:], 3
    return inner if inner in SHAPES else None


def _check_images(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise DataError(f"found images of {shorten(dtype)}, expected uint8, or other numbers")
    check_size(shape, dtype.itemsize, MOST_BYTES)


def _narrow(block: np.ndarray) -> np.ndarray:
    """Numbers in as few bytes as images need: uint8, and float32 of floats."""
    if block.dtype.kind == "f":
        return block.astype(np.float32)
    if block.dtype.kind == "b":
        return block * np.uint8(255)
    if block.min() < 0 or block.max() > 255:
        raise DataError(f"found pixels from {block.min()} to {block.max()}, expected integers from 0 to 255")
    return block.astype(np.uint8, copy=False)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Floats of any of the three ranges as uint8."""
    low, high = values.min(), values.max()
    shift, scale = (0, 255.0) if high <= 1 else (0, 1.0)
    if -1 <= low < 0 and high <= 1:
        shift, scale = 1, 127.5
    elif not 0 <= low <= high <= 255:  # NaN is in no range
        raise DataError(f"found pixels from {low} to {high}, expected 0 to 1, -1 to 1, or 0 to 255")
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), 1000):  # whose floats take little memory
        scaled[start : start + 1000] = ((values[start : start + 1000] + shift) * scale).round()
    return scaled


def _check_labels(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) not in (1, 2) or shape[1:] > (MOST,) or dtype.kind not in "buifUS" or not dtype.itemsize:
        raise DataError(f"found labels of {shorten(dtype)} {shorten(list(shape))}, expected integers or names, [N]")
    check_size(shape, dtype.itemsize, MOST_BYTES)


def read_labels(file: DataFile) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels in an .npy file as integers [N], and their names if any.

    There they are integers or names, [N] or [N, 1], or [N, classes] with a single 1 in each row.
    """
    array = read_npy(file, _check_labels)
    if array.ndim == 2 and array.shape[1] > 1:
        if array.dtype.kind in "US" or not (((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all()):
            raise DataError(f"found labels of shape {list(array.shape)}, expected [N], or a single 1 in each row")
        array = array.argmax(1)
    array = array.reshape(-1)
    if array.dtype.kind in "US":
        return named(array.astype(str).tolist())
    if array.dtype.kind == "f" and not (array == array.round()).all():
        raise DataError(f"found labels of {array.dtype} that are no integers, expected integers")
    return (array.astype(np.int64) if array.dtype.kind in "fb" else array), None
