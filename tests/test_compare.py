"""The comparison end to end, in seconds, on digits that stand in for MNIST; and how it goes on, and what it refuses."""

import contextlib
import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
from conftest import POSIX, assert_error, run
from PIL import Image

from dcgan_tf1.commands import comparison
from dcgan_tf1.config import PRESETS
from dcgan_tf1.data import draws, sources
from dcgan_tf1.pictures.figures import ModelHistory, plot_comparison
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.training.stopping import Stopwatch

SECONDS = 0.6


@pytest.fixture
def stand_in(monkeypatch):
    """Digits under MNIST's name, two small models, two points in time, and a clock on which a step takes 0.1 s."""
    digits = sources.load("digits", "")._replace(name="mnist")
    monkeypatch.setattr(sources, "load", lambda *_: digits)
    for name, model in (("plain", "mlp"), ("small", "dcgan32")):
        settings = {"model": model, "batch_size": 8, "z_dim": 8, "g_channels": (8,), "d_channels": (8,), "log_every": 1}
        monkeypatch.setitem(PRESETS, name, settings)
    monkeypatch.setattr(comparison, "FRACTIONS", (0.5, 1))

    def tick(self):
        self.steps = getattr(self, "steps", -1) + 1
        self.elapsed = 0.1 * self.steps

    monkeypatch.setattr(Stopwatch, "tick", tick)
    return monkeypatch


def command(folder, *flags, models="plain,small", minutes=SECONDS / 60):
    return run("compare", "--models", models, "--minutes", minutes, "--num_digits", 100, "--out_dir", folder, *flags)


@contextlib.contextmanager
def killed(monkeypatch, name, call):
    """A context in which call number `call` of what the comparison knows as `name` ends it, as a kill would."""
    whole, calls = getattr(comparison, name), []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(comparison, name, dying)
        yield


