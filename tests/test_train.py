"""A run that is stopped, killed or damaged ends as the run that nothing happened to."""

import contextlib
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import STEPS, TINY, assert_error, contents, output, remove_checkpoints, run, train, weights

from dcgan_tf1 import machine
from dcgan_tf1.config import Config
from dcgan_tf1.data import draws
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.training import session
from dcgan_tf1.training.collapse import CollapseDetector
from dcgan_tf1.training.stopping import Signals


def assert_same_run(folder, finished):
    assert weights(folder, STEPS) == weights(finished, STEPS)
    found, expected = contents(folder), contents(finished)
    assert found["logs/metrics.csv"] == expected["logs/metrics.csv"]
    assert pictures(found) == pictures(expected) and found["logs/curves.png"] == expected["logs/curves.png"]
    assert_events_are_whole(folder, STEPS)


def pictures(files):
    return {name: content for name, content in files.items() if name.startswith("sample_image/")}


def steps_by_tag(folder):
    """What TensorBoard shows: steps of each tag. A session's start drops all that was read of its step and later."""
    kept = []
    for path in sorted((folder / "logs").glob("events.out.tfevents.*")):
        with contextlib.suppress(tf.errors.DataLossError):  # a killed process left half an event: the file ends there
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                if event.session_log.status == tf.compat.v1.SessionLog.START:
                    kept = [(step, value) for step, value in kept if step < event.step]
                kept += [(event.step, value) for value in event.summary.value]
    found = {}
    for step, value in kept:
        is_picture = value.HasField("image") and value.image.encoded_image_string[:4] == b"\x89PNG"
        assert is_picture == (value.tag == "samples")
        found.setdefault(value.tag, []).append(step)
    return found


def assert_events_are_whole(folder, last):
    found = steps_by_tag(folder)
    for tag in ("d_loss_real", "d_loss_fake", "d_loss", "g_loss", "d_x", "d_g_z"):
        assert found[tag] == list(range(1, last + 1)), tag
    assert found["samples"] == list(range(0, last + 1, 10))
    assert found["steps_per_second"] == list(range(10, last + 1, 10))


def test_a_run_leaves_what_it_promises(finished):
    files = contents(finished)
    snapshots = {f"sample_image/{step:07d}.png" for step in range(0, STEPS + 1, 10)}
    assert set(pictures(files)) == snapshots | {"sample_image/real.png"}
    assert len(set(pictures(files).values())) == len(snapshots) + 1
    suffixes = ("data-00000-of-00001", "index", "json")
    commits = {f"model-{step}.{suffix}" for step in (0, 50, 100, 150, 200) for suffix in suffixes}
    assert set(os.listdir(finished / "checkpoints")) == commits | {"checkpoint", ".lock"}
    lines = files["logs/metrics.csv"].decode().splitlines()
    assert lines[0] == "step,d_loss_real,d_loss_fake,d_loss,g_loss,d_x,d_g_z"
    rows = np.array([line.split(",") for line in lines[1:]], float)
    assert rows[:, 0].tolist() == list(range(1, STEPS + 1))
    assert np.isfinite(rows).all() and np.allclose(rows[:, 1] + rows[:, 2], rows[:, 3], rtol=1e-5)
    assert_events_are_whole(finished, STEPS)
    assert files["logs/curves.png"][:4] == b"\x89PNG"
    assert tf.train.latest_checkpoint(finished / "checkpoints") == str(finished / "checkpoints" / "model-200")


def test_another_seed_is_another_run(finished, tmp_path):
    train(tmp_path, 1, "--seed", 1)
    assert weights(tmp_path, 0) != weights(finished, 0)


def test_how_often_a_run_tells_does_not_change_it(finished, tmp_path):
    train(tmp_path, STEPS, "--log_every", 7, "--sample_every", 1000, "--checkpoint_every", 1000)
    assert weights(tmp_path, STEPS) == weights(finished, STEPS)
    rows, every = ((f / "logs" / "metrics.csv").read_bytes().splitlines() for f in (tmp_path, finished))
    assert rows == every[:1] + every[7::7]
    last = f"{STEPS:07d}.png"  # though it is no multiple of 1,000
    assert {path.name for path in (tmp_path / "sample_image").iterdir()} == {"0000000.png", last, "real.png"}
    assert (tmp_path / "sample_image" / last).read_bytes() == (finished / "sample_image" / last).read_bytes()


