"""Folders of pictures become images, or are refused in one line that names the file; the cache is only an aid."""

import gzip
import io
import json
import os
import random
import socket
import struct
import zlib

import numpy as np
import pytest
from conftest import POSIX, assert_error, at_most, run
from PIL import Image

from dcgan_tf1.data import pictures, sources
from dcgan_tf1.data.decoding import Form
from dcgan_tf1.errors import DataError, OutputError

pytestmark = pytest.mark.usefixtures("no_tensorflow")
GREYS = np.random.RandomState(0).randint(0, 256, (12, 28, 28), np.uint8)


def encoded(array, kind="png", **options):
    """`array`, or a picture, as the bytes of a file."""
    buffer = io.BytesIO()
    picture = array if isinstance(array, Image.Image) else Image.fromarray(array)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width, height, *chunks):
    """A PNG file that claims to be so large."""
    return PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + b"".join(chunks)


def flipped(content, place):
    """`content` with one byte changed."""
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


SMOOTH = Image.linear_gradient("L").resize((200, 200))
PNG, JPEG, BMP, WEBP = (encoded(SMOOTH, kind) for kind in ("png", "jpeg", "bmp", "webp"))
FRAMES = {"save_all": True, "append_images": [SMOOTH.rotate(90)]}
BOMB = zlib.compress(bytes(50_000_000), 9)
END = PNG[-12:]

