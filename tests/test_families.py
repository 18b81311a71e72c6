"""Every family is the network it is named for, and trains, resumes and draws as the others do."""

import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, TINY, assert_error, run, train, train_config, weights
from PIL import Image
from scipy import stats
from test_step import count

import dcgan_tf1
from dcgan_tf1 import networks
from dcgan_tf1.config import MODELS, Config, Family
from dcgan_tf1.networks import layers, load_family
from dcgan_tf1.networks.layers import ForwardPass
from dcgan_tf1.networks.philox import Philox
from dcgan_tf1.runs.checkpoint import newest

v1 = tf.compat.v1
PLAYERS = ("generator", "discriminator")


# Layer for layer


def drawn_by_ours(player, config, modes):
    """The random weights of one network of `config`, how many it trains, and examples and what it makes of them.

    The outputs are by `training`, which takes the values of `modes`.
    """
    shape = [config.z_dim] if player == "generator" else [config.image_size, config.image_size, 1]
    random = np.random.default_rng(0)
    examples = random.uniform(-1, 1, (32, *shape)).astype(np.float32)
    outputs = {}
    with tf.Graph().as_default(), v1.Session() as sess:
        v1.train.create_global_step()
        for training in modes:
            with v1.variable_scope(player, reuse=v1.AUTO_REUSE):
                network = getattr(load_family(config.model), player)
                outputs[training] = network(tf.constant(examples), None, ForwardPass(training), config)
        variables = v1.global_variables(player)
        weights = [_weight(random, variable) for variable in variables]
        sess.run([variable.assign(weight) for variable, weight in zip(variables, weights, strict=True)])
        return weights, count(v1.trainable_variables()), examples, sess.run(outputs)


def _weight(random, variable):
    """A random value of a size that keeps a signal's size. Scales and variances are around 1."""
    if variable.op.name.endswith(("variance", "gamma")):
        return random.uniform(0.5, 2, variable.shape).astype(np.float32)
    return (random.normal(0, 1, variable.shape) / np.sqrt(np.prod(variable.shape[:-1]))).astype(np.float32)


def keras_layers(player, config):
    """The same network, made of Keras's layers as its source describes it."""
    import keras
    from keras import layers as k

    from benchmarks import keras_step

    if config.model == "dcgan32":
        build = {"generator": keras_step.make_generator, "discriminator": keras_step.make_discriminator}
        return build[player](config)
    if config.model == "dcgan28" and player == "generator":
        stack = [k.Dense(7 * 7 * 256, use_bias=False), k.BatchNormalization(), k.LeakyReLU(), k.Reshape((7, 7, 256))]
        for channels, stride in ((128, 1), (64, 2)):
            stack.append(k.Conv2DTranspose(channels, 5, strides=stride, padding="same", use_bias=False))
            stack += [k.BatchNormalization(), k.LeakyReLU()]
        stack.append(k.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False, activation="tanh"))
    elif config.model == "dcgan28":
        stack = [k.Conv2D(64, 5, strides=2, padding="same"), k.LeakyReLU()]
        stack += [k.Conv2D(128, 5, strides=2, padding="same"), k.LeakyReLU(), k.Flatten(), k.Dense(1)]
    elif player == "generator":
        stack = [*(k.Dense(width, activation="relu") for width in config.g_channels)]
        stack += [k.Dense(784, activation="tanh"), k.Reshape((28, 28, 1))]
    else:
        stack = [k.Flatten()]
        for width in config.d_channels:
            stack += [k.Dense(width), k.LeakyReLU(negative_slope=0.2)]
        stack.append(k.Dense(1))
    shape = (config.z_dim,) if player == "generator" else (config.image_size, config.image_size, 1)
    return keras.Sequential([keras.Input(shape), *stack])