def test_resume_drops_what_was_told_after_the_checkpoint(finished, tmp_path):
    """Rows, a torn row, events, snapshots and half a commit lie beyond the last checkpoint, as after a power cut."""
    train(tmp_path, 77)
    remove_checkpoints(tmp_path, 77)
    (tmp_path / "sample_image" / "0000077.png").unlink()  # drawn because the run ended there
    with (tmp_path / "logs" / "metrics.csv").open("ab") as file:
        file.write(b"78,0.5,0.5,1")
    (tmp_path / "checkpoints" / "model-100.index").write_bytes(b"half")
    (tmp_path / "checkpoints" / ".commit-x").mkdir()
    (tmp_path / "sample_image" / "0000070.png").write_bytes(b"")
    assert "resumed at step 50" in train(tmp_path, STEPS)
    assert_same_run(tmp_path, finished)
    assert not list(tmp_path.rglob(".commit-*")) and not list(tmp_path.rglob("*.tmp"))


def test_resume_from_the_one_before_a_damaged_checkpoint(finished, finished_copy):
    data_file = finished_copy / "checkpoints" / f"model-{STEPS}.data-00000-of-00001"
    data_file.write_bytes(data_file.read_bytes()[:-1])
    out = train(finished_copy, STEPS)
    assert out.count("warning") == 1 and data_file.name in out and "resumed at step 150" in out
    assert_same_run(finished_copy, finished)


@pytest.mark.slow
def test_distances_are_measured_and_resumed(finished, tmp_path):
    """A run in two parts measures what a whole run measures, and measuring changes no weight."""
    every = ["--eval_every", 20]
    out = train(tmp_path / "whole", 50, *every)
    assert "step 20: Frechet distance" in out
    for iterations in (30, 50):
        train(tmp_path / "parts", iterations, *(every if iterations == 30 else []))
    tables = [(tmp_path / run / "logs" / "distance.csv").read_text() for run in ("whole", "parts")]
    assert tables[0] == tables[1]
    header, *rows = tables[0].splitlines()
    assert header == "step,frechet_distance" and [row.split(",")[0] for row in rows] == ["20", "40"]
    assert all(float(row.split(",")[1]) > 1 for row in rows)
    assert "Frechet distances are measured against 355 images" in out
    assert steps_by_tag(tmp_path / "parts")["frechet_distance"] == [20, 40]
    assert weights(tmp_path / "whole", 50) == weights(finished, 50)
    assert not (finished / "logs" / "distance.csv").exists()


def test_another_machine_and_another_choice_of_kernels_are_noted(finished_copy, monkeypatch):
    record = checkpoint.machine_record
    monkeypatch.setattr(checkpoint, "machine_record", lambda: {**record(), "cpu": "abacus"})
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    (note,) = (line for line in train(finished_copy, STEPS + 1).splitlines() if line.startswith("note:"))
    assert "-> abacus" in note and "settings {" in note and "'TF_ENABLE_ONEDNN_OPTS': '1'" in note
    assert checkpoint.load(finished_copy / "checkpoints", STEPS + 1).machine["settings"]["TF_ENABLE_ONEDNN_OPTS"] == "1"


# Signals


def test_three_parts_are_one_whole(finished, tmp_path, monkeypatch):
    """A signal ends each of the first two within a step, which is committed, and then the run is moved."""
    draw, folder, signals = draws.batch_indices, tmp_path / "run", {63: signal.SIGTERM, 129: signal.SIGINT}

    def draw_and_kill(count, batch_size, seed, step):
        if step in signals:
            os.kill(os.getpid(), signals.pop(step))
        return draw(count, batch_size, seed, step)

    monkeypatch.setattr(draws, "batch_indices", draw_and_kill)
    for code, step in ((143, 64), (130, 130)):
        result = run(*TINY, "--out_dir", folder, "--iterations", STEPS)
        assert (result.code, result.err) == (code, "") and result.out.endswith(f"\ncommitted {step}\n"), result
        folder = folder.rename(tmp_path / str(code))
    assert f"resumed at step 130 of {STEPS}" in train(folder, STEPS)
    assert_same_run(folder, finished)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_acts_at_once(number):
    before = signal.signal(number, signal.default_int_handler)  # a background job starts with SIGINT ignored
    try:
        with Signals() as signals:
            assert signals.number == 0
            os.kill(os.getpid(), number)
            assert signals.number == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


