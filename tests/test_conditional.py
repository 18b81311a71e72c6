"""GANs that generate and judge by class: their data, their graph, their runs, and what is made with them."""

import gzip
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import TINY, assert_error, contents, idx, open_session, output, remove_checkpoints, run, train, weights
from PIL import Image

import dcgan_tf1
from dcgan_tf1.config import Config
from dcgan_tf1.data import draws, sources
from dcgan_tf1.data.classes import labels_of
from dcgan_tf1.data.sources import Dataset, check_dataset_record
from dcgan_tf1.errors import DataError
from dcgan_tf1.networks import layers
from dcgan_tf1.sampling.request import Request
from dcgan_tf1.training.graph import build_gan

v1 = tf.compat.v1
FAMILIES = {
    "dcgan32": {"g_channels": (16, 8), "d_channels": (4, 8)},
    "reference": {"preset": "reference", "g_channels": (16, 8, 8, 8), "d_channels": (4, 8)},
    "dcgan28": {"model": "dcgan28", "g_channels": (16, 8), "d_channels": (4, 8)},
    "mlp": {"model": "mlp"},
}


def dataset(labels, name="mine"):
    labels = np.asarray(labels)
    return Dataset(name, np.zeros((len(labels), 28, 28), np.uint8), labels, "0" * 64)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A tiny conditional run of scikit-learn's digits. Shared: copy it before changing anything."""
    folder = tmp_path_factory.mktemp("conditional")
    train(folder, 20, "--conditional", "--checkpoint_every", "10", "--eval_every", "20")
    return folder


@pytest.fixture(scope="module")
def gan(conditional):
    with dcgan_tf1.load(conditional) as opened:
        yield opened


# Data


def test_classes_are_the_labels_in_order():
    names, indices = dataset([7, 3, 3, 7, 12, 12]).classes()
    assert names == ("3", "7", "12") and indices.dtype == np.int32
    assert indices.tolist() == [1, 0, 0, 1, 2, 2]
    assert labels_of(names).tolist() == [3, 7, 12] and labels_of(names).dtype == np.uint8
    assert labels_of(("0", "300")).tolist() == [0, 300] and labels_of(("0", "300")).dtype == np.int32
    assert labels_of(("cat", "7")).tolist() == [0, 1] == labels_of(("1", "9" * 10)).tolist()
    assert labels_of(()).tolist() == []


@pytest.mark.parametrize(
    ("labels", "found"),
    {
        "none": (None, "found no labels in mine, expected labels of 2 to 1000 classes"),
        "one": ([4, 4, 4], "found 1 class in mine, expected labels of 2"),
        "many": (np.repeat(np.arange(1001), 2), "found 1001 classes in mine"),
        "alone": ([1, 1, 5, 2, 2], "of which 5 has a single image"),
    }.values(),
)
def test_what_a_conditional_gan_cannot_learn_is_refused(labels, found):
    data = dataset([0])._replace(labels=None) if labels is None else dataset(labels)
    with pytest.raises(DataError, match=found) as refused:
        data.classes()
    assert str(refused.value).startswith("--conditional: ")
    assert data.record(conditional=False) == {"name": "mine", "digest": "0" * 64, "images": len(data.images)}


NO_CLASSES = (["0"], ["0", "0"], [0, 1], "01", [str(n) for n in range(1001)], ["0", "1" * 101])
NO_RECORD = [*({"classes": classes} for classes in NO_CLASSES), {"labels_digest": 5}, {"name": None}, {"images": "4"}]