RECIPES = {  # and the numbers of parameters of G and D
    "dcgan32": (Config(), 291_712, 173_025),
    "reference": (Config(preset="reference"), 903_792, 42_337),
    "dcgan28": (Config(model="dcgan28"), 2_305_472, 212_865),
    "mlp": (Config(model="mlp"), 22_659, 20_301),
}


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("name", RECIPES)
def test_the_same_as_keras(name, player):
    """Keras's network has the weights of ours."""
    config, *parameters = RECIPES[name]
    modes = (False, True) if player == "generator" else (False,)  # in training each D draws its own dropout
    weights, trained, examples, outputs = drawn_by_ours(player, config, modes)
    keras = keras_layers(player, config)
    keras.set_weights(weights)  # in the order in which they come: both have the same shapes, layer for layer
    assert trained == count(keras.trainable_weights) == parameters[PLAYERS.index(player)]
    for training, found in outputs.items():
        expected = keras(examples, training=training).numpy()
        assert found.shape == expected.shape and found.std() > 0.05  # so that agreement says something
        assert np.allclose(found, expected, rtol=0, atol=1e-4 * np.abs(found).max())


def test_keras_defaults_are_those_of_the_tutorial():
    from keras import layers as k

    norm, leaky = k.BatchNormalization(), k.LeakyReLU()
    assert (norm.scale, norm.center, norm.momentum, norm.epsilon) == (True, True, 0.99, 1e-3)
    assert leaky.negative_slope == pytest.approx(0.3)
    with tf.Graph().as_default():
        v1.set_random_seed(0)
        forward = ForwardPass(training=True)
        load_family("dcgan28").generator(tf.zeros([2, 100]), None, forward, Config(model="dcgan28"))
        assert {average.decay for average in forward.statistics} == {norm.momentum}
        kernels = [v for v in v1.trainable_variables() if v.op.name.endswith("kernel")]
        with v1.Session() as sess:
            sess.run(v1.global_variables_initializer())
            for kernel, value in zip(kernels, sess.run(kernels), strict=True):
                *space, into, out = value.shape
                limit = np.sqrt(6 / (np.prod(space) * (into + out)))  # Glorot and Bengio 2010, equation 16
                assert 0.95 * limit < np.abs(value).max() < 1.001 * limit, kernel.op.name


# Training


@pytest.mark.parametrize("model", [model for model in MODELS if model != "dcgan32"])  # which all other tests train
def test_a_family_trains_resumes_and_draws(model, tmp_path):
    flags = ["--sample_every", 4, "--model", model]
    train(tmp_path / "whole", 6, *flags)
    train(tmp_path / "parts", 3, *flags)
    train(tmp_path / "parts", 6, *flags[:2])
    assert weights(tmp_path / "parts", 6) == weights(tmp_path / "whole", 6) != weights(tmp_path / "whole", 0)
    pictures = [(tmp_path / part / "sample_image" / "0000004.png").read_bytes() for part in ("parts", "whole")]
    assert pictures[0] == pictures[1]
    size = MODELS[model].image_size
    side = 3 * (8 * (size + 1) + 1)
    for name in ("real.png", "0000004.png"):
        with Image.open(tmp_path / "whole" / "sample_image" / name) as picture:
            assert picture.size == (side, side)
    with dcgan_tf1.load(tmp_path / "whole") as gan:
        digits = gan.sample(7, seed=0)
        assert digits.shape == (7, size, size) and digits.std() > 1
        assert gan.interpolate(3, rows=2, seeds=(0, 1)).shape == (2, 3, size, size)
        assert gan.discriminate(digits).shape == (7,)
    own = Config(model=model).z_distribution
    other = {"uniform": "normal", "normal": "uniform"}[own]
    changed = run("--out_dir", tmp_path / "whole", "--iterations", 9, "--z_distribution", other)
    assert_error(changed, 4, f"--z_distribution: found {other}, expected {own}")


def test_images_too_large_for_the_family(tmp_path):
    np.savez(tmp_path / "large.npz", images=np.zeros((9, 32, 32), np.uint8))
    result = run(*TINY, "--model", "mlp", "--dataset", tmp_path / "large.npz", "--out_dir", tmp_path / "run")
    assert_error(result, 3, "--dataset: found images of 32x32, expected 28x28, which --model mlp makes")