# Refusals


def assert_refused(folder, code, *flags):
    """A run in `folder` ends with `code` and one line, and changes nothing there; returns the line."""
    before = contents(folder)
    result = run(*TINY, "--out_dir", folder, "--iterations", STEPS + 1, *flags)
    assert_error(result, code)
    assert contents(folder) == before
    return result.err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("preset", "reference"), ("seed", "1"), ("z_dim", "9"), ("g_channels", "16,4"), ("d_channels", "4,8,16")),
        *(("g_batch_norm", "first"), ("output_kernel", "7"), ("ema_decay", "0.5")),
    ],
)
def test_another_architecture_or_seed_is_refused(finished, flag, value):
    line = assert_refused(finished, 4, f"--{flag}", value)
    assert f"--{flag}: found {value}" in line.replace("(", "").replace(")", "").replace(", ", ",")
    assert "--out_dir" in line


def test_another_data_set_is_refused(finished, tmp_path):
    np.savez(tmp_path / "other.npz", images=np.random.RandomState(0).randint(0, 256, (50, 28, 28), np.uint8))
    line = assert_refused(finished, 4, "--dataset", tmp_path / "other.npz")
    assert "--dataset: found other.npz" in line and "expected digits" in line


def test_already_trained(finished):
    before = contents(finished)
    for iterations in (STEPS, 7):
        assert (
            train(finished, iterations)
            == f"already trained: step {STEPS} of {iterations}; give a higher --iterations to go on\n"
        )
    told = output("--out_dir", finished, "--iterations", STEPS, "--lr_g", 2e-4)  # no change of the rate is told
    assert told == f"already trained: step {STEPS} of {STEPS}; give a higher --iterations to go on\n"
    assert contents(finished) == before


def test_no_good_checkpoint_never_starts_again(finished_copy):
    for path in (finished_copy / "checkpoints").glob("model-*.index"):
        path.write_bytes(b"")
    assert "no good checkpoint left" in assert_refused(finished_copy, 4)


def test_where_nothing_was_trained_a_damaged_start_is_made_again(finished_copy):
    folder = finished_copy / "checkpoints"
    for path in folder.glob("model-*"):
        path.unlink() if path.stem != "model-0" else path.write_bytes(b"")
    out = train(finished_copy, 2)
    assert "starting again" in out and "trying" not in out and (folder / "model-2.json").exists()


TABLES = {
    "foreign": lambda content: b"epoch,loss\n1,2\n",
    "no table": lambda content: b'{"loss": 1}',
    "damaged before the step": lambda content: content.replace(b"\n100,", b"\nx,"),
}


@pytest.mark.parametrize("change", TABLES)
def test_a_foreign_or_damaged_table_ends_the_run_before_it_trains(finished_copy, change):
    path = finished_copy / "logs" / "metrics.csv"
    path.write_bytes(TABLES[change](path.read_bytes()))
    assert "metrics.csv: found " in assert_refused(finished_copy, 5)


def test_a_run_and_its_going_on_may_be_too_short_for_a_row(tmp_path):
    for iterations in (3, 6):
        assert "curves:" not in train(tmp_path, iterations, "--log_every", 7)
    assert (tmp_path / "sample_image" / "0000006.png").exists() and not (tmp_path / "logs" / "curves.png").exists()


def test_another_learning_rate_is_accepted_and_told(finished_copy):
    out = train(finished_copy, STEPS + 10, "--lr_g", 0.0005, "--batch_size", 4)
    assert f"batch_size: 8 until step {STEPS}, 4 from there\n" in out
    assert f"lr_g: {Config().lr_g} until step {STEPS}, 0.0005 from there\n" in out
    assert "lr_d" not in out
    assert checkpoint.load(finished_copy / "checkpoints", STEPS + 10).config.lr_g == 0.0005
    assert "lr_g" not in train(finished_copy, STEPS + 20, "--lr_g", 0.0005, "--batch_size", 4)


