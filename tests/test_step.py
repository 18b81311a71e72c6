"""The step is the one described: its sizes, the order and mathematics of its updates, and how it samples."""

import functools
import itertools
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import open_session, python
from tensorflow.python.framework import kernels

from benchmarks import plain_tf1
from dcgan_tf1.config import Config
from dcgan_tf1.data import draws
from dcgan_tf1.networks import dcgan32
from dcgan_tf1.networks.layers import ForwardPass
from dcgan_tf1.networks.pixels import scale_images, to_uint8
from dcgan_tf1.runs.weights import shipped_weights
from dcgan_tf1.sampling.trained_gan import TrainedGan
from dcgan_tf1.training import session
from dcgan_tf1.training import step as step_module
from dcgan_tf1.training.graph import build_gan

v1 = tf.compat.v1
TINY = Config(batch_size=8, z_dim=8, g_channels=(16, 8), d_channels=(4, 8), beta1=0.5, lr_scale=1.0)
METRICS = {"d_loss_real", "d_loss_fake", "d_loss", "g_loss", "d_x", "d_g_z"}
KERNEL = "generator/dense/kernel"
AVERAGE = f"{KERNEL}/ExponentialMovingAverage"


def inputs(config, step):
    """The images and the latent vectors of `step`, all different."""
    images = np.random.RandomState(step).randint(0, 256, (config.batch_size, 28, 28), np.uint8)
    return images, draws.latent(0, draws.Stream.TRAIN, step, (config.batch_size, config.z_dim))


def op_types(gan):
    """The types of all ops that a training step runs."""
    graph = v1.graph_util.extract_sub_graph(gan.graph.as_graph_def(), [gan.train_op.name])
    return {node.op for node in graph.node}


def values(gan, sess):
    """The value of every variable, by its name."""
    return sess.run({variable.op.name: variable for variable in gan.variables})


class Training:
    """A training graph, and a session on it with initial weights."""

    def __init__(self, config, gan=None):
        self.config, self.gan = config, gan or build_gan(config)
        self.session = open_session(self.gan, config)
        self.session.run(self.gan.init_op)

    def step(self, step):
        """Take the step of that number, and return its metrics."""
        feeds = dict(zip((self.gan.images, self.gan.z), inputs(self.config, step), strict=True))
        return self.session.run((self.gan.train_op, self.gan.metrics), feeds)[1]

    def values(self):
        return values(self.gan, self.session)

    def load(self, name, value):
        self.gan.load(self.session, {name: value})

    def sample(self, z):
        return self.session.run(self.gan.samples, {self.gan.sample_z: z})


def rms(x):
    return np.sqrt(np.mean(np.square(x, dtype=np.float64)))


def moments(x):
    """The mean and the variance over all axes but the last."""
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return x.mean(0), x.var(0)


@pytest.fixture(scope="module")
def tiny():
    """The graph of TINY, which several sessions may use."""
    return build_gan(TINY)


@pytest.fixture
def trained(tiny):
    """A tiny training after ten steps."""
    training = Training(TINY, tiny)
    for step in range(10):
        training.step(step)
    return training


# Shapes


def count(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_reference_is_as_large_and_starts_as_published():
    """A normal distribution cut at two standard deviations has 0.88 of the standard deviation that it was given."""
    training = Training(Config(preset="reference"))
    gan, found = training.gan, training.values()
    assert (count(gan.g_variables), count(gan.d_variables)) == (903_792, 42_337)
    assert gan.images.shape == (256, 28, 28) and gan.images.dtype == tf.uint8
    assert gan.z.shape == (256, 100) and gan.sample_z.shape.as_list() == [None, 100]
    assert gan.samples.shape.as_list() == [None, 32, 32] and gan.samples.dtype == tf.uint8
    assert set(gan.metrics) == METRICS and all(metric.shape == () for metric in gan.metrics.values())
    for name in ("generator/dense", "generator/output", "discriminator/conv1", "discriminator/conv2"):
        kernel = found[f"{name}/kernel"]
        assert 0.03 < np.abs(kernel).max() <= 0.04
        assert kernel.std() == pytest.approx(0.88 * 0.02, rel=0.1)
    for i, (channels, depth) in enumerate([(64, 256), (32, 64), (16, 32)], start=1):
        kernel = found[f"generator/deconv{i}/kernel"]
        limit = np.sqrt(6 / (25 * (channels + depth)))
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert all((found[name] == 0).all() for name in found if name.endswith(("bias", "beta")))


@pytest.mark.parametrize("g_channels", [(4,), (8, 4), (16, 8, 4), (16, 8, 4, 2)])
@pytest.mark.parametrize("g_batch_norm", ["all", "first"])
def test_every_depth_draws_32x32(g_channels, g_batch_norm):
    config = TINY.replace(g_channels=g_channels, g_batch_norm=g_batch_norm, d_channels=(2,) * len(g_channels))
    with tf.Graph().as_default():
        for training in (True, False):
            with v1.variable_scope("generator", reuse=not training):
                images = dcgan32.generator(tf.zeros([3, 8]), None, ForwardPass(training), config)
            assert images.shape[1:] == (32, 32, 1)
            images = tf.ensure_shape(images, [3, 32, 32, 1])
            with v1.variable_scope("discriminator", reuse=not training):
                assert dcgan32.discriminator(images, None, ForwardPass(training), config).shape[1:] == (1,)


@pytest.mark.parametrize("recipe", [{}, {"preset": "reference"}, {"model": "dcgan28"}, {"model": "mlp"}])
def test_every_op_of_the_step_has_a_gpu_kernel(recipe):
    for op_type in op_types(build_gan(Config(**recipe))):
        devices = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op_type).kernel}
        assert devices & {"GPU", "DEFAULT"}, op_type


