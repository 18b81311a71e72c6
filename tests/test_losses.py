"""Losses and penalties have PyTorch's values and gradients, through this project's own convolutions too."""

import re

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, run, train, train_config, weights

from dcgan_tf1 import losses
from dcgan_tf1.config import Config
from dcgan_tf1.errors import UsageError
from dcgan_tf1.losses import LOSSES, gradient_penalty
from dcgan_tf1.networks import load_family
from dcgan_tf1.networks.layers import ForwardPass
from dcgan_tf1.runs.checkpoint import newest

torch = pytest.importorskip("torch")
F = torch.nn.functional
v1 = tf.compat.v1
BINARY = F.binary_cross_entropy_with_logits
IN_TORCH = {
    "non_saturating": (
        lambda real, fake: BINARY(real, torch.ones_like(real)) + BINARY(fake, torch.zeros_like(fake)),
        lambda real, fake: BINARY(fake, torch.ones_like(fake)),
    ),
    "saturating": (
        lambda real, fake: BINARY(real, torch.ones_like(real)) + BINARY(fake, torch.zeros_like(fake)),
        lambda real, fake: -BINARY(fake, torch.zeros_like(fake)),
    ),
    "least_squares": (
        lambda real, fake: (F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))) / 2,
        lambda real, fake: F.mse_loss(fake, torch.ones_like(fake)) / 2,
    ),
    "hinge": (
        lambda real, fake: (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(),
        lambda real, fake: -fake.mean(),
    ),
    "wasserstein": (
        lambda real, fake: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
    ),
    "relativistic": (
        lambda real, fake: -F.logsigmoid(real - fake).mean(),
        lambda real, fake: -F.logsigmoid(fake - real).mean(),
    ),
}
LOGITS = np.random.RandomState(0).randn(2, 64, 1).astype(np.float32) * 3


def with_gradients(loss, *inputs):
    """The value of a PyTorch function, and its gradients, zero where it does not look at an input."""
    tensors = [torch.tensor(each, requires_grad=True) for each in inputs]
    value = loss(*tensors)
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    return value.item(), [np.zeros_like(i) if g is None else g.numpy() for g, i in zip(gradients, inputs, strict=True)]


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_the_value_and_the_gradients_of_pytorch(name, player):
    expected, gradients = with_gradients(IN_TORCH[name][player == "generator"], *LOGITS)
    real, fake = (tf.Variable(each) for each in LOGITS)
    with tf.GradientTape() as tape:
        loss = getattr(LOSSES[name], player)(real, fake)
        loss = sum(loss) if player == "discriminator" else loss
    found = tape.gradient(loss, (real, fake), unconnected_gradients="zero")
    assert loss.numpy() == pytest.approx(expected, rel=1e-4)
    for one, other in zip(found, gradients, strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["non_saturating", "saturating", "relativistic"])
def test_extreme_logits_have_a_finite_loss(name):
    for sign in (1e4, -1e4):
        logits = sign * tf.ones([2, 1]), -sign * tf.ones([2, 1])
        assert np.isfinite([*LOSSES[name].discriminator(*logits), LOSSES[name].generator(*logits)]).all()


def judge_in_torch(images, weights, config):
    """The discriminator of the family of `config` in training mode, without dropout, on images [n, 1, size, size]."""
    kernel, slope = (4, 0.2) if config.model == "dcgan32" else (5, 0.3)
    x = images
    for i in range(1, len(config.d_channels) + 1):
        total = max(kernel - 2 - x.shape[2] % 2, 0)  # SAME padding of stride 2
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weights[f"conv{i}/kernel"].permute(3, 2, 0, 1), weights.get(f"conv{i}/bias"), stride=2)
        if f"conv{i}/beta" in weights:
            x = F.batch_norm(x, None, None, None, weights[f"conv{i}/beta"], training=True, eps=1e-3)
        x = F.leaky_relu(x, slope)
    return x.permute(0, 2, 3, 1).flatten(1) @ weights["dense/kernel"] + weights["dense/bias"]


@pytest.mark.parametrize("model", ["dcgan32", "dcgan28"])
def test_a_penalty_has_the_value_and_the_gradients_of_pytorch(model):
    config = Config(model=model)
    size = config.image_size
    shown = np.random.RandomState(1).uniform(-1, 1, (8, size, size, 1)).astype(np.float32)
    with tf.Graph().as_default():
        images = tf.constant(shown)
        logits = load_family(model).discriminator(images, None, ForwardPass(training=True), config)
        penalty = gradient_penalty(logits, images)
        variables = v1.trainable_variables()
        gradients = tf.gradients(penalty, variables, unconnected_gradients="zero")
        with v1.Session() as session:
            random = np.random.RandomState(2)
            values = [random.randn(*variable.shape).astype(np.float32) * 0.2 for variable in variables]
            for variable, value in zip(variables, values, strict=True):
                variable.load(value, session)
            found, found_gradients = session.run((penalty, gradients))
    kernels = {
        variable.op.name: torch.tensor(value, requires_grad=True)
        for variable, value in zip(variables, values, strict=True)
    }
    images = torch.tensor(shown.transpose(0, 3, 1, 2), requires_grad=True)
    (slope,) = torch.autograd.grad(judge_in_torch(images, kernels, config).sum(), images, create_graph=True)
    expected = 0.5 * slope.square().sum([1, 2, 3]).mean()
    assert found == pytest.approx(expected.item(), rel=1e-4)
    theirs = torch.autograd.grad(expected, list(kernels.values()), allow_unused=True)
    for ours, other in zip(found_gradients, theirs, strict=True):
        other = np.zeros_like(ours) if other is None else other.numpy()
        assert np.abs(ours - other).max() <= 1e-4 * max(np.abs(other).max(), 1e-3)


@pytest.mark.slow
def test_other_losses_and_bfloat16_resume_bit_for_bit(tmp_path):
    flags = ["--loss", "relativistic", "--r1", 0.1, "--precision", "bfloat16"]
    train(tmp_path / "whole", 6, *flags)
    train(tmp_path / "resumed", 3, *flags)
    train(tmp_path / "resumed", 6)
    assert weights(tmp_path / "whole", 6) == weights(tmp_path / "resumed", 6)
    assert newest(tmp_path / "resumed" / "checkpoints", pytest.fail).config.loss == "relativistic"


def test_the_loss_of_the_contributing_guide(tmp_path, monkeypatch):
    *_, line = re.findall(r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    for name, loss in eval(f"{{{line}}}", vars(losses)).items():
        monkeypatch.setitem(LOSSES, name, loss)
    small = {"dataset": "digits", "g_channels": (16, 8), "d_channels": (4, 8), "batch_size": 8}
    for iterations in (2, 4):
        train_config(tmp_path, Config(loss="hinge_margin", iterations=iterations, **small))
    assert newest(tmp_path / "checkpoints", pytest.fail).config.loss == "hinge_margin"


def test_a_critic_that_nothing_bounds_is_refused():
    for flags in ({}, {"r1": 0.0}, {"r2": 0.0}):
        with pytest.raises(UsageError, match="^--loss: found wasserstein, expected --r1 or --r2"):
            Config(loss="wasserstein", **flags)
    assert Config(loss="wasserstein", r2=0.1).r2 == 0.1
    assert run("--loss", "wasserstein").code == 2