BAD_FILES = {
    "empty": b"",
    "text": b"a line of text\n" * 9,
    "a web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a drawing of vectors": b'<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28"/>',
    "a program in PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\nshowpage\n",
    "a document": b"%PDF-1.7\n" + bytes(500),
    "noise": random.Random(0).randbytes(5000),
    "gzipped": gzip.compress(PNG),
    "a zip": b"PK\x03\x04" + bytes(100),
    "a TIFF of two pages": encoded(SMOOTH, "tiff", **FRAMES),
    "an icon": encoded(SMOOTH, "ico"),
    "PNG: its signature alone": PNG[:8],
    "PNG: a header alone": PNG[:33],
    "PNG: cut in half": PNG[: len(PNG) // 2],
    "PNG: a flipped byte in its header": flipped(PNG, 19),
    "PNG: a flipped byte in its pixels": flipped(PNG, len(PNG) - 40),
    "PNG: no pixels": png_of(28, 28) + END,
    "PNG: pixels of no stream": png_of(28, 28, chunk(b"IDAT", bytes(100))) + END,
    "PNG: too few pixels": png_of(28, 28, chunk(b"IDAT", zlib.compress(bytes(100)))) + END,
    "PNG: no width": png_of(0, 28, chunk(b"IDAT", zlib.compress(b""))) + END,
    "PNG: 10**10 pixels": png_of(10**5, 10**5, chunk(b"IDAT", BOMB)) + END,
    "PNG: 64 million pixels": encoded(Image.new("1", (8000, 8000))),
    "PNG: a bomb for a text": png_of(28, 28, chunk(b"zTXt", b"Comment\0\0" + BOMB)) + END,
    "PNG: animated": encoded(SMOOTH, "png", **FRAMES),
    "JPEG: its first bytes alone": JPEG[:4],
    "JPEG: cut in half": JPEG[: len(JPEG) // 2],
    "JPEG: zeros after the start": JPEG[:2] + bytes(5000),
    "JPEG: 65,535 pixels wide and high": JPEG.replace(struct.pack(">HH", 200, 200), b"\xff\xff\xff\xff", 1),
    "BMP: a header alone": BMP[:54],
    "BMP: cut in half": BMP[: len(BMP) // 2],
    "BMP: 2**31 pixels wide": BMP[:18] + struct.pack("<i", 2**31 - 1) + BMP[22:],
    "BMP: no bits in a pixel": BMP[:28] + bytes(2) + BMP[30:],
    "WebP: a header alone": WEBP[:20],
    "WebP: cut in half": WEBP[: len(WEBP) // 2],
    "WebP: animated": encoded(SMOOTH, "webp", **FRAMES),
    "WebP: a sound": b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(92),
}


def sparse(folder):
    with (folder / "bad.png").open("wb") as file:
        file.truncate(1 << 40)  # of which the disk holds nothing


def of_an_odd_name(name):
    return lambda folder: open(os.fsencode(folder) + b"/" + name, "wb").close()


def with_socket(folder):
    here = os.getcwd()
    os.chdir(folder)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("bad.png")
    finally:
        os.chdir(here)


ODD_FILES = {
    "a pipe": lambda folder: os.mkfifo(folder / "bad.png"),
    "a socket": with_socket,
    "a device": lambda folder: (folder / "bad.png").symlink_to("/dev/zero"),
    "a link to nowhere": lambda folder: (folder / "bad.png").symlink_to("nowhere"),
    "a link to itself": lambda folder: (folder / "bad.png").symlink_to("bad.png"),
    "a link to the folder": lambda folder: (folder / "bad").symlink_to("."),
    "a link to the folder above": lambda folder: (folder / "bad").symlink_to(".."),
    "a terabyte": sparse,
    "a name that is no UTF-8": of_an_odd_name(b"\xff\xfe.png"),
    "a name of two lines": of_an_odd_name(b"a\nb.png"),
    "a name of an escape": of_an_odd_name(b"\x1b[2J.png"),
}


def make(folder, *names, content=None):
    """`folder` with pictures of those names."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(encoded(GREYS[i % 12]) if content is None else content)
    return folder


ODD_FOLDERS = {
    "empty": ([], "found no picture"),
    "hidden files alone": ([".a.png", "._b.jpg"], "found no picture"),
    "other files alone": (
        ["a.heic", "b.heic", "c.txt"],
        "found no picture beside 2 other files (.heic); a.heic is a HEIC picture",
    ),
    "a hundred folders and nothing in them": (["/".join("d" * 100) + "/.keep"], "found no picture"),
    "pictures beside classes": (["a.png", "b/c.png"], "'a.png' beside the folder 'b'"),
    "a class whose name is no UTF-8": ([b"\xff/a.png", b"b/b.png"], "found a class named"),
    "a class whose name has two lines": (["a\nb/a.png", "b/b.png"], "found a class named"),
    "a class with a very long name": (["a" * 150 + "/a.png", "b/b.png"], "found a class named"),
    "half of MNIST's files": (["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"], "found no train-labels"),
    "a cut file of CIFAR-10": (["data_batch_1.bin"], "expected a multiple of 3073"),
}


NO_CLASSES = {
    "flat": (["a.png", "b.png"], "found no labels in pictures"),
    "one class": (["a/a.png", "a/b.png"], "found no labels in pictures"),
    "a lonely picture": (["cat/a.png", "cat/b.png", "dog/c.png"], "of which dog has a single image"),
}
"""What a conditional GAN cannot learn."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    """A folder of three good pictures."""
    return make(tmp_path / "pictures", "a.png", "c.png", "d.png")


def assert_refused(folder, fault, *flags):
    """A run on `folder` ends with exit code 3 and one line, soon."""
    with at_most(5, 1e9):
        assert_error(run("--dataset", folder, "--out_dir", folder.parent / "out", *flags), 3, fault)


def read(folder, *form, split="train"):
    """The pictures of `folder`, and what was announced."""
    lines = []
    return sources.load(str(folder), "", split, lines.append, Form(*form)), lines


# Hostile


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_its_name(folder, name):
    (folder / "bad.png").write_bytes(BAD_FILES[name])
    assert_refused(folder, "bad.png: ")


@POSIX
@pytest.mark.parametrize("name", ODD_FILES)
def test_what_is_no_file_is_refused_by_its_name(folder, name):
    ODD_FILES[name](folder)
    assert_refused(folder, ".png: " if "name" in name else "bad")


@POSIX
@pytest.mark.parametrize("name", [*ODD_FOLDERS, *NO_CLASSES])
def test_an_odd_folder_is_refused(tmp_path, name):
    files, fault = (ODD_FOLDERS | NO_CLASSES)[name]
    assert_refused(make(tmp_path / "pictures", *files), fault, *["--conditional"] * (name in NO_CLASSES))


CHANGES = {
    "it vanishes": lambda path: path.unlink(),
    "it grows": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "it shrinks": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "it is touched": lambda path: os.utime(path, (1, 1)),
    "a pipe takes its place": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder takes its place": lambda path: (path.unlink(), path.mkdir()),
}


@POSIX
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(folder, change, monkeypatch):
    """It changes after it was listed, just before it is opened."""
    opened = os.open

    def change_and_open(path, *arguments, **options):
        if path == folder / "c.png":
            CHANGES[change](path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", change_and_open)
    assert_refused(folder, "c.png: ")


@POSIX
def test_what_is_no_file_is_passed_over_beside_classes(tmp_path):
    folder = make(tmp_path / "pictures", "cat/a.png", "dog/b.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "cat" / "circle").symlink_to("..")
    found, lines = read(folder, 1, False, True)
    assert found.names == ("cat", "dog") and found.labels.tolist() == [0, 1]
    assert len(lines) == 1 and lines[0].startswith("passed over 2 of 4 pictures; the first: cat/circle: found a link")
    assert_refused(folder, "cat/circle: found a link")


def test_bad_files_are_passed_over_and_counted(folder):
    good, _ = read(folder)
    for i, content in enumerate(BAD_FILES.values()):
        (folder / f"bad{i:02d}.png").write_bytes(content)
    for _ in range(2):  # decoded, and from the cache
        found, lines = read(folder, 1, False, True)
        assert np.array_equal(found.images, good.images) and found.digest == good.digest
        assert len(lines) == 1 and lines[0].startswith(f"passed over {len(BAD_FILES)} of {len(BAD_FILES) + 3} pictures")
        assert "bad00.png: found " in lines[0] or "bad00.png: expected " in lines[0]
    with pytest.raises(DataError, match="bad00.png"):  # though the cache knows the others
        read(folder)
    for path in folder.glob("[a-d].png"):
        path.unlink()
    assert_refused(folder, "none that can be read", "--skip_bad")


# Pictures


def test_the_digest_and_the_labels_are_those_of_the_same_images_elsewhere(tmp_path):
    digits = sources.load("digits", "")
    some = digits._replace(images=digits.images[:50], labels=digits.labels[:50])
    for i, (image, label) in enumerate(zip(some.images, some.labels, strict=True)):
        make(tmp_path / "scans", f"{label}/{i:04d}.png", content=encoded(image))
    np.savez(tmp_path / "scans.npz", images=some.images, labels=some.labels)
    found, same = (sources.load(str(tmp_path / name), "") for name in ("scans", "scans.npz"))
    assert np.array_equal(found.images, same.images)
    assert {**found.record(True), "name": ""} == {**same.record(True), "name": ""}


def test_subfolders_are_classes_by_name(tmp_path):
    files = [".hidden/1.png", "cat/2.png", "dog/1.PNG", "dog/4.webp", "cat/deep/down/3.png", "no.txt", "dog/no.txt"]
    folder = make(tmp_path / "pictures", *files)
    found, _ = read(folder)
    assert found.names == ("cat", "dog") and found.labels.tolist() == [1, 0, 0, 1]  # by the names of the files
    flat, _ = read(folder / "cat" / "deep" / "down")
    assert flat.names is flat.labels is None
    data = sources.load(str(folder), "")
    assert data.classes().names == ("cat", "dog") and data.name == "pictures"


def test_numbers_sort_as_numbers_and_other_names_as_text(tmp_path):
    numbers, _ = read(make(tmp_path / "numbers", "10/a.png", "9/b.png"))
    padded, _ = read(make(tmp_path / "padded", "10/a.png", "09/b.png"))
    assert numbers.names is None and numbers.labels.tolist() == [10, 9]
    assert padded.names == ("09", "10") and padded.labels.tolist() == [1, 0]


def test_folders_of_splits_share_their_classes(tmp_path):
    folder = make(tmp_path / "pictures", ".git/4.png", "train/cat/1.png", "train/dog/2.png", "test/dog/3.png")
    train, test = (sources.load(str(folder), "", split) for split in ("train", "test"))
    assert train.names == test.names == ("cat", "dog") and test.labels.tolist() == [1]
    assert train.indices_of(test).tolist() == [1]
    assert all(read(folder / "train", split=split)[0].digest == train.digest for split in ("train", "test"))
    make(folder, "other/1.png")
    assert read(folder)[0].names == ("other", "test", "train")  # classes, where there is anything else


def test_splits_may_hold_pictures(tmp_path):
    folder = make(tmp_path / "pictures", "train/1.png", "train/2.png", "test/3.png")
    (folder / "README.txt").write_text("no picture")
    for split, part in (("train", slice(2)), ("test", slice(2, 3))):
        found, _ = read(folder, split=split)
        assert np.array_equal(found.images, GREYS[part]) and found.labels is found.names is None


INK = np.zeros((28, 28), np.uint8)
INK[:14, :14] = 255  # the upper left quarter
ALPHA = Image.merge("LA", [Image.fromarray(255 - INK), Image.fromarray(INK)])  # black ink on transparent paper
EXIF = Image.Exif()
EXIF[0x0112] = 6  # turn by 90 degrees clockwise to see it upright

KINDS = {
    "grey": (encoded(INK), ()),
    "one bit": (encoded(Image.fromarray(INK).convert("1")), ()),
    "palette": (encoded(Image.fromarray(INK).convert("P")), ()),
    "16 bits": (encoded(INK.astype(np.uint16) * 257), ()),
    "16 bits, transparent": (encoded(np.where(INK, INK, 128).astype(np.uint16) * 257, transparency=128 * 257), ()),
    "RGB": (encoded(Image.fromarray(INK).convert("RGB")), ()),
    "inverted": (encoded(255 - INK), (1, True)),
    "CMYK": (encoded(Image.fromarray(INK).convert("RGB").convert("CMYK"), "jpeg", quality=100), ()),
    "JPEG": (encoded(INK, "jpeg", quality=100), ()),
    "JPEG on its side": (encoded(np.rot90(INK), "jpeg", quality=100, exif=EXIF), ()),
    "a photograph with a preview": (encoded(INK, "mpo", quality=100, **FRAMES), ()),
    "BMP": (encoded(INK, "bmp"), ()),
    "WebP": (encoded(INK, "webp", lossless=True), ()),
    "white on transparent": (encoded(Image.merge("LA", [Image.fromarray(INK)] * 2)), ()),
    "black on transparent": (encoded(ALPHA), (1, True)),
    "a transparent palette": (encoded(Image.fromarray(INK).convert("P"), transparency=0), ()),
    "large": (encoded(INK.repeat(20, 0).repeat(20, 1)), ()),
    "large JPEG": (encoded(INK.repeat(64, 0).repeat(64, 1), "jpeg", quality=100), ()),
    "wide, cropped": (encoded(np.pad(INK, [(0, 0), (30, 30)])), (1, False, False, "crop")),
    "high, cropped": (encoded(np.pad(INK, [(9, 9), (0, 0)], constant_values=255)), (1, False, False, "crop")),
    "wide, padded": (encoded(np.pad(INK, [(0, 28), (0, 0)])[:28]), ()),
    "12 bits in 16, stretched": (encoded(INK.astype(np.uint16) * 16), (1, False, False, "pad", True)),
    "12 bits in 16, black on white": (encoded((255 - INK).astype(np.uint16) * 16), (1, True, False, "pad", True)),
    "black ink in the alpha channel": (encoded(ALPHA), ()),
    "white ink in the alpha channel": (encoded(Image.merge("LA", [Image.fromarray(INK)] * 2)), (1, True)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_shows_the_same(tmp_path, kind):
    content, form = KINDS[kind]
    (image,) = read(make(tmp_path / "pictures", "a.jpg", content=content), *form)[0].images
    assert image.shape == (28, 28)
    inner = np.array([2, 5, 10, 17, 22, 25])  # away from edges, which resizing blurs
    np.testing.assert_allclose(image[np.ix_(inner, inner)].astype(int), INK[np.ix_(inner, inner)], atol=4)


def test_pictures_are_resized_with_lanczos(tmp_path):
    large = Image.fromarray(np.random.RandomState(0).randint(0, 256, (80, 80), np.uint8))
    (image,) = read(make(tmp_path / "pictures", "a.png", content=encoded(large)))[0].images
    assert np.array_equal(image, large.resize((28, 28), Image.Resampling.LANCZOS))


def test_how_large_a_picture_may_be(folder):
    with (folder / "a.png").open("wb") as file:
        file.truncate((1 << 28) + 1)
    assert_refused(folder, "a.png: found 268435457 bytes, expected at most 268435456")
    (folder / "a.png").write_bytes(BAD_FILES["PNG: 64 million pixels"])
    assert_refused(folder, "a.png: found 8000x8000 pixels, expected at most 33554432 in all")
    (folder / "a.png").write_bytes(encoded(Image.new("L", (8000, 8000)), "jpeg"))
    assert len(read(folder)[0].images) == 3


def test_colours(tmp_path):
    colours = np.random.RandomState(0).randint(0, 256, (3, 32, 32, 3), np.uint8)
    for i, each in enumerate(colours):
        folder = make(tmp_path / "pictures", f"{i}.png", content=encoded(each))
    found, again = (read(folder, 3)[0] for _ in range(2))
    assert np.array_equal(found.images, colours) and np.array_equal(again.images, colours)
    np.savez(tmp_path / "same.npz", images=colours)
    assert sources.load(str(tmp_path / "same.npz"), "", form=Form(3)).digest == found.digest == again.digest
    assert read(folder)[0].images.shape == (3, 28, 28)  # in grey


@pytest.mark.parametrize(
    ("border", "paper", "form"),
    [
        (200, 200, ()),
        (np.random.RandomState(0).randint(195, 206, (112, 28)), 200, ()),  # paper has a grain
        (np.repeat([0, 250], [40, 72])[:, np.newaxis], 0, ()),  # strokes reach the border
        (np.repeat([255, 5], [40, 72])[:, np.newaxis], 255, (1, True)),
        ((250, 100, 0), (250, 100, 0), (3, False, False, "pad")),
    ],
    ids=["grey", "grain", "bright strokes", "dark strokes", "colour"],
)
def test_what_is_padded_has_the_grey_of_the_paper(tmp_path, border, paper, form):
    """A high picture becomes the middle of a square."""
    picture = np.empty((112, 28, *np.shape(paper)), np.uint8)
    picture[:] = border
    (image,) = read(make(tmp_path / "pictures", "a.png", content=encoded(picture)), *form)[0].images
    if form[1:2] == (True,):
        image = 255 - image
    sides = np.concatenate([image[:, : len(image) * 3 // 8], image[:, -len(image) * 3 // 8 :]], 1)
    assert abs(sides - np.array(paper, int)).max() <= 2


def test_a_sheet_is_cut(tmp_path):
    sheet = np.concatenate([np.concatenate(GREYS[i : i + 4], 1) for i in (0, 4, 8)])
    folder = make(tmp_path / "pictures", "a.png", "b.png", content=encoded(sheet))
    for _ in range(2):  # decoded, and from the cache
        found, lines = read(folder, 1, False, False, "pad", False, (3, 4))
        assert np.array_equal(found.images, [*GREYS, *GREYS]) and lines == []
        assert found.files == ("a.png",) * 12 + ("b.png",) * 12
    single = sources.load(str(folder / "a.png"), "", form=Form(grid=(3, 4)))
    assert np.array_equal(single.images, GREYS) and single.labels is None and single.name == "a.png"
    assert_refused(folder, "a.png: found 112x84 pixels, expected 200x1 at least", "--grid", "1x200")
    np.savez(tmp_path / "a.npz", images=GREYS)
    assert_error(run("data", tmp_path / "a.npz", "--grid", "2x2"), 3, "a.npz: found images that are apart already")


# The cache


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


SPOILT = {
    "cut short": lambda images, record: cut(images),
    "a flipped byte": lambda images, record: images.write_bytes(flipped(images.read_bytes(), 500)),
    "gone": lambda images, record: images.unlink(),
    "a folder": lambda images, record: (images.unlink(), images.mkdir()),
    "a pipe": lambda images, record: (images.unlink(), os.mkfifo(images)),
    "a record cut short": lambda images, record: cut(record),
    "a record of another version": lambda images, record: rewrite(record, format=99),
    "a record of an odd one beyond all": lambda images, record: rewrite(record, odd={"not square": [3]}),
    "a record of odd ones of no kind": lambda images, record: rewrite(record, odd=[0]),
    "a record of infinity": lambda images, record: rewrite(record, bad=[[float("inf"), "it is not liked"]]),
    "a record of one beyond all": lambda images, record: rewrite(record, bad=[[999_999, "it is not liked"]]),
    "a record of bad ones": lambda images, record: rewrite(record, bad=[[0, "it is not liked"]]),
    "a record of anything": lambda images, record: record.write_text("[1]"),
    "a pipe for a record": lambda images, record: (record.unlink(), os.mkfifo(record)),
}


@POSIX
@pytest.mark.parametrize("spoil", SPOILT)
def test_a_spoilt_cache_is_not_used(folder, cache, spoil):
    before, lines = read(folder)
    assert lines == []
    (path,) = cache.rglob("*.idx")
    SPOILT[spoil](path, path.with_suffix(".json"))
    again, lines = read(folder)
    assert np.array_equal(again.images, before.images) and again.digest == before.digest
    assert len(lines) == 1 + (spoil == "a folder") and lines[0].startswith("note: ") and "decoding again" in lines[0]
    if spoil != "a folder":  # which is not removed
        assert read(folder)[1] == []


def test_a_second_start_decodes_nothing(folder, monkeypatch):
    first, _ = read(folder)
    monkeypatch.setattr(Image, "open", None)
    second, lines = read(folder)
    assert np.array_equal(second.images, first.images) and lines == []
    with pytest.raises(DataError):  # other options have a place of their own
        read(folder, 1, True)
    path = folder / "a.png"
    before = path.stat()
    path.write_bytes(path.read_bytes())  # one of the same size and the same time of change may be another picture
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="a.png"):
        read(folder)


def test_a_fault_of_the_moment_is_not_kept(folder, monkeypatch):
    opened = os.open

    def refuse(path, *options, **names):
        if str(path).endswith("a.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *options, **names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(DataError, match="a.png: .*Permission denied"):
            read(folder)
        found, lines = read(folder, 1, False, True)
        assert len(found.images) == 2 and "passed over 1 of 3 pictures" in lines[0]
    assert len(read(folder, 1, False, True)[0].images) == 3
    assert len(read(folder)[0].images) == 3


def test_without_a_cache_it_goes_on(folder, cache, monkeypatch):
    def fail(path, write):
        raise OutputError(f"{path}: No space left on device; expected room and permission to write it")

    with monkeypatch.context() as full_disk:
        full_disk.setattr(pictures, "write_whole", fail)
        found, lines = read(folder)
    assert len(found.images) == 3 and len(lines) == 1 and "No space left" in lines[0]
    (cache / "dcgan-tf1").rename(cache.with_name("moved"))
    (cache / "dcgan-tf1").write_text("a file")
    found, lines = read(folder)
    assert len(found.images) == 3 and len(lines) == 1 and lines[0].startswith("warning: ")
    monkeypatch.setattr(pictures, "cache_folder", lambda: None)
    assert read(folder)[1] == []