@pytest.mark.slow
def test_a_comparison_whatever_happens_to_it(stand_in, tmp_path):
    """It is killed before a slice is recorded and before it is measured, and stopped by a signal within a step."""
    # There are two writes to begin with, and one after each slice and each measurement.
    for name, call in (("write_whole", 5), ("TrainedGan", 1)):
        with killed(stand_in, name, call):
            assert command(tmp_path).code == 130
        assert not (tmp_path / "compare.json").exists()
    shutil.rmtree(tmp_path / "plain")  # to have something left for a signal to interrupt

    draw = draws.latent

    def draw_and_terminate(seed, stream, counter, *others):
        if (stream, counter) == (draws.Stream.TRAIN, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(seed, stream, counter, *others)

    stand_in.setattr(draws, "latent", draw_and_terminate)
    assert command(tmp_path).code == 143
    stand_in.setattr(draws, "latent", draw)
    stopped = json.loads((tmp_path / "plain" / "logs" / "compare.json").read_text())
    assert (stopped["step"], stopped["points"]) == (3, []) and stopped["seconds"] == pytest.approx(0.2)

    result = command(tmp_path)
    assert (result.code, result.err) == (0, "")
    report = json.loads((tmp_path / "compare.json").read_text())
    assert list(report["models"]) == ["plain", "small"]
    for name, model in report["models"].items():
        # 0.3 s and 0.6 s: each slice's first step is free, and so was the first after the signal.
        assert [point["step"] for point in model["points"]] == ([5, 9] if name == "plain" else [4, 8])
        assert [point["seconds"] for point in model["points"]] == pytest.approx([0.3, 0.6])
        assert model["steps_per_second"] == pytest.approx(model["step"] / 0.6)
        assert model["frechet_over_floor"] == model["frechet_distance"] / report["floor"]["frechet_distance"] > 1
        assert 0 <= model["coverage"] <= 1 and 0 <= model["missing_classes"] <= 10
        assert np.isfinite([point["frechet_distance"] for point in model["points"]]).all()
        rows = (tmp_path / name / "logs" / "metrics.csv").read_text().splitlines()
        assert [int(row.partition(",")[0]) for row in rows[1:]] == list(range(1, model["step"] + 1))
        assert checkpoint.newest(tmp_path / name / "checkpoints", pytest.fail).step == model["step"]
        with Image.open(tmp_path / name / "sample_image" / f"{model['step']:07d}.png") as strip:
            assert strip.size == (10 * 29 + 1, 30)
    assert report["models"]["plain"]["parameters"] == {
        "generator": 8 * 8 + 8 + 8 * 784 + 784,
        "discriminator": 784 * 8 + 8 + 8 + 1,
    }
    with Image.open(tmp_path / "compare.png") as figure:
        assert figure.width > 1000 and figure.height > 500
    table = (tmp_path / "compare.md").read_text()
    assert table in result.out and len(re.findall(r"^\| (plain|small) \|", table, re.MULTILINE)) == 2

    # Nothing is done twice; more time and another model go on from there.
    again = command(tmp_path)
    assert again.code == 0 and "steps in" not in again.out
    assert json.loads((tmp_path / "compare.json").read_text()) == report
    more = command(tmp_path, models="plain", minutes=2 * SECONDS / 60)
    points = json.loads((tmp_path / "compare.json").read_text())["models"]["plain"]["points"]
    assert more.code == 0 and points[:2] == report["models"]["plain"]["points"] and len(points) == 3

    for flags, named in ((("--seed", 1), "--seed: found 1, expected 0"), (("--num_digits", 200), "--num_digits")):
        assert_error(command(tmp_path, *flags), 4, named, "use another --out_dir")
    strip = tmp_path / "plain" / "sample_image" / f"{report['models']['plain']['step']:07d}.png"
    strip.write_bytes(b"")
    assert_error(command(tmp_path), 3, f"{strip.name}: damaged")


STATES = {
    "nothing": "{}",
    "lists in lists": "[" * 100_000,
    "text for a step": {"step": "3"},
    "a step too large": {"step": 2**70},
    "endless seconds": {"seconds": float("inf")},
    "a point of nothing": {"step": 3, "points": [{}]},
    "a point of text": {"step": 3, "points": ["x"]},
    "points of no list": {"points": 5},
    "no settings": {"identity": None},
    "text for settings": {"identity": "ab"},
    "a pipe": {},
}


@pytest.mark.parametrize("state", [pytest.param(each, marks=[POSIX] * (each == "a pipe")) for each in STATES])
def test_an_edited_state_is_refused(stand_in, tmp_path, state):
    good = {"identity": {}, "step": 0, "seconds": 0.0, "points": []}
    path = tmp_path / "plain" / "logs" / "compare.json"
    path.parent.mkdir(parents=True)
    if state == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text(STATES[state] if isinstance(STATES[state], str) else json.dumps({**good, **STATES[state]}))
    kind = {"a pipe": "found a pipe", "lists in lists": "expected the state of a comparison; its entries"}
    result = command(tmp_path)
    assert_error(result, 4, f"compare.json: {kind.get(state, 'damaged (')}")
    assert "sequence" not in result.err


@POSIX
def test_a_pipe_is_no_log(stand_in, tmp_path):
    (tmp_path / "plain" / "logs").mkdir(parents=True)
    os.mkfifo(tmp_path / "plain" / "logs" / "train.log")
    assert_error(command(tmp_path, models="plain"), 5, "train.log: found a link, folder, pipe or device")


def test_a_log_that_cannot_be_written(stand_in, tmp_path):
    def fill_the_disk(*arguments):
        raise OSError(28, "No space left on device")  # as `print` does

    stand_in.setattr(comparison, "train", fill_the_disk)
    assert_error(command(tmp_path, models="plain"), 5, "train.log: No space left on device; expected room")


def test_another_run_is_left_alone(stand_in, finished_copy, tmp_path):
    shutil.move(finished_copy, tmp_path / "out" / "plain")
    assert_error(command(tmp_path / "out"), 4, "found a run of no comparison")


def test_one_at_a_time(stand_in, tmp_path):
    with checkpoint.lock(tmp_path):
        assert_error(command(tmp_path), 75)


def test_without_mnist(tmp_path):
    result = run("compare", "--data_dir", tmp_path, "--out_dir", tmp_path / "out")
    assert_error(result, 3, "expected MNIST's four IDX files", out="")


def test_the_stopwatch_starts_after_the_first_step():
    assert Stopwatch(0.0).due
    stopwatch = Stopwatch(1e9)
    assert not stopwatch.due and stopwatch.elapsed == 0
    stopwatch.tick()
    assert stopwatch.elapsed == 0
    stopwatch.tick()
    assert 0 < stopwatch.elapsed < 60 and not stopwatch.due


def test_losses_may_all_be_negative(tmp_path):
    losses = dict.fromkeys(("d_loss", "g_loss"), np.full(3, -1.0))
    history = ModelHistory("hinge", 1, 1.0, [30.0, 60.0], [9.0, 8.0], [np.zeros((3, 9))] * 2, np.arange(3.0), losses)
    plot_comparison([history], 0.1, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").stat().st_size > 10_000


def test_conditional_models(stand_in, tmp_path):
    """Beside each there is a later checkpoint, which is damaged and cannot be removed."""
    whole = comparison.train

    def train(run, *others):
        (run.folders.checkpoints / "model-99.json").mkdir(exist_ok=True)
        return whole(run, *others)

    stand_in.setattr(comparison, "train", train)
    result = command(tmp_path, models="plain-conditional")
    assert result.code == 0, result.err
    (model,) = json.loads((tmp_path / "compare.json").read_text())["models"].values()
    assert model["parameters"]["generator"] == (8 + 10) * 8 + 8 + 8 * 784 + 784  # its first layer sees ten classes too
    newest = checkpoint.newest(tmp_path / "plain-conditional" / "checkpoints", print)
    config = newest.config
    assert newest.step == model["step"]
    assert config.conditional and config.lr_decay == "none"
    assert_error(command(tmp_path / "other", models="conditional"), 2)