@pytest.mark.parametrize("change", NO_RECORD, ids=lambda change: str(change)[:40])
def test_a_record_of_no_data_set_is_refused(change):
    good = dataset([0, 0, 1, 1]).record(conditional=True)
    check_dataset_record(good, conditional=True)
    with pytest.raises(ValueError, match="found"):
        check_dataset_record({**good, **change}, conditional=True)
    with pytest.raises(ValueError, match="2 classes"):
        check_dataset_record(good, conditional=False)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_of_idx_files_has_both_splits_and_labels(tmp_path, dtype, zipped):
    digits = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    labels = np.arange(12, dtype=dtype) % 3
    labels = labels if dtype == "uint8" else labels + 300
    for split, part in (("train", slice(8)), ("t10k", slice(8, None))):
        for name, array in (("images-idx3", digits), ("labels-idx1", labels)):
            content = idx(array[part])
            path = tmp_path / (f"{split}-{name}-ubyte" + ".gz" * zipped)
            path.write_bytes(gzip.compress(content) if zipped else content)
    for split, part in (("train", slice(8)), ("test", slice(8, None))):
        data = sources.load(str(tmp_path), "", split)
        assert data.name == tmp_path.name and np.array_equal(data.images, digits[part])
        assert np.array_equal(data.labels, labels[part]) and data.labels.dtype == labels.dtype.newbyteorder("=")


def test_labels_of_an_npz_file_may_be_any_integers(tmp_path):
    digits = np.zeros((6, 28, 28), np.uint8)
    labels = np.array([-1, -1, 5, 5, 70000, 70000])
    np.savez(tmp_path / "data.npz", images=digits, labels=labels)
    assert sources.load(str(tmp_path / "data.npz"), "").classes().names == ("-1", "5", "70000")


# Graph


@pytest.mark.parametrize("name", FAMILIES)
def test_both_networks_know_the_class(name):
    """The same z gives other images of another class, and the same image other logits, in training and in inference."""
    config = Config(**FAMILIES[name], batch_size=4)
    gan = build_gan(config, classes=3)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 28, 28), np.uint8)
    z = np.repeat(draws.latent(0, draws.Stream.TRAIN, 0, (1, config.z_dim)), 3, 0)
    with open_session(gan, config) as sess:
        sess.run(gan.init_op)
        batch = {gan.images: images, gan.z: draws.latent(0, draws.Stream.TRAIN, 0, (4, config.z_dim))}
        for step in range(12):
            sess.run(gan.train_op, {**batch, gan.labels: (np.arange(4) + step) % 3})
        losses = [sess.run(gan.metrics, {**batch, gan.labels: labels}) for labels in ([0, 0, 0, 0], [1, 1, 1, 1])]
        digits = sess.run(gan.samples, {gan.sample_z: z, gan.sample_labels: [0, 1, 0]})
    assert losses[0]["d_loss_real"] != losses[1]["d_loss_real"]
    assert np.array_equal(digits[0], digits[2]) and not np.array_equal(digits[0], digits[1])


