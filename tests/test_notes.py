"""`run.py data`: what was understood of a data set is said in lines, and shown; nothing is said of what is usual."""

import numpy as np
import pytest
from conftest import MNIST_DIR, assert_error, needs_mnist, output, run
from PIL import Image

pytestmark = pytest.mark.usefixtures("no_tensorflow")

INK = np.zeros((80, 28, 28), np.uint8)
INK[:, 8:20, 12:16] = 250
PAPER = 255 - INK
GREY = INK // 2 + 60
HALF = np.concatenate([INK[:40], PAPER[:40]])
BLANK = np.concatenate([INK[:70], INK[:10] * 0])


def mixed(folder):
    """Pictures of which a class has none that can be read, beside others."""
    for i, name in enumerate(["0/a.png", "0/b.png", "1/c.png", "7/d.xcf", "7/e.xcf", "1/f.txt"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x") if i > 2 else Image.fromarray(INK[0]).save(path)


def of(pictures):
    """What makes a folder of those pictures."""

    def make(folder):
        folder.mkdir()
        for i, picture in enumerate(pictures):
            (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(folder / f"{i:02d}.png")

    return make


def arrays(images, **others):
    """What makes an .npz file of those images."""
    return lambda path: np.savez(path.with_suffix(".npz"), images=images, **others)


ALPHA = Image.merge("LA", [Image.new("L", (28, 28)), Image.fromarray(INK[0])])
MANY = np.arange(80) // 2 + 100
HINT = "a sheet of many digits is cut by --grid ROWSxCOLUMNS"
SHEET = np.concatenate(INK[:4])

CASES = {
    "nothing": (arrays(INK), "", ["80 images without labels"]),
    "classes": (
        arrays(INK, labels=np.arange(80) % 3),
        "",
        ["80 images of 3 classes", "classes: 0 (27), 1 (27), 2 (26)"],
    ),
    "splits": (
        lambda path: np.savez(path.with_suffix(".npz"), x_train=INK, x_test=PAPER[:7]),
        "",
        ["80 images without labels; 7 test images"],
    ),
    "many classes": (
        arrays(INK, labels=MANY),
        "",
        [
            "80 images of 40 classes",
            f"classes: {', '.join(f'{i} (2)' for i in range(100, 114))}, ..., 139 (2)",
            "note: less than 10 images: 40 of 40 classes, "
            f"{', '.join(f'{i} (2)' for i in range(100, 114))}, ..., 139 (2)",
        ],
    ),
    "other files": (
        mixed,
        "",
        [
            "3 images of 2 classes",
            "classes: 0 (2), 1 (1)",
            "note: passed over 3 files, .xcf (2), .txt (1), the first 1/f.txt; no picture is in 7",
            "note: less than 10 images: 2 of 2 classes, 0 (2), 1 (1)",
            f"note: fewer images than a batch of 64: a batch has 3; {HINT}",
        ],
    ),
    "not square": (
        of([*INK[:69], INK[0][:, 4:24]]),
        "",
        [
            "70 images without labels",
            "note: not square: 1 of 70 pictures, the first 69.png; they are filled up with the grey of their borders; "
            "--fit crop cuts them",
        ],
    ),
    "cut": (
        of([*INK[:69], INK[0][:, 4:24]]),
        "--fit crop",
        [
            "70 images without labels",
            "note: not square: 1 of 70 pictures, the first 69.png; what is outside the square in their middle is cut "
            "off; --fit pad keeps it",
        ],
    ),
    "alpha": (
        of([ALPHA] * 70),
        "",
        [
            "70 images without labels",
            "note: ink in the alpha channel alone: 70 of 70 pictures, the first 00.png; it is taken for the picture",
        ],
    ),
    "a sheet": (
        of([SHEET]),
        "",
        [
            "1 image without labels",
            "note: not square: 1 of 1 pictures, the first 00.png; they are filled up with the grey of their borders; "
            "--fit crop cuts them",
            f"note: fewer images than a batch of 64: a batch has 1; {HINT}",
        ],
    ),
    "a sheet, cut": (
        of([SHEET] * 20),
        "--grid 4x1",
        ["80 images without labels"],
    ),
    "blank": (
        of(BLANK),
        "",
        ["80 images without labels", "note: of a single grey: 10 of 80 images, the first 70.png"],
    ),
    "dark": (
        arrays(INK // 10),
        "",
        [
            "80 images without labels",
            "note: nearly black: 80 of 80 images, the first image 0; no pixel reaches 32 of 255; --stretch makes the "
            "brightest ones white",
        ],
    ),
    "dark, stretched": (arrays(INK // 250), "--stretch", ["80 images without labels"]),
    "white paper": (
        arrays(PAPER),
        "",
        [
            "80 images without labels",
            "note: the borders of the images are bright, 100% of white; for dark ink on white paper, start with "
            "--invert",
        ],
    ),
    "white paper, inverted": (arrays(PAPER), "--invert", ["80 images without labels"]),
    "black paper, inverted": (
        arrays(INK),
        "--invert",
        ["80 images without labels", "note: the borders of the images are bright, 100% of white; leave out --invert"],
    ),
    "grey paper": (
        arrays(GREY),
        "",
        [
            "80 images without labels",
            "note: the borders of the images are grey, 24% of white, and black is expected; --stretch makes the "
            "darkest pixels black",
        ],
    ),
    "grey paper, stretched": (arrays(GREY), "--stretch", ["80 images without labels"]),
    "both": (
        arrays(HALF),
        "",
        [
            "80 images without labels",
            "note: bright at the border: 40 of 80 images, the first image 40; 40 are dark there; dark ink on white "
            "must be inverted",
        ],
    ),
    "colours": (arrays(np.stack([PAPER] * 3, 3)), "--channels 3", ["80 images without labels"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said(tmp_path, case):
    make, flags, lines = CASES[case]
    make(tmp_path / "mine")
    (path,) = tmp_path.iterdir()
    about, *others = lines
    for _ in range(2):  # what a cache knows is said again
        told = output("data", path, *flags.split(), "--out", tmp_path / "sheet.png", "--force").splitlines()
        assert told == [f"data: {path.name}, {about}", *others, str(tmp_path / "sheet.png")]
    assert all(len(line) <= 200 for line in others)


def test_nothing_is_said_of_scans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "note" not in output("data", "digits")


@needs_mnist
def test_nothing_is_said_of_mnist(tmp_path):
    first, second, _ = output("data", "mnist", "--data_dir", MNIST_DIR, "--out", tmp_path / "a.png").splitlines()
    assert first == "data: mnist, 60000 images of 10 classes; 10000 test images"
    assert second.startswith("classes: 0 (5923), 1 (6742), ")


def test_the_contact_sheet(tmp_path, monkeypatch):
    """Ten images of each class, as the networks see them, in rows."""
    monkeypatch.chdir(tmp_path)
    images = np.random.RandomState(0).randint(0, 256, (30, 28, 28), np.uint8)
    np.savez("mine.npz", images=images, labels=np.repeat([4, 7], [25, 5]))
    for _ in range(2):  # the sheet without a name of its own is replaced
        output("data", "mine.npz")
    sheet = np.asarray(Image.open("contact_sheet.png"))
    shown = {
        image.tobytes()
        for image in np.lib.stride_tricks.sliding_window_view(sheet[::2, ::2], (28, 28)).reshape(-1, 28, 28)
    }
    chosen = [*np.linspace(0, 24, 10).astype(int), *range(25, 30)]
    assert [i for i in range(30) if images[i].tobytes() in shown] == chosen
    assert_error(run("data", "mine.npz", "--out", "contact_sheet.png"), 5, "contact_sheet.png", "--force")
    for count, name in ((1, "a" * 99), (250, "ok")):  # a long name, and more classes than are shown
        for i in range(count * 2):
            path = tmp_path / f"{count}" / f"{name}{i // 2}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[i % 30]).save(path)
        output("data", f"{count}")
        assert max(Image.open("contact_sheet.png").size) < 5000
