"""Kills, full disks, damage at scale and odd environments: a run goes on bit for bit, or says why not."""

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, STEPS, TINY, contents, environment, run, train, weights

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError, OutputError
from dcgan_tf1.files import write_whole
from dcgan_tf1.runs import checkpoint

FILES = ("data-00000-of-00001", "index", "json")


def command(*arguments, **options):
    """The completed process of `run.py` with `arguments`."""
    options = {"env": environment(), "capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, ROOT / "run.py", *map(str, arguments)], **options)


def assert_one_line(result, code):
    assert result.code == code, result
    assert result.err.startswith("error: ") and result.err.count("\n") == 1 and len(result.err) <= 201, result.err


def no_tensorflow(monkeypatch):
    monkeypatch.setattr(tensorflow_import, "import_tensorflow", lambda: pytest.fail("TensorFlow was imported"))


def temporaries(folder):
    return [*folder.rglob(".commit-*"), *folder.rglob(".*.tmp")]


# Exact resume and kills


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--precision", "float32"],
        ["--precision", "bfloat16"],
        ["--preset", "reference", "--g_channels", "16,8,8,4", "--d_channels", "4,8,8", "--lr_d", "2e-4"],
    ],
    ids=["float32", "bfloat16", "reference"],
)
def test_resume_is_exact_wherever_a_run_stops(tmp_path, flags):
    """At step 1, within an epoch (28 steps), at its end, just after, and one step before the last."""
    flags = ["--batch_size", 64, *flags]
    train(tmp_path / "whole", 40, *flags)
    for iterations in (1, 14, 28, 29, 39, 40):
        train(tmp_path / "parts", iterations, *flags)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert weights(tmp_path / "parts", 40) == weights(tmp_path / "whole", 40)
    assert parts["logs/metrics.csv"] == whole["logs/metrics.csv"]
    assert all(parts[name] == content for name, content in whole.items() if name.startswith("sample_image"))