@pytest.mark.parametrize(
    ("told", "expected"), [("", True), ("AVX512_CORE_BF16", True), ("default", True), ("avx2", False)]
)
def test_what_onednn_may_use(told, expected, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", told)
    for flags, capable in (("avx2 amx_bf16", True), ("avx512_bf16", True), ("avx2", False), ("", False)):
        monkeypatch.setattr(Path, "read_text", lambda path, flags=flags: f"flags: {flags}")  # of /proc/cpuinfo
        assert machine.computes_in_bfloat16() == (expected and capable)


def test_a_new_run_takes_the_fastest_precision_and_keeps_it(tmp_path, monkeypatch):
    automatic = ["--precision", "auto"]
    monkeypatch.setattr(session, "computes_in_bfloat16", lambda: True)
    began = train(tmp_path, 1, *automatic)
    assert ", bfloat16\n" in began and "note:" not in began
    monkeypatch.setattr(session, "computes_in_bfloat16", lambda: False)
    resumed = train(tmp_path, 2, *automatic)
    assert ", bfloat16\n" in resumed and "precision:" not in resumed
    assert "note: bfloat16 is slower than float32 here" in resumed
    assert checkpoint.load(tmp_path / "checkpoints", 2).config.precision == "bfloat16"
    assert "precision: bfloat16 until step 2, " in train(tmp_path, 3, "--precision", "float32")
    assert ", float32\n" in train(tmp_path / "other", 1, *automatic)


def test_a_run_is_held_by_one_process(finished):
    with checkpoint.lock(finished / "checkpoints"):
        assert f"held by process {os.getpid()}" in assert_refused(finished, 75)


# Divergence


@pytest.fixture
def poison(monkeypatch):
    """Makes z infinite at step 61, and with it all that depends on it."""
    draw = draws.latent

    def poisoned(seed, stream, counter, *others):
        z = draw(seed, stream, counter, *others)
        return z / 0 if (stream, counter) == (draws.Stream.TRAIN, 60) else z

    with np.errstate(divide="ignore"):
        monkeypatch.setattr(draws, "latent", poisoned)
        yield monkeypatch


def assert_diverged(result, folder, found):
    assert_error(result, 6, f"error: diverged: {found}; step 50 is kept")
    assert checkpoint.newest(folder / "checkpoints", pytest.fail).step == 50
    assert "nan" not in (folder / "logs" / "metrics.csv").read_text().lower()


def test_divergence_keeps_the_last_good_checkpoint(finished, tmp_path, poison):
    result = run(*TINY, "--out_dir", tmp_path, "--iterations", STEPS, "--log_every", 1000)
    assert_diverged(result, tmp_path, "a weight is NaN or infinite at step 100")
    poison.undo()
    train(tmp_path, 100)
    assert weights(tmp_path, 100) == weights(finished, 100)


def test_divergence_in_a_loss_ends_at_once(tmp_path, poison):
    result = run(*TINY, "--out_dir", tmp_path, "--iterations", STEPS)
    assert_diverged(result, tmp_path, "a loss is NaN or infinite at step 61")


def warnings_of(d_x, d_g_z, steps=2000):
    collapse = CollapseDetector()
    return [line for _ in range(steps) for line in collapse.check({"d_x": d_x, "d_g_z": d_g_z})]


CONTESTS = [(0.99, 0.01, "lower"), (1.0, 0.0, "lower"), (0.99, 0.99, "higher"), (0.01, 0.01, "higher")]
CONTESTS += [(*shares, None) for shares in ((0.5, 0.5), (0.7, 0.3), (0.95, 0.05), (0.85, 0.85), (0.15, 0.15))]


@pytest.mark.parametrize(("d_x", "d_g_z", "found"), CONTESTS)
def test_collapse_is_told_once(d_x, d_g_z, found):
    lines = warnings_of(d_x, d_g_z)
    assert len(lines) == (found is not None) and not warnings_of(d_x, d_g_z, steps=10)
    assert all(line.startswith("warning: D(x) is ") and f"{found} --lr_d" in line for line in lines)