def put(sess, variable, value):
    assign = variable.initializer
    sess.run(assign, {assign.inputs[1]: value})


# Dropout and noise


def numbers(draw, seed, step, calls=2):
    """What `calls` calls of `draw` make of a Philox in a graph of its own."""
    with tf.Graph().as_default(), v1.Session() as sess:
        global_step = v1.train.create_global_step()
        random = Philox(seed, global_step)
        outputs = [draw(random) for _ in range(calls)]
        put(sess, global_step, step)
        first, second = sess.run(outputs), sess.run(outputs)
    assert np.array_equal(first, second)  # only another step gives other numbers
    return first


def test_dropout():
    def drop(random):
        return layers.dropout(tf.ones([100, 50]), 0.3, ForwardPass(training=True, random=random))

    one, other = numbers(drop, 0, 5)
    assert set(np.unique(one)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert one.mean() == pytest.approx(1, abs=0.05)
    assert np.array_equal(one, numbers(drop, 0, 5)[0])
    others = [numbers(drop, *key)[i] for key, i in (((0, 6), 0), ((1, 5), 0), ((2**63 - 1, 5), 0), ((0, 10**9), 1))]
    for different in (other, *others):
        assert np.mean((one == 0) & (different == 0)) == pytest.approx(0.09, abs=0.02)
    with tf.Graph().as_default():
        x = tf.ones([2, 2])
        assert layers.dropout(x, 0.3, ForwardPass(training=False)) is x


def test_normal_numbers():
    def normal(random):
        return random.normal([100, 7, 9, 1])

    one, other = numbers(normal, 0, 5)
    assert one.shape == (100, 7, 9, 1)
    assert stats.kstest(one.ravel(), "norm").pvalue > 0.01
    for different in (other, numbers(normal, 0, 6)[0], numbers(normal, 1, 5)[0]):
        assert abs(np.corrcoef(one.ravel(), different.ravel())[0, 1]) < 0.06


def test_uniform_numbers_and_bits():
    uniform = numbers(lambda random: random.uniform([100, 50]), 0, 5)[0]
    assert stats.kstest(uniform.ravel(), "uniform", (-1, 2)).pvalue > 0.001
    bits = numbers(lambda random: random.bits([100, 50]), 0, 5)[0]
    assert np.allclose(uniform, bits / 2.0**31, atol=1e-7)


def test_replicas_draw_what_one_draws_for_the_whole_batch():
    whole = numbers(lambda random: random.normal([12, 5]), 3, 7, calls=1)[0]
    with tf.Graph().as_default(), v1.Session() as sess:
        shares = [Philox(3, tf.constant(7), replica, 3).normal([4, 5]) for replica in range(3)]
        assert np.allclose(np.concatenate(sess.run(shares)), whole, atol=1e-6)


def test_random_numbers_are_the_same_under_xla():
    """The bits are; what is made of them is the same to rounding."""
    for draw in (lambda random: random.normal([50, 20]), lambda random: random.coins([50, 20], 0.3)):

        def compute(draw=draw):
            return draw(Philox(1, tf.constant(2)))

        plain, compiled = compute(), tf.function(compute, jit_compile=True)()
        assert np.allclose(plain, compiled, atol=1e-5)


def test_the_family_of_the_contributing_guide(tmp_path, monkeypatch):
    source, line, _ = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    (tmp_path / "linear.py").write_text(source)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    for name, family in eval(f"{{{line}}}", {"Family": Family}).items():
        monkeypatch.setitem(MODELS, name, family)
    try:
        for iterations in (2, 4):
            train_config(tmp_path, Config(model="linear", dataset="digits", iterations=iterations))
        found = newest(tmp_path / "checkpoints", pytest.fail)
        assert found.step == 4 and (found.config.z_dim, found.config.lr_g) == (32, 2e-4)
        with dcgan_tf1.load(tmp_path) as gan:
            assert gan.sample(3).shape == (3, 28, 28)
    finally:
        sys.modules.pop("dcgan_tf1.networks.linear", None)
        vars(networks).pop("linear", None)
