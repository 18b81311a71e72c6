"""Grids by hand, PNG files as Pillow reads them, and the film of a run, or why there is none to make."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from conftest import POSIX, STEPS, assert_error, contents, output, run
from PIL import Image

from dcgan_tf1.pictures import film
from dcgan_tf1.pictures.images import BACKGROUND, SNAPSHOT_SCALE, grid, png, save_png

SIDE = 34  # of a grid of one image
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


def frames(path):
    """uint8 [n, height, width], the levels of red, green and blue alike, and each frame's milliseconds."""
    pictures, durations = [], []
    with Image.open(path) as film:
        for i in range(film.n_frames):
            film.seek(i)
            rgb = np.asarray(film.convert("RGB"))
            assert (rgb == rgb[..., :1]).all()
            pictures.append(rgb[..., 0])
            durations.append(film.info["duration"])
    return np.array(pictures), durations


def snapshots(folder, steps):
    """A grid for each step, whose first row of pixels spells the step in binary."""
    folder.mkdir(exist_ok=True)
    for step in steps:
        picture = np.zeros((SIDE, SIDE), np.uint8)
        picture[0] = [255 * (step >> bit & 1) for bit in range(SIDE)]
        save_png(folder / f"{step:07d}.png", picture, SNAPSHOT_SCALE)
    return folder


def spelled(pictures):
    return [sum(int(level == 255) << bit for bit, level in enumerate(picture[0, ::2])) for picture in pictures]


def test_film_of_a_run(finished_copy):
    path = finished_copy / "sample_image" / "training.gif"
    out = output("animate", "--out_dir", finished_copy)
    assert out == f"{path}: 21 of 21 sample grids, {path.stat().st_size / 1024:.0f} KiB\n"
    pictures, durations = frames(path)
    assert durations == [120] * 20 + [3000]
    with Image.open(path) as film:
        assert film.info["loop"] == 0 and film.size == (530, 566)
    strips = set()
    for step, picture in zip(range(0, STEPS + 1, 10), pictures, strict=True):
        with Image.open(finished_copy / "sample_image" / f"{step:07d}.png") as image:
            grid = np.asarray(image)[::3, ::3].repeat(2, axis=0).repeat(2, axis=1)
        assert np.abs(picture[:530].astype(int) - grid).max() <= 19  # half a step of 8 greys
        strips.add(picture[530:].tobytes())
    assert len(strips) == 21  # each has its step
    assert path.stat().st_size < 21 * 30_000


def test_long_runs_are_told_in_few_frames(tmp_path):
    steps = [1000 * i for i in range(151)]
    snapshots(tmp_path, steps)
    save_png(tmp_path / "real.png", np.zeros((5, 5), np.uint8))  # no frame, nor are these
    (tmp_path / "note.png").write_bytes(b"")
    output("animate", "--sample_dir", tmp_path)
    shown = spelled(frames(tmp_path / "training.gif")[0])
    gaps = np.diff(shown)
    assert len(shown) == 40 and set(shown) <= set(steps)
    assert shown[:4] == [0, 1000, 2000, 3000] and shown[-1] == 150_000
    assert gaps[-5:].min() > gaps[:5].max()
    for count in (2, 100, 150, 151, 200):
        output("animate", "--sample_dir", tmp_path, "--frames", count, "--force")
        shown = spelled(frames(tmp_path / "training.gif")[0])
        assert len(shown) == min(count, 151) and (np.diff(shown) > 0).all()
        assert (shown[0], shown[-1]) == (0, 150_000)


@pytest.mark.parametrize("steps", [[0], [10_000_000, 9_999_999]])
def test_frames_come_in_the_order_of_their_steps(tmp_path, steps):
    path = tmp_path / "new" / "a.gif"
    output("animate", "--sample_dir", snapshots(tmp_path, steps), "--out", path)
    assert spelled(frames(path)[0]) == sorted(steps)


