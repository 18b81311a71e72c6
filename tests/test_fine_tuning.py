"""A run that starts from other weights, and augmentation of what the discriminator sees."""

import functools
import shutil

import numpy as np
import pytest
import tensorflow as tf
from conftest import SHIPPED, TINY, assert_error, run, train, weights

from dcgan_tf1.config import Config
from dcgan_tf1.data import sources
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.networks.augment import augment, random_jitter, resample
from dcgan_tf1.networks.philox import Philox
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.weights import load_weights, read_weights, save_weights
from dcgan_tf1.sampling import fine_tuning
from dcgan_tf1.training.graph import build_gan
from dcgan_tf1.training.session import TrainingSession
from dcgan_tf1.training.step import AVERAGE

v1 = tf.compat.v1


def newest(folder):
    return read_weights(checkpoint.newest(folder / "checkpoints", print))


# Starting from weights


CONFIG = Config(g_channels=(16, 8), d_channels=(4, 8), batch_size=8, z_dim=8, precision="float32")  # as `finished`


@functools.cache
def tiny_gan():
    return build_gan(CONFIG)


def started(arrays):
    """The values of all variables of a new graph that has started from `arrays`, by name."""
    gan = tiny_gan()
    with TrainingSession(gan, CONFIG) as training:
        training.initialize()
        training.start_from(arrays)
        return {variable.op.name: training.session.run(variable) for variable in gan.variables}


def test_variables_averages_and_optimizers_at_the_start(finished):
    theirs = newest(finished).arrays
    ours = started(theirs)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)
    averages = [name for name in ours if name.endswith(AVERAGE)]
    assert averages
    for name in averages:
        np.testing.assert_array_equal(ours[name], ours[name.removesuffix(AVERAGE)])
    slots = [name for name in ours if "_adam" in name.rpartition("/")[2]]
    assert slots and not any(ours[name].any() for name in slots)


def test_weights_without_a_discriminator_start_the_generator_alone(finished):
    theirs = {name: array for name, array in newest(finished).arrays.items() if name.startswith("generator/")}
    ours, kernel = started(theirs), "discriminator/conv1/kernel"
    assert ours[kernel].any() and not np.allclose(ours[kernel], newest(finished).arrays[kernel])
    with pytest.raises(CheckpointError, match=r"--init_from: found generator/output/kernel of shape none"):
        started({name: array for name, array in theirs.items() if name != "generator/output/kernel"})
    with pytest.raises(CheckpointError, match=r"generator/more of shape \[1\], expected none"):
        started({**theirs, "generator/more": np.zeros(1, np.float32)})
    with pytest.raises(CheckpointError, match=r"generator/dense/beta of shape \[1\], expected \[256\]"):
        started({**theirs, "generator/dense/beta": np.zeros(1, np.float32)})


def test_a_run_from_weights_resumes_exactly_and_keeps_its_start(finished, tmp_path, monkeypatch):
    """It does not need the weights any more."""
    start = shutil.copytree(finished / "checkpoints", tmp_path / "start")
    monkeypatch.chdir(tmp_path)
    flags = ["--init_from", "start", "--augment"]  # a relative path
    assert f"starting from the weights of {start}, to 8 steps" in train("whole", 8, *flags)
    train("parts", 5, *flags)
    shutil.rmtree(start)
    assert "resumed at step 5" in train("parts", 6, *flags)  # the same command
    monkeypatch.chdir("/")
    assert "resumed at step 6" in train(tmp_path / "parts", 8)
    assert weights(tmp_path / "parts", 8) == weights(tmp_path / "whole", 8)
    config = checkpoint.load(tmp_path / "parts" / "checkpoints", 8).config
    assert config.init_from == str(start) and config.augment
    other = run("--out_dir", tmp_path / "parts", "--init_from", SHIPPED, "--iterations", "30")
    assert_error(other, 4, "--init_from: found ")


@pytest.mark.parametrize(
    ("flags", "fault"),
    {
        "z_dim": (["--z_dim", "9"], "--z_dim: found 9, expected 8"),
        "widths of G": (["--g_channels", "8,8"], "--g_channels: found (8, 8), expected (16, 8)"),
        "widths of D": (["--d_channels", "8,8"], "--d_channels: found (8, 8), expected (4, 8)"),
        "family": (["--model", "mlp"], "--model: found mlp, expected dcgan32"),
        "colour": (["--channels", "3"], "--channels: found 3, expected 1"),
        "classes": (["--conditional"], "--conditional: found True, expected False"),
        "preset": (["--preset", "reference"], "--z_dim: found 100, expected 8"),
        "z": (["--z_distribution", "normal"], "--z_distribution: found normal, expected uniform"),
        "nothing there": (["--init_from", "nowhere"], "--init_from: found no checkpoint at "),
    }.values(),
)
def test_another_architecture_is_refused_by_its_field(finished, tmp_path, flags, fault):
    base = ["--dataset", "digits", "--batch_size", "8", "--iterations", "1", "--out_dir", tmp_path]
    assert_error(run(*base, "--init_from", finished, *flags), 4, fault)
    assert not list((tmp_path / "checkpoints").glob("*.json"))


def test_another_number_of_classes_is_refused(finished):
    start = newest(finished)
    start = start._replace(dataset={**start.dataset, "classes": ["cat", "dog"]})
    with pytest.raises(CheckpointError, match="--dataset: found 10 classes, expected 2"):
        fine_tuning.read_start(start, CONFIG.replace(conditional=True), sources.load("digits", ""))


