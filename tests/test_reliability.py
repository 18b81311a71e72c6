"""Kills, full disks and odd environments: a run goes on bit for bit, or says why not."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, STEPS, TINY, assert_error, contents, environment, run, train, weights
from test_checkpoint import sealed

from dcgan_tf1.runs import checkpoint

resource = pytest.importorskip("resource", reason="needs the limits of POSIX")


def command(*arguments, **options):
    """The completed process of `run.py` with `arguments`."""
    options = {"env": environment(), "capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([sys.executable, ROOT / "run.py", *map(str, arguments)], **options)


def temporaries(folder):
    return [*folder.rglob(".commit-*"), *folder.rglob(".*.tmp")]


def assert_goes_on(folder, finished):
    """The run in `folder` ends with the bits of the run that nothing interrupted. Returns what it prints."""
    printed = train(folder, STEPS)
    assert weights(folder, STEPS) == weights(finished, STEPS)
    assert contents(folder)["logs/metrics.csv"] == contents(finished)["logs/metrics.csv"]
    return printed


# Exact resume and kills


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--precision", "float32"],
        ["--preset", "reference", "--g_channels", "16,8,8,4", "--d_channels", "4,8,8", "--lr_d", "2e-4"],
    ],
    ids=["float32", "reference"],
)
def test_resume_is_exact_wherever_a_run_stops(tmp_path, flags):
    """At step 1, at the end of an epoch (28 steps), and just after."""
    flags = ["--batch_size", 64, *flags]
    train(tmp_path / "whole", 40, *flags)
    for iterations in (1, 28, 29, 40):
        train(tmp_path / "parts", iterations, *flags)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert weights(tmp_path / "parts", 40) == weights(tmp_path / "whole", 40)
    assert parts["logs/metrics.csv"] == whole["logs/metrics.csv"]
    assert all(parts[name] == content for name, content in whole.items() if name.startswith("sample_image"))


@pytest.mark.slow
def test_random_kills_lose_nothing():
    tool = [sys.executable, ROOT / "tools" / "kill.py", "--kills", "5"]
    result = subprocess.run(tool, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0 and "5 kills" in result.stdout and "0 losses" in result.stdout, result.stdout


BROKEN = """
import runpy, sys
import numpy as np
from dcgan_tf1.data import draws

draws.batch_indices = lambda count, size, seed, step: np.random.default_rng().integers(count, size=size)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_fault_injector_sees_a_resume_that_is_not_exact():
    tool = [sys.executable, "-c", BROKEN, ROOT / "tools" / "kill.py", "--kills", "1"]
    result = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert result.returncode == 1 and "0 losses" not in result.stdout and "model-200" in result.stdout, result


def test_a_checkpoint_of_other_networks_is_refused(finished_copy):
    """Every hash holds, but the networks are others, as if the program had changed them since."""
    path = finished_copy / "checkpoints" / f"model-{STEPS}.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["g_channels"] = [8, 16]
    path.write_text(sealed(manifest))
    assert_error(run(*TINY, "--g_channels", "8,16", "--out_dir", finished_copy, "--iterations", STEPS + 1), 4)


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


def test_no_room_at_any_size(tmp_path):
    """The first files that do not fit are pictures, then the events, metrics.csv and checkpoints."""
    told = set()
    for size in (0, 8000, 80000):
        with file_size_limit(size):
            result = run(*TINY, "--out_dir", tmp_path, "--iterations", STEPS)
        assert_error(result, 5)
        told.add(Path(result.err.removeprefix("error: ").partition(":")[0]).name)
        assert not temporaries(tmp_path)
        assert checkpoint.newest(tmp_path / "checkpoints", pytest.fail) is None
    assert {"real.png", "checkpoints"} <= told
    train(tmp_path, 1)


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
    assert_error(run(*TINY, "--out_dir", small_disk, "--iterations", STEPS), 5)
    assert not temporaries(small_disk)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert "resumed at step" in assert_goes_on(small_disk, finished)


@pytest.mark.parametrize("flag", ["out_dir", "sample_dir", "checkpoint_dir", "log_dir"])
@pytest.mark.parametrize("kind", ["kernel's", "link", "read-only"])
def test_unwritable_folders_are_told_before_training(tmp_path, no_tensorflow, flag, kind):
    folder = tmp_path / "folder"
    if kind == "kernel's":
        folder = Path("/proc/folder")
    elif kind == "link":
        folder.symlink_to(folder)
    else:
        if not os.geteuid():
            pytest.skip("root may write anywhere")
        folder.mkdir(mode=0o500)
    assert_error(run(*TINY, "--out_dir", tmp_path, f"--{flag}", folder), 5, str(folder))


@pytest.mark.parametrize("output", ["/dev/full", "closed pipe"])
def test_nowhere_to_print(finished, output):
    if output == "closed pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(output, os.O_WRONLY)
    flags = [*TINY, "--out_dir", finished, "--iterations", 1]
    result = command(*flags, capture_output=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert result.returncode == 5
    assert result.stderr.startswith("error: standard output: ") and result.stderr.count("\n") == 1


def test_temporaries_of_killed_processes_go_from_every_folder(finished_copy):
    mine, others = [".0000010.png.0123abcd.tmp", ".metrics.csv.89abcdef.tmp"], [".settings.tmp", "notes.12.tmp"]
    folders = [finished_copy / name for name in ("sample_image", "checkpoints", "logs")]
    for folder, name in itertools.product(folders, mine + others):
        (folder / name).write_bytes(b"")
    train(finished_copy, STEPS)
    for folder in folders:
        assert not any((folder / name).exists() for name in mine) and all((folder / name).exists() for name in others)


# Environment


@pytest.mark.slow
def test_a_bare_environment(finished, tmp_path):
    """A HOME that is not there, no locale, a strict ASCII output, no stdin, a private umask, and an awkward path."""
    folder = tmp_path / "ein schöner Ordner ☃ 数"
    # TF_ and BLAS settings choose kernels, and with them the last bits, so they stay.
    kernels = {name: value for name, value in environment().items() if name.startswith(checkpoint.KERNEL_SETTINGS)}
    bare = {**kernels, "PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    bare["HOME"] = "/proc/nobody"
    flags = [*TINY, "--out_dir", folder, "--iterations", 50]
    result = command(*flags, env=bare, stdin=subprocess.DEVNULL, cwd=tmp_path, umask=0o077)
    assert (result.returncode, result.stderr) == (0, "")
    assert weights(folder, 50) == weights(finished, 50)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


@pytest.mark.slow
def test_a_name_that_is_no_utf8(tmp_path):
    for iterations in (1, 2):
        train(tmp_path / os.fsdecode(b"\xff"), iterations)


@pytest.mark.slow
def test_a_clock_that_jumps_ten_years(finished, tmp_path, monkeypatch):
    now, jumps = time.time, itertools.cycle([0, 315_360_000, -315_360_000])
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    train(tmp_path, 60)
    assert_goes_on(tmp_path, finished)