@pytest.mark.parametrize("scale", [False, True])
def test_batch_norm_by_class(scale):
    classes = np.eye(3, dtype=np.float32)[[2, 0]]
    random = np.random.default_rng(0)
    x = random.normal(1, 3, (2, 5, 4, 4)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as sess:
        plain = layers.batch_norm(tf.constant(x), layers.ForwardPass(True), "layer", scale=scale)
        with v1.variable_scope("", reuse=v1.AUTO_REUSE):
            trained = layers.batch_norm(tf.constant(x), layers.ForwardPass(True), "layer", classes, scale)
            drawn = layers.batch_norm(tf.constant(x), layers.ForwardPass(False), "layer", classes, scale)
        names = {variable.op.name: variable for variable in v1.global_variables()}
        sess.run(v1.global_variables_initializer())
        assert np.array_equal(*sess.run([plain, trained]))  # at first all classes are alike
        values = {name: random.uniform(0.5, 2, variable.shape) for name, variable in names.items()}
        sess.run([variable.assign(values[name]) for name, variable in names.items()])
        found = sess.run([trained, drawn])
    mean, variance, beta = (values[f"layer/{each}"] for each in ("moving_mean", "moving_variance", "beta"))
    gamma = values["layer/gamma"] if scale else 1
    class_scale, class_offset = (values[f"layer/class_{each}/kernel"][[2, 0]] for each in ("scale", "offset"))
    statistics = [(x.mean((0, 1, 2)), x.var((0, 1, 2))), (mean, variance)]
    for y, (mean, variance) in zip(found, statistics, strict=True):
        normed = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
        assert np.allclose(y, normed * (1 + class_scale[:, None, None]) + class_offset[:, None, None], atol=1e-4)


def test_layers_by_hand():
    classes = np.eye(3, dtype=np.float32)[[2, 0]]
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 6)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as sess:
        joined = layers.with_classes(features, classes)
        logits = layers.judge(tf.constant(features), classes, "verdict")
        names = {variable.op.name: variable for variable in v1.global_variables()}
        sess.run(v1.global_variables_initializer())
        assert np.array_equal(sess.run(joined), np.concatenate([features, classes], 1))
        values = {name: random.normal(size=variable.shape) for name, variable in names.items()}
        sess.run([variable.assign(values[name]) for name, variable in names.items()])
        weight = values["verdict/kernel"][:, 0] + values["projection/kernel"][[2, 0]]
        expected = (features * weight).sum(1, keepdims=True) + values["verdict/bias"]
        assert np.allclose(sess.run(logits), expected, atol=1e-5)


# Runs


def test_a_resume_is_exact(conditional, tmp_path):
    shutil.copytree(conditional, tmp_path, dirs_exist_ok=True)
    remove_checkpoints(tmp_path, 20)  # as if it had been stopped at step 10
    assert "resumed at step 10 of 20" in train(tmp_path, 20)  # it knows by itself that it is conditional
    assert weights(tmp_path, 20) == weights(conditional, 20)
    for name in ("0000000.png", "0000020.png", "real.png"):
        assert (tmp_path / "sample_image" / name).read_bytes() == (conditional / "sample_image" / name).read_bytes()
    line = "learning rates: they fall to zero at step 21 now, and no longer at step 20"
    assert line in train(tmp_path, 21, "--lr_decay", "linear")


def test_snapshots_have_a_column_for_each_class(conditional):
    digits = sources.load("digits", "")
    reals = np.asarray(Image.open(conditional / "sample_image" / "real.png"))[::3, ::3]
    assert reals.shape == (8 * 33 + 1, 10 * 33 + 1)
    for column in range(10):
        members = digits.images[digits.labels == column]
        for row in range(8):
            tile = reals[1 + 33 * row :, 1 + 33 * column :][:32, :32]
            assert np.array_equal(tile[2:-2, 2:-2], members[row])
    assert np.asarray(Image.open(conditional / "sample_image" / "0000020.png")).shape == (3 * 265, 3 * 331)


def test_labels_are_part_of_the_data_set(tmp_path):
    digits = sources.load("digits", "")
    np.savez(tmp_path / "data.npz", images=digits.images, labels=digits.labels)
    flags = ["--dataset", tmp_path / "data.npz", "--conditional"]
    train(tmp_path / "run", 2, *flags)
    before = contents(tmp_path / "run")
    np.savez(tmp_path / "data.npz", images=digits.images, labels=9 - digits.labels)
    assert_error(run(*TINY, *flags, "--out_dir", tmp_path / "run", "--iterations", 4), 4, "labels_digest")
    assert contents(tmp_path / "run") == before


# Generating


def test_a_class_is_generated_directly(gan):
    z = gan.latent(1200, 5)
    sevens = gan.sample(1200, label=7, seed=5)
    assert np.array_equal(sevens, gan.generate(z, np.full(1200, 7)))
    assert np.array_equal(gan.sample(3, label=7, seed=5), sevens[:3])
    assert not np.array_equal(sevens, gan.sample(1200, label=8, seed=5))