def test_settings_of_the_networks_are_those_of_the_weights(finished):
    start = newest(finished)
    config = fine_tuning.config_for(start, {"lr_g": 0.5, "init_from": "/there"})
    assert (config.g_channels, config.z_dim, config.lr_g, config.init_from) == ((16, 8), 8, 0.5, "/there")
    assert config.batch_size == Config().batch_size  # the recipe is today's
    assert fine_tuning.config_for(start, {"z_dim": 8}).z_dim == 8


def test_names_of_weights_that_ship_stay_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fine_tuning.absolute("fashion") == "fashion"
    assert fine_tuning.find_start("fashion").config.conditional
    assert fine_tuning.absolute("other") == str(tmp_path / "other")
    (tmp_path / "fashion").mkdir()
    assert fine_tuning.absolute("fashion") == str(tmp_path / "fashion")


def test_exported_weights_do_not_tell_where_the_start_was(finished, tmp_path):
    found = newest(finished)
    config = found.config.replace(init_from="/home/me/weights.npz")
    save_weights(tmp_path / "weights.npz", found._replace(config=config))
    assert load_weights(tmp_path / "weights.npz").config.init_from == "weights.npz"


def test_weights_without_arrays_are_no_start(finished, tmp_path):
    save_weights(tmp_path / "none.npz", newest(finished)._replace(arrays={}))
    result = run(*TINY, "--out_dir", tmp_path / "run", "--init_from", tmp_path / "none.npz")
    assert_error(result, 4, "--init_from: found generator/", " of shape none")


# Augmentation


class Drawn:
    """Random numbers that are known beforehand, a row for each image."""

    def __init__(self, *rows):
        self.rows = tf.constant(rows, tf.float32)

    def uniform(self, shape):
        assert self.rows.shape == shape
        return self.rows


def jitter(images, random):
    return resample(images, random_jitter(images.shape[0], images.shape[1], 1.0, random))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("change", [augment, jitter])
def test_augmented_images(change, channels):
    """They depend on the seed, the step and the call; black stays black; and gradients reach the images."""
    with tf.Graph().as_default() as graph:
        step = v1.train.get_or_create_global_step()
        images = tf.constant(np.random.RandomState(0).uniform(-1, 1, (20, 16, 16, channels)).astype(np.float32))
        random = Philox(7, step)
        first, second, black = (change(each, random) for each in (images, images, -tf.ones_like(images)))
        (gradient,) = tf.gradients(first, images)
        with v1.Session(graph=graph) as session:
            session.run(step.initializer)
            values = session.run([first, second, black, gradient])
            again = session.run(first)
            session.run(step.assign_add(1))
            later = session.run(first)
    assert values[0].shape == (20, 16, 16, channels) and values[0].min() >= -1 and values[0].max() <= 1
    assert np.array_equal(values[0], again) and not np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], later) and (values[2] == -1).all()
    assert np.isfinite(values[3]).all() and (values[3] != 0).mean() > 0.5


def test_how_far_augmentation_changes_an_image():
    """The farthest shift, by an eighth; the largest scale, 1.2; and a cut of half the side, in a corner but once."""
    image = np.random.RandomState(0).uniform(-0.9, 1, (16, 16)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        drawn = Drawn([1, -1, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0])
        shifted, scaled, cut = session.run(augment(tf.constant(np.stack([image] * 3)[..., np.newaxis]), drawn))[..., 0]
    np.testing.assert_allclose(shifted[2:12, :12], image[:10, 2:14], atol=1e-6)
    assert (shifted[:2] == -1).all() and (shifted[12:, 12:] == -1).all()
    pixels, source = np.arange(16), (np.arange(16) - 7.5) / 1.2 + 7.5
    wider = np.array([np.interp(source, pixels, row) for row in image])
    expected = np.array([np.interp(source, pixels, column) for column in wider.T]).T
    np.testing.assert_allclose(scaled[:12, :12], expected[:12, :12], atol=1e-5)
    black = cut == -1
    assert black[4:12, 4:12].all() and black.sum() == 64
    np.testing.assert_allclose(cut[~black], image[~black], atol=1e-6)


def test_how_far_jitter_moves_an_image():
    with tf.Graph().as_default():
        matrices = random_jitter(2000, 32, 2.0, Philox(0, v1.train.get_or_create_global_step()))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            both = session.run(matrices)
    assert not np.array_equal(*both)
    for each in both:
        source = each @ np.arange(32)  # where the pixels of a row, or of a column, come from: [2000, 32]
        stretch = 11 / (source[:, 21] - source[:, 10])
        shift = stretch * (15.5 - (source[:, 10] + source[:, 21]) / 2)
        assert (shift.min(), shift.max()) == (pytest.approx(-2, abs=0.01), pytest.approx(2, abs=0.01))
        assert (stretch.min(), stretch.max()) == (pytest.approx(0.8, abs=0.01), pytest.approx(1.2, abs=0.01))


@pytest.mark.parametrize(
    ("settings", "draws"),
    [({}, 0), ({"augment": True}, 3), ({"d_jitter": 1.0}, 1)],  # D's passes of reals and of fakes, and G's
)
def test_what_the_passes_of_a_step_draw(settings, draws):
    gan = build_gan(CONFIG.replace(d_noise=0.0, **settings))
    step = v1.graph_util.extract_sub_graph(gan.graph.as_graph_def(), [gan.train_op.name])
    assert sum(node.op == "StatelessRandomUniformFullIntV2" for node in step.node) == draws
