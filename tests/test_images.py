"""Grids by hand, PNG files as another library reads them, and files that are written whole or not at all."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from dcgan_tf1.errors import OutputError
from dcgan_tf1.files import make_folder, write_whole
from dcgan_tf1.pictures.images import BACKGROUND, grid, png, save_png

B = BACKGROUND
PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def test_grid_by_hand():
    tiles = np.array([[[1, 2]], [[3, 4]], [[5, 6]]], np.uint8)  # three of 1x2
    assert grid(tiles, 2).tolist() == [
        [B, B, B, B, B, B, B],
        [B, 1, 2, B, 3, 4, B],
        [B, B, B, B, B, B, B],
        [B, 5, 6, B, B, B, B],
        [B, B, B, B, B, B, B],
    ]
    assert grid(tiles, 2).dtype == np.uint8
    assert grid(tiles, 3, gap=0).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert grid(tiles, 1, gap=0).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert grid(tiles[:1], 1, gap=2).tolist() == [[B] * 6] * 2 + [[B, B, 1, 2, B, B]] + [[B] * 6] * 2


@pytest.mark.parametrize("scale", [1, 3])
def test_png_round_trip(scale):
    content = png(PICTURE, scale)
    assert content == png(PICTURE, scale)
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.mode) == ("PNG", "L")
    assert np.array_equal(np.asarray(image), np.kron(PICTURE, np.ones((scale, scale), np.uint8)))


def test_save_png_replaces(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    save_png(path, PICTURE, scale=2)
    assert path.read_bytes() == png(PICTURE, 2)
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing):
    """Nothing is seen of the new one before it is whole."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    def write(file):
        file.write(b"new" * 10**5)
        file.flush()
        assert path.read_bytes() == b"old"
        if failing == "write":
            fail()

    if failing != "write":
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutputError, match="a: No space left on device; expected room"):
        write_whole(path, write)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_write_whole_into_no_folder(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        write_whole(tmp_path / "nowhere" / "a", lambda file: None)


def test_make_folder(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="expected a folder that can be written"):
            make_folder(path)