def test_a_film_of_too_many_large_grids_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(film, "MOST_BYTES", 3 * 68 * 104 + 1)
    snapshots(tmp_path, range(9))
    assert_error(run("animate", "--sample_dir", tmp_path), 2, "--frames: found 40, expected at most 3", out="")
    output("animate", "--sample_dir", tmp_path, "--frames", 3)


def test_nothing_is_replaced_unless_by_force(tmp_path):
    path = snapshots(tmp_path, [0, 1]) / "training.gif"
    path.write_bytes(b"mine")
    assert_error(run("animate", "--sample_dir", tmp_path), 5, str(path)[:60], "--force", out="")
    assert path.read_bytes() == b"mine"
    output("animate", "--sample_dir", tmp_path, "--force")
    assert path.read_bytes()[:6] == b"GIF89a"


def bomb(path, side):
    """A PNG that says that it is of `side` by `side` pixels."""
    parts = [b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND"]
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no picture"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "a changed byte": lambda path: path.write_bytes(path.read_bytes()[:45] + b"?" + path.read_bytes()[46:]),
    "another format": lambda path: Image.new("L", (102, 102)).save(path, "gif"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "colour": lambda path: save_png(path, np.zeros((SIDE, SIDE, 3), np.uint8), SNAPSHOT_SCALE),
    "another size": lambda path: save_png(path, np.zeros((SIDE, SIDE + 1), np.uint8), SNAPSHOT_SCALE),
    "a speck": lambda path: save_png(path, np.zeros((1, 1), np.uint8)),
    "too large": lambda path: bomb(path, 4098),
    "beyond Pillow's first limit": lambda path: bomb(path, 10_000),
    "beyond Pillow's second limit": lambda path: bomb(path, 60_000),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damage", [pytest.param(each, marks=[POSIX] * (each == "a pipe")) for each in DAMAGE])
@pytest.mark.parametrize("name", ["0000000.png", "0000002.png"])
def test_damaged_grids_are_named(tmp_path, damage, name):
    snapshots(tmp_path, range(4))
    DAMAGE[damage](tmp_path / name)
    if damage in ("another size", "colour") and name == "0000000.png":
        name = "0000001.png"  # the first is the measure
    before = os.listdir(tmp_path)
    assert_error(run("animate", "--sample_dir", tmp_path, "--out", tmp_path / "new" / "a.gif"), 3, name, out="")
    assert os.listdir(tmp_path) == before


def test_no_run(tmp_path):
    assert_error(run("animate", "--out_dir", tmp_path / "nowhere"), 3, "No such file", "--out_dir", out="")
    (tmp_path / "sample_image").mkdir()
    save_png(tmp_path / "sample_image" / "real.png", np.zeros((SIDE, SIDE), np.uint8), SNAPSHOT_SCALE)
    assert_error(run("animate", "--out_dir", tmp_path), 3, "found no sample grid", out="")
    assert os.listdir(tmp_path / "sample_image") == ["real.png"]


def test_mp4_is_ffmpegs(tmp_path, monkeypatch):
    snapshots(tmp_path / "grids", range(3))
    ffmpeg = tmp_path / "ffmpeg"
    ffmpeg.write_text('#!/bin/sh\nfor last; do :; done\n/bin/cat > "$last"\n')
    ffmpeg.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    animate = ["animate", "--sample_dir", tmp_path / "grids", "--out"]
    output(*animate, tmp_path / "a.mp4")
    pictures = np.frombuffer((tmp_path / "a.mp4").read_bytes(), np.uint8).reshape(-1, 2 * SIDE + 36, 2 * SIDE)
    assert spelled(pictures) == [0, 1] + [2] * 26  # 3 seconds of 120 milliseconds a frame, once more

    before = contents(tmp_path)
    ffmpeg.write_text("#!/bin/sh\necho no encoder >&2\nexit 1\n")
    assert_error(run(*animate, tmp_path / "b.mp4"), 5, "no encoder", out="")
    monkeypatch.setenv("PATH", str(tmp_path / "grids"))
    assert_error(run(*animate, tmp_path / "b.mp4"), 5, "found no ffmpeg", out="")
    assert contents(tmp_path).keys() == before.keys()