def test_images_are_scaled_then_padded_and_back():
    images = np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(28, 2)[:, :28]
    images[1] += 228
    scaled = scale_images(tf.constant(images), 32).numpy()
    assert scaled.shape == (4, 32, 32, 1) and scaled.min() == -1 and scaled.max() == 1
    assert np.allclose(scaled[:, 2:30, 2:30, 0], images / 127.5 - 1, atol=1e-6)
    border = scaled.copy()
    border[:, 2:30, 2:30] = -1
    assert (border == -1).all()
    assert np.array_equal(to_uint8(tf.constant(scaled)).numpy()[:, 2:30, 2:30], images)
    assert np.array_equal(scale_images(tf.constant(np.pad(images, [(0, 0), (2, 2), (2, 2)])), 32).numpy(), scaled)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_orphan_variable_is_refused(monkeypatch, player):
    network = getattr(dcgan32, player)

    def with_orphan(*inputs):
        with v1.variable_scope(v1.VariableScope(v1.AUTO_REUSE, "elsewhere"), auxiliary_name_scope=False):
            return network(*inputs) * v1.get_variable("gain", [])

    monkeypatch.setattr(dcgan32, player, with_orphan)
    with pytest.raises(ValueError, match="gain|elsewhere"):
        build_gan(TINY)


# One fused step against separate runs


class Pair(Training):
    """The fused graph, and a plain TF1 program with the same weights."""

    def __init__(self, config):
        super().__init__(config)
        self.plain = plain_tf1.build(config)
        self.copy()

    def copy(self):
        weights = self.values()
        assert set(self.plain.variables) <= set(weights)
        for name, variable in self.plain.variables.items():
            assign = variable.initializer
            self.plain.session.run(assign, {assign.inputs[1]: weights[name]})

    def plain_step(self, step, simultaneous=False):
        """The losses of a step in which the players move one after another.

        Args:
            simultaneous: what the order of updates must prevent: the gradients of both are taken before either moves.
        """
        images, z = inputs(self.config, step)
        run, plain = self.plain.session.run, self.plain
        feeds = {plain.images: plain_tf1.scale_and_pad(images), plain.z: z}
        d_loss, g_loss, *_ = run([plain.d_loss, plain.g_loss, plain.d_train, *[plain.g_train] * simultaneous], feeds)
        for _ in range(self.config.g_steps - simultaneous):
            g_loss, _ = run([plain.g_loss, plain.g_train], {plain.z: z})
        return d_loss, g_loss

    def distance(self, before):
        """How far apart the two sets of weights are, relative to how far they have moved since `before`.

        Both are root mean squares over the weights of a player; the larger ratio of the two players counts.
        """
        fused, plain = self.values(), self.plain.session.run(self.plain.variables)
        ratios = []
        for player in (self.gan.g_variables, self.gan.d_variables):
            names = [variable.op.name for variable in player]
            apart = np.concatenate([(fused[name] - plain[name]).ravel() for name in names])
            moved = np.concatenate([(fused[name] - before[name]).ravel() for name in names])
            ratios.append(rms(apart) / rms(moved))
        return max(ratios)