def test_any_class_is_generated_in_turns(gan):
    parts = list(gan.select(Request(1203, seed=2)))
    assert [part.examined for part in parts] == [500, 1000, 1203]
    labels = np.concatenate([part.indices for part in parts])
    assert np.array_equal(labels, np.arange(1203) % 10)
    digits = np.concatenate([part.digits for part in parts])
    assert np.array_equal(digits, gan.generate(gan.latent(1203, 2), labels))
    balanced = np.concatenate([part.digits for part in gan.select(Request(1203, seed=2, balanced=True))])
    assert np.array_equal(balanced, digits) and np.array_equal(gan.sample(1203, seed=2), digits)
    assert gan.sample(0, seed=2).shape == (0, 32, 32) and list(gan.select(Request(0, seed=0))) == []


def test_paths_lead_from_class_to_class(gan):
    paths = gan.interpolate(5, rows=2, labels=(3, 8), seeds=(0, 1))
    assert np.array_equal(paths[:, 0], gan.sample(2, label=3, seed=0))
    assert np.array_equal(paths[:, -1], gan.sample(2, label=8, seed=1))
    still = gan.interpolate(3, labels=(3, 3), seeds=(4, 4))
    assert np.array_equal(still[0, 0], still[0, 1])


def test_the_discriminator_judges_digit_and_class(gan):
    digits = gan.sample(6, label=2, seed=0)
    as_two, as_five = (gan.discriminate(digits, np.full(6, label)) for label in (2, 5))
    assert as_two.shape == (6,) and not np.allclose(as_two, as_five)
    assert np.array_equal(gan.discriminate(digits[2:3], [2]), as_two[2:3])


@pytest.mark.parametrize(
    ("call", "message"),
    {
        "no labels": (lambda gan: gan.generate(np.zeros((2, 8))), "labels: found none, expected 2 of the classes 0,"),
        "too few": (lambda gan: gan.generate(np.zeros((2, 8)), [1]), "labels: found int64 [1]"),
        "numbers": (lambda gan: gan.generate(np.zeros((1, 8)), [1.0]), "labels: found float64 [1]"),
        "unknown": (
            lambda gan: gan.generate(np.zeros((2, 8)), [1, 12]),
            "labels: found 12, expected one of the classes",
        ),
        "ragged": (lambda gan: gan.generate(np.zeros((2, 8)), [[1], [2, 3]]), "labels: found list"),
        "judge": (lambda gan: gan.discriminate(np.zeros((2, 28, 28), np.uint8)), "labels: found none"),
        "digit": (lambda gan: gan.sample(1, label=10), "label: found 10, expected one of the classes 0, 1, 2,"),
        "bool": (lambda gan: gan.sample(1, label=True), "label: found True"),
        "path": (lambda gan: gan.interpolate(2, labels=(1, -1)), "labels: found -1"),
        "confidence": (
            lambda gan: gan.select(Request(1, min_confidence=0.5)),
            "min_confidence: found 0.5, expected None",
        ),
        "latent": (lambda gan: gan.latent(-1, 0), "n: found -1"),
    }.values(),
)
def test_misuse(gan, call, message):
    with pytest.raises(ValueError) as error:
        call(gan)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_labels_for_an_unconditional_gan(finished):
    with dcgan_tf1.load(finished) as gan, pytest.raises(ValueError, match="labels: found some, expected None"):
        gan.generate(np.zeros((1, 8)), [1])


# The command line


def test_generate(conditional, gan, tmp_path):
    sevens = ["--digit", 7, "--num_digits", 3, "--out", tmp_path / "sevens"]
    assert "kept" not in output("generate", "--out_dir", conditional, *sevens)
    assert sorted(path.name for path in (tmp_path / "sevens").iterdir()) == [f"7_0000{i}.png" for i in range(3)]
    flags = ["--num_digits", 25, "--labels", "--size", 32, "--seed", 3, "--out_dir", conditional]
    output("generate", *flags, "--format", "npz", "--out", tmp_path)
    with np.load(tmp_path / "digits.npz") as arrays:
        assert np.array_equal(arrays["images"], gan.sample(25, seed=3))
        assert np.array_equal(arrays["labels"], np.arange(25) % 10) and arrays["labels"].dtype == np.uint8
    output("generate", *flags, "--format", "idx", "--out", tmp_path / "idx")
    with gzip.open(tmp_path / "idx" / "train-labels-idx1-ubyte.gz") as file:
        assert file.read() == idx((np.arange(25) % 10).astype(np.uint8))


