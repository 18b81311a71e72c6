"""Images in colour: CIFAR-10's files, and all that a GAN of them draws; classes by their names."""

import json

import numpy as np
import pytest
from conftest import TINY, assert_error, contents, numpy_sampler, output, run, train
from PIL import Image

import dcgan_tf1
from dcgan_tf1.data import sources
from dcgan_tf1.data.decoding import Form
from dcgan_tf1.errors import DataError
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import train_classifier
from dcgan_tf1.quality.judging import open_judge
from dcgan_tf1.runs.weights import load_weights

NAMES = ["airplane", "automobile", "bird"]
COLOUR = Form(channels=3)
FLAGS = ["--channels", "3", "--conditional", "--lr_decay", "none", "--sample_every", "2", "--checkpoint_every", "2"]


def cifar(folder, count=60):
    """CIFAR-10's binary files of few images of three classes, each in a colour of its own; the images, and labels."""
    random = np.random.RandomState(0)
    labels = (np.arange(3 * count) % 3).astype(np.uint8)
    images = random.randint(0, 64, (3 * count, 32, 32, 3), np.uint8)
    images[np.arange(3 * count), :, :, labels] += 128
    records = np.concatenate([labels[:, None], images.transpose(0, 3, 1, 2).reshape(3 * count, -1)], 1)
    folder.mkdir()
    for name, part in zip(("data_batch_1", "data_batch_2", "test_batch"), np.split(records, 3), strict=True):
        (folder / f"{name}.bin").write_bytes(part.astype(np.uint8).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return images, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colour") / "cifar-10"
    cifar(folder)
    return folder


@pytest.fixture(scope="module")
def colour(data, tmp_path_factory):
    """A conditional run in colour of 4 steps. Shared: copy it before changing anything."""
    folder = tmp_path_factory.mktemp("run")
    for iterations in (2, 4):
        train(folder, iterations, "--dataset", data, *FLAGS)
    return folder


def load(path, split="train", form=COLOUR):
    return sources.load(str(path), "", split, form=form)


def test_cifar_10(tmp_path):
    images, labels = cifar(tmp_path / "cifar")
    np.savez(tmp_path / "cifar.npz", x_train=images[:120], y_train=labels[:120, None], x_test=images[120:])
    for split, part in (("train", slice(120)), ("test", slice(120, None))):
        found = load(tmp_path / "cifar", split)
        assert np.array_equal(found.images, images[part]) and np.array_equal(found.labels, labels[part])
        assert load(tmp_path / "cifar.npz", split).digest == found.digest  # as Keras's arrays are saved
    assert load(tmp_path / "cifar").classes().names == tuple(NAMES)
    same = load(tmp_path / "cifar.npz")
    assert np.array_equal(same.labels, labels[:120]) and same.classes().names == ("0", "1", "2")
    inverted = load(tmp_path / "cifar", form=COLOUR._replace(invert=True))
    assert np.array_equal(inverted.images, 255 - images[:120]) and inverted.names == tuple(NAMES)


@pytest.mark.parametrize(
    "names", [b"one\n", b"one\none\ntwo\n", b"a\nb\nc\x1b\n", b"\xff\n\xfe\n\xfd\n", b"a\nb\n" + b"c" * 150]
)
def test_names_that_do_not_fit(tmp_path, names):
    cifar(tmp_path / "cifar")
    (tmp_path / "cifar" / "batches.meta.txt").write_bytes(names)
    with pytest.raises(DataError, match="batches.meta.txt: "):
        load(tmp_path / "cifar")
    (tmp_path / "cifar" / "batches.meta.txt").write_bytes(b"\xef\xbb\xbfa red car\r\nb\r\n\r\nc")
    assert load(tmp_path / "cifar").names == ("a red car", "b", "c")


def test_channels_are_those_of_the_data(data, tmp_path):
    flags = [*TINY, "--out_dir", tmp_path]
    in_colour = run(*flags, "--dataset", data)
    assert_error(in_colour, 3, "--channels: found 1, expected 3: the images of cifar-10 are in colour")
    grey = run(*flags, "--channels", "3")
    assert_error(grey, 3, "--channels: found 3, expected 1: the images of digits are grey")
    other = run(*flags, "--channels", "3", "--model", "mlp")
    assert_error(other, 2, "--channels: found 3, expected none: only --model dcgan32 has it")
    assert_error(run(*flags, "--invert"), 2, "--invert: found with --dataset digits")


def test_snapshots_are_in_colour(colour, data):
    reals = load(data).images
    with Image.open(colour / "sample_image" / "real.png") as picture:
        assert picture.mode == "RGB"
        pixels = np.asarray(picture)[1::3, 1::3]
    for label in range(3):  # a column for each class
        assert np.array_equal(pixels[1:33, 1 + 33 * label :][:, :32], reals[label])
    refused = run("--out_dir", colour, "--channels", "1", "--iterations", "5")
    assert_error(refused, 4, "--channels: found 1, expected 3")


def test_everything_is_drawn_in_colour(colour, tmp_path):
    with dcgan_tf1.load(colour) as gan:
        assert gan.classes == tuple(NAMES)
        birds = gan.sample(5, "bird", seed=3)
        assert birds.shape == (5, 32, 32, 3) and birds.dtype == np.uint8
        assert gan.interpolate(3, 2, ("airplane", "bird"), (0, 1)).shape == (2, 3, 32, 32, 3)
        assert gan.discriminate(birds, ["bird"] * 5).shape == (5,)
        with pytest.raises(ValueError, match=r"expected uint8 \[n, 28, 28, 3\] or \[n, 32, 32, 3\]"):
            gan.discriminate(birds[..., 0], ["bird"] * 5)
    flags = ["--out_dir", colour, "--num_digits", "5", "--seed", "3", "--class", "bird"]
    for form in ("png", "grid", "npz", "idx"):
        output("generate", *flags, "--format", form, "--out", tmp_path / form)
    with Image.open(tmp_path / "png" / "bird_00003.png") as picture:
        assert np.array_equal(np.asarray(picture)[::4, ::4], birds[3])
    for form, name in (("npz", "digits.npz"), ("idx", "train-images-idx3-ubyte.gz")):
        assert np.array_equal(load(tmp_path / form / name).images, birds)
    output("interpolate", "--from", "bird", "--to", "airplane", "--out_dir", colour, "--out", tmp_path / "paths")
    with Image.open(tmp_path / "paths" / "interpolation.png") as picture:
        assert picture.mode == "RGB"
    output("animate", "--out_dir", colour, "--out", tmp_path / "film.gif")


def test_exports_in_colour(colour, tmp_path):
    with dcgan_tf1.load(colour) as gan:
        z, labels = gan.latent(6, seed=0), np.arange(6) % 3
        expected = gan.generate(z, np.array(NAMES)[labels]).astype(int)
    for form, name in (("npz", "weights.npz"), ("saved_model", "model")):
        output("export", "--format", form, "--out_dir", colour, "--out", tmp_path / name)
    sampler = numpy_sampler()
    assert abs(sampler.generate(z, *sampler.load(tmp_path / "weights.npz"), labels).astype(int) - expected).max() <= 1
    import tensorflow as tf

    drawn = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures["serving_default"](
        z=tf.constant(z), label=tf.constant(labels, tf.int32)
    )
    assert abs(drawn["images"].numpy().astype(int) - expected).max() <= 1 and drawn["pixels"].shape == (6, 32, 32, 3)
    page = run("export", "--format", "html", "--out_dir", colour, "--out", tmp_path / "page.html")
    assert_error(page, 4, "found images in colour")


@pytest.mark.slow
def test_evaluate_in_colour(colour, data, monkeypatch, tmp_path):
    monkeypatch.setattr(train_classifier, "LEAST_SHOWN", 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = output("evaluate", "--out_dir", colour, "--num_digits", "100", "--log_dir", tmp_path)
    assert "training a classifier of cifar-10 once" in out and "of 60 others" in out
    record = json.loads((tmp_path / "evaluation.json").read_text())
    assert record["classifier"] == "trained on the data set" and record["metrics"]["floor"]["label_agreement"] > 0.9
    with Image.open(tmp_path / "evaluation.png") as picture:
        assert picture.mode == "RGB"
    train_split, test_split = (load(data, split) for split in ("train", "test"))
    with open_judge(train_split, test_split) as classifier:  # from the cache
        assert classifier.classes == 3
    (path,) = (tmp_path / "cache").rglob("*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with open_judge(train_split, test_split) as classifier:  # trained again
        assert classifier.accuracy(images.fit(test_split.images, 28), test_split.labels) > 0.9


def test_without_labels_colours_are_compared_as_greys(data, tmp_path):
    np.savez(tmp_path / "data.npz", images=load(data).images)
    flags = ["--channels", "3", "--dataset", tmp_path / "data.npz", "--eval_every", "2"]
    out = train(tmp_path, 2, *flags)
    assert "note: without labels" in out and "step 2: Frechet distance" in out
    for flag in (["--digit", "3"], ["--balanced"], ["--labels", "--format", "npz"], ["--class", "bird"]):
        assert_error(run("generate", "--out_dir", tmp_path, "--out", tmp_path / "drawn", *flag), 2)
    assert "drawn" not in " ".join(contents(tmp_path))


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--class", "cat"], "--digit, --class: found 'cat', expected one of the classes airplane, automobile, bird"),
        (["--digit", "3"], "--digit, --class: found '3', expected one of the classes airplane"),
        (["--class", "bird", "--balanced"], "--balanced: found with --digit or --class"),
    ],
)
def test_classes_that_are_not_there(colour, tmp_path, flags, fault):
    assert_error(run("generate", "--out_dir", colour, "--out", tmp_path, *flags), 2, fault)


def test_names_survive_the_export(colour, tmp_path):
    path = tmp_path / "weights.npz"
    output("export", "--format", "npz", "--out_dir", colour, "--out", path)
    assert load_weights(path).dataset["classes"] == NAMES
    output("generate", "--checkpoint", path, "--class", "automobile", "--num_digits", "1", "--out", tmp_path)
    assert (tmp_path / "automobile_00000.png").exists()