@pytest.mark.slow
def test_random_kills_lose_nothing():
    tool = [sys.executable, ROOT / "tools" / "kill.py", "--kills", "10"]
    result = subprocess.run(tool, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0 and "10 kills" in result.stdout and "0 losses" in result.stdout, result.stdout


# Damage


def cut(share):
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def replaced(make):
    def damage(path):
        path.unlink()
        make(path)

    return damage


DAMAGES = {
    **{f"cut to {part}/11": cut(part / 11) for part in range(11)},
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "a link to a device": replaced(lambda path: path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_the_one_before_is_taken(commits, suffix, damage):
    DAMAGES[damage](commits / f"model-20.{suffix}")
    warnings = []
    assert checkpoint.newest(commits, warnings.append).step == 10
    assert len(warnings) == 1 and "model-20" in warnings[0]
    DAMAGES[damage](commits / f"model-10.{suffix}")
    with pytest.raises(CheckpointError, match="no good checkpoint left"):
        checkpoint.newest(commits, warnings.append)


def commit(folder, step, keep=100):
    """A commit of files that only look like the Saver's."""

    def save(prefix):
        for suffix in FILES[:2]:
            Path(f"{prefix}.{suffix}").write_bytes(f"{suffix} of {step}".encode() * 99)

    checkpoint.commit(folder, step, save, Config(max_to_keep=keep), {"name": "digits", "digest": "0"}, {})


@pytest.fixture
def commits(tmp_path):
    for step in (10, 20):
        commit(tmp_path, step)
    return tmp_path


def test_a_checkpoint_of_other_networks_is_refused(finished_copy):
    """Every hash holds, but the networks are others, as if the program had changed them since."""
    path = finished_copy / "checkpoints" / f"model-{STEPS}.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["g_channels"] = [8, 16]
    del manifest["sha256"]
    path.write_text(json.dumps({**manifest, "sha256": checkpoint._seal(manifest)}))
    result = run(*TINY, "--g_channels", "8,16", "--out_dir", finished_copy, "--iterations", STEPS + 1)
    assert_one_line(result, 4)


# Storage


@contextlib.contextmanager
def file_size_limit(size):
    """A context in which no file can grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_no_room_at_any_size(finished, tmp_path):
    """The first files that do not fit are pictures, then the events, metrics.csv and checkpoints."""
    told = set()
    for size in (0, 100, 8000, 30000, 80000):
        with file_size_limit(size):
            result = run(*TINY, "--out_dir", tmp_path, "--iterations", STEPS)
        assert_one_line(result, 5)
        told.add(Path(result.err.removeprefix("error: ").partition(":")[0]).name)
        assert not temporaries(tmp_path)
        assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail) is None
    assert {"real.png", "checkpoints"} <= told
    train(tmp_path, STEPS)
    assert weights(tmp_path, STEPS) == weights(finished, STEPS)


@pytest.mark.parametrize("room", [0, 700])
def test_no_room_for_a_running_run(finished, tmp_path, room):
    """metrics.csv or the events can grow no further; the pictures and checkpoints of a tiny run are smaller."""
    train(tmp_path, 100)
    shutil.rmtree(tmp_path / "sample_image")
    table = tmp_path / "logs" / "metrics.csv"
    table.write_bytes(table.read_bytes())
    with file_size_limit(table.stat().st_size + room):
        result = run(*TINY, "--out_dir", tmp_path, "--iterations", STEPS)
    assert_one_line(result, 5)
    assert not temporaries(tmp_path) and checkpoint.newest(tmp_path / "checkpoints", pytest.fail).step == 100
    train(tmp_path, STEPS)
    assert weights(tmp_path, STEPS) == weights(finished, STEPS)
    assert contents(tmp_path)["logs/metrics.csv"] == contents(finished)["logs/metrics.csv"]


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounts no tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_and_then_room(finished, small_disk):
    assert_one_line(run(*TINY, "--out_dir", small_disk, "--iterations", STEPS), 5)
    assert not temporaries(small_disk)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert "resumed at step" in train(small_disk, STEPS).out
    assert weights(small_disk, STEPS) == weights(finished, STEPS)


@pytest.mark.parametrize("flag", ["out_dir", "sample_dir", "checkpoint_dir", "log_dir"])
@pytest.mark.parametrize("kind", ["kernel's", "link", "read-only"])
def test_unwritable_folders_are_told_before_training(tmp_path, monkeypatch, flag, kind):
    no_tensorflow(monkeypatch)
    folder = tmp_path / "folder"
    if kind == "kernel's":
        folder = Path("/proc/folder")
    elif kind == "link":
        folder.symlink_to(folder)
    else:
        if not os.geteuid():
            pytest.skip("root may write anywhere")
        folder.mkdir(mode=0o500)
    result = run(*TINY, "--out_dir", tmp_path, f"--{flag}", folder)
    assert_one_line(result, 5)
    assert str(folder) in result.err


@pytest.mark.parametrize("output", ["/dev/full", "closed pipe"])
def test_nowhere_to_print(finished, output):
    flags = [*TINY, "--out_dir", finished, "--iterations", 1]
    if output == "/dev/full":
        with open(output, "w") as full:
            result = command(*flags, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        result = command(*flags, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
    assert result.returncode == 5
    assert result.stderr.startswith("error: standard output: ") and result.stderr.count("\n") == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def fail_halfway(file):
        file.write(b"ne")
        file.flush()
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_whole(path, fail_halfway)
    assert os.listdir(tmp_path) == ["picture.png"] and path.read_bytes() == b"old"


def test_restarts_do_not_fill_the_disk(tmp_path):
    sizes = []
    for restart in range(1, 51):
        with checkpoint.lock(tmp_path):
            (tmp_path / f".commit-{restart}").mkdir()  # as of a process that was killed
            (tmp_path / f".model-9.json.{restart}.tmp").write_bytes(b"half")
            (tmp_path / f"model-{restart * 10 - 5}.index").write_bytes(b"half")
            checkpoint.clean(tmp_path)
            commit(tmp_path, restart * 10, keep=3)
        sizes.append(sum(len(content) for content in contents(tmp_path).values()))
        assert not temporaries(tmp_path) and len(os.listdir(tmp_path)) <= 2 + 3 * 4
    assert max(sizes) < 1.1 * sizes[3]


def test_temporaries_of_killed_processes_go_from_every_folder(finished_copy):
    mine, others = [".0000010.png.123.tmp", ".metrics.csv.7.tmp"], [".settings.tmp", "notes.12.tmp"]
    folders = [finished_copy / name for name in ("sample_image", "checkpoints", "logs")]
    for folder, name in itertools.product(folders, mine + others):
        (folder / name).write_bytes(b"")
    train(finished_copy, STEPS)
    for folder in folders:
        assert not any((folder / name).exists() for name in mine) and all((folder / name).exists() for name in others)


# Two at once


def test_the_second_process_is_refused_at_once(tmp_path):
    holding = "import sys, time; from dcgan_tf1.runs import checkpoint; from pathlib import Path\n"
    holding += "with checkpoint.lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    folder = str(tmp_path / "checkpoints")
    holder = subprocess.Popen([sys.executable, "-c", holding, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        trying = "import sys; from dcgan_tf1.cli import main; code = main(sys.argv[1:])\n"
        trying += "assert 'tensorflow' not in sys.modules; sys.exit(code)"
        began = time.monotonic()
        second = subprocess.run(
            [sys.executable, "-c", trying, "--out_dir", tmp_path], cwd=ROOT, capture_output=True, text=True
        )
        assert time.monotonic() - began < 5  # the interpreter's start included, on a busy machine
        assert second.returncode == 75 and second.stderr.count("\n") == 1
        assert f"held by process {holder.pid};" in second.stderr
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with checkpoint.lock(tmp_path / "checkpoints"):
        pass


# Environment


def test_a_bare_environment(finished, tmp_path):
    """No HOME, no locale, a strict ASCII output, no terminal, no stdin, a private umask, and an awkward path."""
    folder = tmp_path / "ein schöner Ordner ☃ 数"
    # TF_ and BLAS settings choose kernels, and with them the last bits, so they stay.
    kernels = {name: value for name, value in environment().items() if name.startswith(checkpoint.KERNEL_SETTINGS)}
    bare = {**kernels, "PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    flags = [*TINY, "--out_dir", folder, "--iterations", 50]
    result = command(*flags, env=bare, stdin=subprocess.DEVNULL, cwd=tmp_path, umask=0o077)
    assert (result.returncode, result.stderr) == (0, "")
    assert weights(folder, 50) == weights(finished, 50)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    again = command(*flags, "--iterations", 60, env={**bare, "HOME": "/proc/nobody"}, cwd="/")
    assert (again.returncode, again.stderr) == (0, "")
    assert "resumed at step 50" in again.stdout


@pytest.mark.slow
def test_a_name_that_is_no_utf8(tmp_path):
    for iterations in (1, 2):
        train(tmp_path / os.fsdecode(b"\xff"), iterations)


@pytest.mark.slow
def test_a_clock_that_jumps_ten_years(finished, tmp_path, monkeypatch):
    now, jumps = time.time, itertools.cycle([0, 315_360_000, -315_360_000])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    for iterations in (60, STEPS):
        train(tmp_path, iterations)
    assert weights(tmp_path, STEPS) == weights(finished, STEPS)
    assert contents(tmp_path)["logs/metrics.csv"] == contents(finished)["logs/metrics.csv"]