SYMBOLS = ["+", "-", *"0123456789", "=", "times"]


@pytest.mark.parametrize(
    ("names", "numbers"),
    [(SYMBOLS, False), (["-1", "0", "1"], True), (["300", "301", "7"], True), (["01", "1", "2"], False)],
    ids=str,
)
def test_a_class_has_one_name_everywhere(names, numbers, tmp_path):
    """A number is a name and never a place; an integer will do where `numbers`, that is, where all names are some."""
    random = np.random.default_rng(0)
    for name in names:
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            picture = Image.fromarray(random.integers(0, 256, (32, 32), np.uint8))
            picture.save(tmp_path / "data" / name / f"{i}.png")
    train(tmp_path / "run", 1, "--dataset", tmp_path / "data", "--conditional", "--batch_size", 4)
    made = ["--out_dir", tmp_path / "run", "--out", tmp_path / "made", "--size", 32, "--scale", 1]
    with dcgan_tf1.load(tmp_path / "run") as gan:
        assert sorted(gan.classes) == sorted(names)
        shares = dict(zip(gan.classes, np.eye(len(names), dtype=np.float32), strict=True))
        for name in names:
            expected = gan.generate_mixed(gan.latent(2, 0), np.stack([shares[name]] * 2))
            for label in (name, int(name)) if numbers else (name,):
                assert np.array_equal(gan.sample(2, label, seed=0), expected)
                assert np.array_equal(gan.generate(gan.latent(2, 0), [label] * 2), expected)
                assert np.array_equal(gan.interpolate(2, 2, (label, label), (0, 0))[:, 0], expected)
            if name not in names[-3:]:
                continue
            output("generate", "--digit", name, "--num_digits", 2, *made)
            for i in range(2):
                with Image.open(tmp_path / "made" / f"{name}_0000{i}.png") as picture:
                    assert np.array_equal(picture, expected[i])
            output("interpolate", "--from", name, "--to", name, "--rows", 2, "--steps", 2, *made, "--force")
            with Image.open(tmp_path / "made" / "interpolation.png") as picture:
                assert np.array_equal(np.asarray(picture)[1:33, 1:33], expected[0])
        for form in ("npz", "idx", "png"):
            flags = ["generate", "--labels", "--num_digits", 30, "--out_dir", tmp_path / "run"]
            output(*flags, "--format", form, "--out", tmp_path / form)
        shown, folders = (sources.load(str(tmp_path / form), "") for form in ("idx", "png"))
        assert folders.digest == shown.digest
        for found in (shown.classes(), folders.classes()):
            assert [found.names[i] for i in found.indices] == [gan.classes[i % len(names)] for i in range(30)]
        with np.load(tmp_path / "npz" / "digits.npz") as arrays:
            assert arrays["classes"][arrays["labels"]].tolist() == [gan.classes[i % len(names)] for i in range(30)]
        for label in (np.int64(8), *((1, 2) if not numbers else ())):
            with pytest.raises(ValueError, match="label: found .*expected one of the classes"):
                gan.sample(1, label)


def test_min_confidence_is_refused(conditional, tmp_path):
    flags = ["--digit", 1, "--min_confidence", 0.5, "--out", tmp_path]
    result = run("generate", "--out_dir", conditional, *flags)
    assert_error(result, 2, "error: --min_confidence: found with a conditional GAN, expected none")
    assert list(tmp_path.iterdir()) == []