PLAIN = {"batch_size": 8, "lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.5, "d_noise": 0.0, "lr_scale": 1.0}
"""Settings for what the plain program does: it adds no noise and scales no rate."""
CONFIGS = {
    "default": Config(**PLAIN),
    "reference": Config(preset="reference", batch_size=8),
    "two updates": Config(**PLAIN, g_steps=2, g_channels=(32, 16), d_channels=(8, 16)),
}
STEPS = 10


@pytest.mark.parametrize("name", CONFIGS)
def test_fused_steps_equal_separate_runs(name):
    """Each step starts from the same weights, since rounding errors grow: Adam takes full steps even of those alone.

    Rounding was seen to move weights 0.05 apart at most, and simultaneous updates 0.2 at least (in `distance`).
    """
    pair = Pair(CONFIGS[name])

    def distances(steps, simultaneous):
        for step in steps:
            before = pair.values()
            pair.copy()
            losses, (d_expected, g_expected) = pair.step(step), pair.plain_step(step, simultaneous)
            if not simultaneous:
                assert losses["d_loss"] == pytest.approx(d_expected, rel=1e-5)
                assert losses["g_loss"] == pytest.approx(g_expected, rel=1e-2)
            yield pair.distance(before)

    found = list(distances(range(5), simultaneous=False))
    assert max(found) < 0.12 and np.median(found) < 0.06
    assert next(distances([5], simultaneous=True)) > 0.12


@pytest.mark.parametrize("updates", ["alternating", "simultaneous"])
def test_two_updates_over_many_steps(monkeypatch, updates):
    """Adam has an epsilon so large that small gradients, which rounding changes, make small steps."""
    monkeypatch.setattr(v1.train, "AdamOptimizer", functools.partial(v1.train.AdamOptimizer, epsilon=1.0))
    monkeypatch.setattr(step_module, "EPSILON", 1.0)
    for order in ("alternating", "simultaneous"):
        pair = Pair(CONFIGS["two updates"].replace(lr_g=0.3, lr_d=0.05, updates=updates))
        before = pair.values()
        for step in range(STEPS):
            losses, expected = pair.step(step), pair.plain_step(step, order == "simultaneous")
            if updates == order == "alternating":
                assert (losses["d_loss"], losses["g_loss"]) == pytest.approx(expected, rel=1e-4)
        assert (pair.distance(before) < 0.01) == (updates == order), pair.distance(before)


@pytest.mark.parametrize(("g_steps", "updates"), [(1, "alternating"), (3, "alternating"), (3, "simultaneous")])
def test_generator_is_updated_as_often_as_asked(g_steps, updates):
    """The variables with Adam's powers of beta1 count the updates."""
    training = Training(TINY.replace(g_steps=g_steps, updates=updates))
    first = training.values()
    for step in range(2):
        training.step(step)
    last = training.values()
    powers = sorted(last[name] / first[name] for name in last if "beta1_power" in name)
    assert powers == pytest.approx(sorted([0.5**2, 0.5 ** (2 * g_steps)]))
    assert last["global_step"] == 2


def test_a_step_can_be_the_body_of_a_loop():
    """Three steps in one call are three calls, bit for bit."""
    config = CONFIGS["two updates"].replace(d_noise=0.4, g_channels=(16, 8), d_channels=(4, 8))
    training = Training(config)
    training.session = v1.Session(graph=training.gan.graph)  # as the loop's: other threads sum in another order
    training.session.run(training.gan.init_op)
    for step in range(3):
        training.step(step)
    called = training.values()
    with tf.Graph().as_default():
        v1.set_random_seed(config.seed)
        game = step_module.Game(config)
        images, z = (tf.constant(np.stack(part)) for part in zip(*(inputs(config, i) for i in range(3)), strict=True))

        def body(i):
            with tf.control_dependencies([game.train_step(images[i], z[i], None).count]):
                return i + 1

        loop = v1.while_loop(lambda i: i < 3, body, [0], parallel_iterations=1, back_prop=False)
        variables = v1.global_variables()
        with v1.Session() as sess:
            sess.run(v1.global_variables_initializer())
            sess.run(loop)
            looped = sess.run({variable.op.name: variable for variable in variables})
    assert called.keys() == looped.keys()
    assert all(np.array_equal(called[name], looped[name]) for name in called)


# Sessions


@pytest.fixture
def session_settings(monkeypatch):
    """The settings of every session that the test has opened."""
    start, settings = v1.Session.__init__, []

    def note_settings(session, *arguments, config=None, **options):
        settings.append(config)
        start(session, *arguments, config=config, **options)

    monkeypatch.setattr(v1.Session, "__init__", note_settings)
    return settings


def test_small_steps_on_two_cores_have_one_thread_for_an_op(tiny, monkeypatch, session_settings):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    def threads(config, cores):
        monkeypatch.setattr(session, "usable_cores", lambda: cores)
        open_session(tiny, config).close()
        return session_settings[-1].inter_op_parallelism_threads, session_settings[-1].intra_op_parallelism_threads

    assert threads(TINY, 2) == threads(TINY.replace(batch_size=128), 2) == (2, 1)
    assert threads(TINY, 1) == threads(TINY, 8) == threads(TINY.replace(batch_size=129), 2) == (0, 0)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert threads(TINY, 2) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_session_has_the_threads_that_it_asks_for_whatever_ran_before():
    """`compare` and `--eval_every` open a classifier's session in the process, before or after that of the training."""
    code = """
import os
from dcgan_tf1.tensorflow_import import import_tensorflow
import_tensorflow()
import tensorflow as tf
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.training.session import ONE_THREAD_PER_OP

def new_threads(settings):
    before = len(os.listdir("/proc/self/task"))
    with tf.Graph().as_default():
        options = session_options()
        options.MergeFrom(tf.compat.v1.ConfigProto(**settings))
        session = tf.compat.v1.Session(config=options)
        session.run(tf.random.uniform([300, 300]) @ tf.random.uniform([300, 300]))
    return len(os.listdir("/proc/self/task")) - before

new_threads({})
others = {"inter_op_parallelism_threads": 5, "intra_op_parallelism_threads": 4}
print(new_threads(ONE_THREAD_PER_OP), new_threads(others))
"""
    found = python(code)
    assert found.stdout == "3 9\n", found


def test_every_session_shares_the_gpu_and_has_threads_of_its_own(tiny, session_settings):
    with TrainedGan(shipped_weights("unconditional")) as gan:  # a session for the GAN, and one for the classifier
        gan.sample(1, label=3, seed=0)
    open_session(tiny, TINY).close()
    found = [(each.gpu_options.allow_growth, each.use_per_session_threads) for each in session_settings]
    assert found == [(True, True)] * 3


# Metrics and moving averages


def test_metrics(trained):
    for step in range(10, 30):
        found = trained.step(step)
        assert set(found) == METRICS and np.isfinite(list(found.values())).all()
        assert found["d_loss"] == pytest.approx(found["d_loss_real"] + found["d_loss_fake"], rel=1e-6)
        assert 0 < found["d_x"] < 1 and 0 < found["d_g_z"] < 1
        # Jensen: -log of the mean is at most the mean of -log.
        assert -np.log(found["d_x"]) <= found["d_loss_real"] + 1e-5
        assert -np.log(1 - found["d_g_z"]) <= found["d_loss_fake"] + 1e-5


def test_saturated_losses_are_finite(trained):
    for value in (1e4, -1e4):
        trained.load("discriminator/dense/bias", [value])
        found = trained.step(10)
        assert np.isfinite(list(found.values())).all() and found["d_loss"] == pytest.approx(1e4, rel=1e-2)
        assert trained.session.run(trained.gan.finite)


def test_finite_sees_every_variable(trained):
    assert trained.session.run(trained.gan.finite)
    floats = {name: value for name, value in trained.values().items() if name != "global_step"}
    for (name, whole), value in zip(floats.items(), itertools.cycle([np.nan, np.inf, -np.inf]), strict=False):
        spoilt = np.array(whole)
        spoilt.flat[-1] = value
        trained.load(name, spoilt)
        assert not trained.session.run(trained.gan.finite), name
        trained.load(name, whole)
    assert trained.session.run(trained.gan.finite)


def test_moving_averages_by_hand():
    """The decay is (1 + step) / (10 + step) in a young run, and D's averages are those of real images alone."""
    training = Training(TINY.replace(d_noise=0.0, ema_decay=0.0))
    for step in (0, 1, 2, 10**6):
        training.load("global_step", step)
        before = training.values()
        training.step(step)
        after = training.values()
        images, z = inputs(TINY, step)
        decay = min((1 + step) / (10 + step), 0.999)

        def moved(name, value, decay=decay, before=before):
            return decay * before[name] + (1 - decay) * value

        name = "generator/dense/moving_mean"
        assert np.allclose(after[name], moved(name, moments(z @ before[KERNEL])[0]), rtol=1e-4, atol=1e-6)
        x = plain_tf1.scale_and_pad(images)
        x = tf.nn.leaky_relu(tf.nn.conv2d(x, before["discriminator/conv1/kernel"], 2, "SAME"), 0.2)
        mean, variance = moments(tf.nn.conv2d(x, before["discriminator/conv2/kernel"], 2, "SAME").numpy())
        name = "discriminator/conv2/moving_mean"
        assert np.allclose(after[name], moved(name, mean), rtol=1e-3, atol=1e-6)
        name = "discriminator/conv2/moving_variance"
        # The tolerance leaves open whether there is Bessel's correction, 512 / 511.
        assert np.allclose(after[name], moved(name, variance), rtol=1e-2)


def test_calibration_by_hand(trained):
    """Batch norm takes the statistics of what averaged weights make; training neither does so nor depends on it."""
    before = trained.values()
    z = draws.latent(1, draws.Stream.CALIBRATE, 0, (400, TINY.z_dim))
    trained.session.run(trained.gan.calibrate_op, {trained.gan.sample_z: z})
    after = trained.values()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    layers = ("dense", "deconv1")
    assert changed == {f"generator/{layer}/moving_{each}" for layer in layers for each in ("mean", "variance")}
    assert not np.allclose(before[AVERAGE], before[KERNEL], rtol=1e-2)
    mean, variance = moments(z @ before[AVERAGE])
    assert np.allclose(after["generator/dense/moving_mean"], mean, rtol=1e-4, atol=1e-6)
    assert np.allclose(after["generator/dense/moving_variance"], variance * 400 / 399, rtol=1e-4)
    trained.step(10)
    trained_on = trained.values()
    assert all(np.array_equal(trained_on[name], after[name]) for name in changed)


def test_averaged_weights_by_hand_and_in_use(trained):
    for step in (10, 11):
        before = trained.values()
        trained.step(step)
        after = trained.values()
        decay = (1 + step) / (10 + step)
        expected = decay * before[AVERAGE] + (1 - decay) * after[KERNEL]
        assert np.allclose(after[AVERAGE], expected, rtol=1e-5, atol=1e-7)
    z = inputs(TINY, 0)[1]
    digits = trained.sample(z)
    looked_at = trained.values()
    assert all(np.array_equal(after[name], looked_at[name]) for name in after)  # looking moves nothing
    trained.load(KERNEL, -after[KERNEL])
    assert np.array_equal(trained.sample(z), digits)


def test_without_averaged_weights():
    training = Training(TINY.replace(ema_decay=0.0))
    before = training.values()
    assert not [name for name in before if "Exponential" in name]
    z = inputs(TINY, 0)[1]
    digits = training.sample(z)
    training.load(KERNEL, -before[KERNEL])
    assert not np.array_equal(training.sample(z), digits)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_scaled_rate_by_hand(scale, monkeypatch):
    """With beta1 0, Adam's first step is scale lr g / (|g| + epsilon / scale / sqrt(1 - beta2))."""
    monkeypatch.setattr(step_module, "EPSILON", 1e-3)
    training = Training(TINY.replace(lr_scale=scale, lr_d=1e-3 / scale, beta1=0.0))
    before = training.values()
    training.step(0)
    after = training.values()
    name = "discriminator/conv1/kernel"
    gradient = np.sqrt(after[f"{name}/d_adam_1"] / (1 - TINY.beta2))
    expected = 1e-3 * gradient / (gradient + 1e-3 / scale / np.sqrt(1 - TINY.beta2))
    assert np.allclose(np.abs(after[name] - before[name]), expected, rtol=1e-2, atol=1e-7)


def test_rates_fall_to_zero_at_the_last_step():
    """Adam's first step is as long as the rate, whatever the gradient is."""
    training = Training(TINY.replace(lr_decay="linear", iterations=8, lr_g=1e-3, lr_d=2e-3, beta1=0.0))
    for step, share in ((0, 1.0), (6, 0.25), (8, 0.0)):
        training.session.run(training.gan.init_op)
        training.load("global_step", step)
        before = training.values()
        training.step(step)
        after = training.values()
        for player, rate in (("generator", 1e-3), ("discriminator", 2e-3)):
            moved = np.abs(after[f"{player}/dense/kernel"] - before[f"{player}/dense/kernel"])
            assert np.median(moved) == pytest.approx(rate * share, rel=1e-2, abs=1e-9)
