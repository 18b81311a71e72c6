"""A checkpoint is there whole or not at all, and damage to one costs that one alone."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import POSIX, ROOT, environment

from dcgan_tf1.config import Config
from dcgan_tf1.errors import BusyError, CheckpointError, OutputError, VersionError, one_line
from dcgan_tf1.runs import checkpoint

CONFIG = Config(max_to_keep=3)
DATASET = {"name": "digits", "digest": "0123"}
MACHINE = {"cpu": "abacus"}
SUFFIXES = ("data-00000-of-00001", "index", "json")


def save_as(content):
    """A stand-in for the Saver: writes two files of `content`."""

    def save(prefix):
        Path(f"{prefix}.data-00000-of-00001").write_bytes(content * 50)
        Path(f"{prefix}.index").write_bytes(content)

    return save


def commit(folder, step, config=CONFIG, save=None):
    checkpoint.commit(folder, step, save or save_as(b"weights of %d " % step), config, DATASET, MACHINE)


def newest(folder):
    """The newest step and the warnings on the way to it."""
    warnings = []
    found = checkpoint.newest(folder, warnings.append)
    return found and found.step, warnings


def files(folder):
    """The content of every file in `folder`, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def model_files(*steps):
    """The names of the files of checkpoints of `steps`."""
    return {f"model-{step}.{suffix}" for step in steps for suffix in SUFFIXES}


@pytest.fixture
def folder(tmp_path):
    """Commits of steps 0, 5 and 10."""
    for step in (0, 5, 10):
        commit(tmp_path, step)
    return tmp_path


def test_round_trip(folder):
    found = checkpoint.newest(folder, pytest.fail)
    assert found == checkpoint.load(folder, 10)
    assert found == (10, folder / "model-10", CONFIG, DATASET, MACHINE)
    assert (folder / "model-10.index").read_bytes() == b"weights of 10 "
    assert set(os.listdir(folder)) == model_files(0, 5, 10) | {"checkpoint"}
    state = (folder / "checkpoint").read_text()
    assert 'model_checkpoint_path: "model-10"' in state and str(folder) not in state
    assert json.loads((folder / "model-10.json").read_text())["format"] == 1  # another would shut out every run so far


def test_numbers_are_ordered_as_numbers(tmp_path):
    for step in (9, 10, 100):
        commit(tmp_path, step)
    assert newest(tmp_path) == (100, [])


def test_an_empty_folder_is_no_run(tmp_path):
    assert newest(tmp_path) == (None, [])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model-x.json").write_text("mine")
    assert newest(tmp_path) == (None, [])


# Damage


def flipped(content, part):
    """`content` with one bit flipped, `part` ninths of the way through it."""
    spoilt = bytearray(content)
    spoilt[part * (len(content) - 1) // 9] ^= 1 << part % 8
    return bytes(spoilt)


DAMAGE = {
    **{f"bit flipped at {part}/9": lambda content, part=part: flipped(content, part) for part in range(10)},
    "last byte cut": lambda content: content[:-1],
    "cut in half": lambda content: content[: len(content) // 2],
    "a byte more": lambda content: content + b"\0",
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "removed": lambda content: None,
}


def damage(path, how):
    content = DAMAGE[how](path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over_with_one_warning(folder, suffix, how):
    damage(folder / f"model-10.{suffix}", how)
    step, warnings = newest(folder)
    assert step == 5
    (line,) = warnings
    assert "model-10." in line and line == " ".join(line.split())
    with pytest.raises(CheckpointError, match="model-10"):
        checkpoint.load(folder, 10)


@pytest.mark.parametrize("how", DAMAGE)
def test_all_damaged(folder, how):
    for step, suffix in ((0, "json"), (5, "index"), (10, "data-00000-of-00001")):
        damage(folder / f"model-{step}.{suffix}", how)
    warnings = []
    with pytest.raises(CheckpointError, match="no good checkpoint left") as caught:
        checkpoint.newest(folder, warnings.append)
    assert len(warnings) == 3 and "--out_dir" in one_line(caught.value)
    assert "model-10." in str(caught.value)


@POSIX
def test_other_kinds_of_files_are_passed_over(folder):
    for suffix in SUFFIXES:
        path = folder / f"model-10.{suffix}"
        content = path.read_bytes()
        path.unlink()
        path.mkdir()
        assert newest(folder)[0] == 5
        path.rmdir()
        os.mkfifo(path)
        assert newest(folder)[0] == 5
        path.unlink()
        path.symlink_to("nowhere")
        assert newest(folder)[0] == 5
        path.unlink()
        path.write_bytes(content)
    assert newest(folder) == (10, [])


def test_files_of_two_commits_do_not_mix(folder):
    (folder / "model-10.index").write_bytes((folder / "model-5.index").read_bytes())
    assert newest(folder)[0] == 5
    for suffix in SUFFIXES:
        (folder / f"model-5.{suffix}").replace(folder / f"model-20.{suffix}")
    assert newest(folder)[0] == 0


@pytest.mark.parametrize("present", [SUFFIXES[:1], SUFFIXES[:2], SUFFIXES[1:2]])
def test_a_first_commit_cut_short_is_no_run(tmp_path, present):
    for suffix in present:
        (tmp_path / f"model-0.{suffix}").write_bytes(b"half")
    step, warnings = newest(tmp_path)
    assert step is None and len(warnings) == 1
    commit(tmp_path, 0)
    assert newest(tmp_path) == (0, [])


@pytest.mark.parametrize("step", [1, 5])
def test_a_later_commit_cut_short_is_a_run(tmp_path, step):
    (tmp_path / f"model-{step}.index").write_bytes(b"half")
    with pytest.raises(CheckpointError):
        newest(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"weights of 1", "bytes 12, expected 14"), (b"weights of 11 ", "sha256 1848b5c1")],
)
def test_damage_is_described(folder, content, expected):
    (folder / "model-10.index").write_bytes(content)
    with pytest.raises(CheckpointError, match=expected):
        checkpoint.load(folder, 10)


def sealed(record):
    """`record` as a manifest whose own hash holds."""
    record = {name: value for name, value in record.items() if name != "sha256"}
    text = json.dumps(record, sort_keys=True)
    return json.dumps({**record, "sha256": hashlib.sha256(text.encode()).hexdigest()})


OF_ANOTHER_VERSION = {
    "format": lambda m: m.update(format=99),
    "config of null": lambda m: m.update(config=None),
    "config of a list": lambda m: m.update(config=[1]),
    "empty config": lambda m: m.update(config={}),
    "unknown config field": lambda m: m["config"].update(colour="red"),
    "missing config field": lambda m: m["config"].pop("preset"),
    "config of wrong type": lambda m: m["config"].update(z_dim="100"),
    "config out of range": lambda m: m["config"].update(z_dim=10**9),
    "huge config": lambda m: m["config"].update(lr_g=10**400),
    "NaN config": lambda m: m["config"].update(lr_g=float("nan")),
    "nested config": lambda m: m["config"].update(g_channels=[[[1]]]),
    "config of an object": lambda m: m["config"].update(g_channels={}),
    "preset of a list": lambda m: m["config"].update(preset=[]),
    "unknown preset": lambda m: m["config"].update(preset="best"),
    "long text": lambda m: m["config"].update(model="x" * 10**5),
}
CHANGES = {
    "no change": None,
    "another step": lambda m: m.update(step=11),
    "step of text": lambda m: m.update(step="10"),
    "no files": lambda m: m.pop("files"),
    "files of text": lambda m: m.update(files="all"),
    "one file": lambda m: m["files"].pop("model-10.index"),
    "file of null": lambda m: m["files"].update({"model-10.index": None}),
    "hash of null": lambda m: m["files"]["model-10.index"].update(sha256=None),
    "bytes of text": lambda m: m["files"]["model-10.index"].update(bytes="14"),
    "huge bytes": lambda m: m["files"]["model-10.index"].update(bytes=10**400),
    "no config": lambda m: m.pop("config"),
    "no dataset": lambda m: m.pop("dataset"),
    "dataset of text": lambda m: m.update(dataset="digits"),
    "dataset of null": lambda m: m.update(dataset=None),
    "dataset without digest": lambda m: m["dataset"].pop("digest"),
    "digest of a number": lambda m: m["dataset"].update(digest=7),
    "no machine": lambda m: m.pop("machine"),
    "machine of text": lambda m: m.update(machine="abacus"),
    **OF_ANOTHER_VERSION,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_manifest_of_strange_content(folder, change):
    """The manifest's own hash holds, as if another program, or another version of this one, had written it."""
    path = folder / "model-10.json"
    manifest = json.loads(path.read_bytes())
    if change == "no change":
        path.write_text(sealed(manifest))
        assert newest(folder) == (10, [])
        return
    CHANGES[change](manifest)
    path.write_text(sealed(manifest))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder, 10)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line and len(line) < len(str(path)) + 130
    if change in OF_ANOTHER_VERSION:  # to go on from step 5 would lose what that version trained
        with pytest.raises(VersionError):
            newest(folder)
    else:
        assert newest(folder)[0] == 5


TEXTS = {
    "nothing": b"",
    "null": b"null",
    "number": b"1",
    "text": b'"text"',
    "list": b"[]",
    "object": b"{}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep inside": b'{"sha256": "", "config": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "huge number": b'{"sha256": "", "step": ' + b"9" * 10_000 + b"}",
    "huge exponent": b'{"sha256": "", "step": 1e999}',
    "not UTF-8": b"\xff\xfe\x00\x01",
    "zeros": bytes(1000),
    "surrogate": b'{"sha256": "\\ud800"}',
    "too long": b'{"sha256": "' + b"a" * (2 << 20) + b'"}',
    "control characters": b"\x1b[2J\r\n" * 100,
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_manifest_of_strange_text(folder, text):
    (folder / "model-10.json").write_bytes(TEXTS[text])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder, 10)
    assert "\n" not in one_line(caught.value) and "model-10.json" in str(caught.value)
    step, warnings = newest(folder)
    assert step == 5 and len(warnings) == 1


def test_no_manifest_is_read_beyond_a_mebibyte(folder):
    """The manifest is a sparse file of 1 TiB."""
    with (folder / "model-10.json").open("wb") as file:
        file.truncate(1 << 40)
    assert newest(folder)[0] == 5


@pytest.mark.parametrize("state", [None, b"", b"\x00\xff" * 100, b'model_checkpoint_path: "/nowhere/model-99"\n'])
def test_the_state_file_is_not_trusted(folder, state):
    (folder / "checkpoint").unlink()
    if state is not None:
        (folder / "checkpoint").write_bytes(state)
    assert newest(folder) == (10, [])
    commit(folder, 15)
    assert newest(folder) == (15, []) and b'"model-15"' in (folder / "checkpoint").read_bytes()


@POSIX
def test_a_dangling_state_file(folder):
    (folder / "checkpoint").unlink()
    (folder / "checkpoint").symlink_to("nowhere")
    assert newest(folder) == (10, [])
    commit(folder, 15)
    assert newest(folder) == (15, [])


def test_a_moved_folder(folder, tmp_path):
    moved = folder.rename(tmp_path.with_name(tmp_path.name + "-moved"))
    assert newest(moved) == (10, [])
    assert checkpoint.load(moved, 10).prefix == moved / "model-10"


# Commits


def test_rotation_keeps_the_newest(tmp_path):
    for step in range(0, 60, 10):
        commit(tmp_path, step)
        assert set(files(tmp_path)) == model_files(*range(max(0, step - 20), step + 1, 10)) | {"checkpoint"}


def test_rotation_removes_older_orphans(folder):
    (folder / "model-3.index").write_bytes(b"orphan")
    (folder / "model-7.json").write_bytes(b"orphan")
    (folder / "notes.txt").write_bytes(b"mine")
    commit(folder, 15)
    commit(folder, 20)
    commit(folder, 25)
    assert set(files(folder)) == model_files(15, 20, 25) | {"checkpoint", "notes.txt"}


def test_nothing_is_removed_before_there_are_more_than_are_kept(folder):
    (folder / "model-3.index").write_bytes(b"orphan")
    checkpoint.rotate(folder, 3)
    assert (folder / "model-3.index").exists() and model_files(0, 5, 10) <= set(files(folder))


def test_keep_one(folder):
    commit(folder, 15, CONFIG.replace(max_to_keep=1))
    assert set(files(folder)) == model_files(15) | {"checkpoint"}


def test_a_damaged_later_checkpoint_does_not_drive_out_a_good_one(folder):
    """A run that went on from step 5 because 10 was damaged commits 7, and keeps only one."""
    damage(folder / "model-10.index", "emptied")
    commit(folder, 7, CONFIG.replace(max_to_keep=1))
    assert newest(folder)[0] == 7


def test_a_damaged_checkpoint_can_be_committed_again(folder):
    damage(folder / "model-10.index", "emptied")
    commit(folder, 10)
    assert newest(folder) == (10, [])


def test_a_checkpoint_that_cannot_be_removed_is_no_reason_to_stop(folder, monkeypatch):
    """On Windows a file that another process reads is such a one. It goes when nobody reads it any more."""
    remove, refused = os.unlink, []

    def refuse(path, **options):
        if Path(path).name.startswith("model-0.data"):
            refused.append(path)
            raise PermissionError(13, "used by another process", str(path))
        remove(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    commit(folder, 15)
    assert refused and newest(folder) == (15, [])
    left = {"model-0.data-00000-of-00001", "model-0.index"}
    assert set(files(folder)) == model_files(5, 10, 15) | {"checkpoint"} | left
    monkeypatch.undo()
    commit(folder, 20)
    assert set(files(folder)) == model_files(10, 15, 20) | {"checkpoint"}


def test_a_temporary_folder_that_cannot_be_removed_is_no_reason_to_stop(folder, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", rmtree_that_fails)
    commit(folder, 15)
    checkpoint.clean(folder)
    assert list(folder.glob(".commit-*"))
    monkeypatch.undo()
    checkpoint.clean(folder)
    assert newest(folder) == (15, []) and not list(folder.glob(".commit-*"))


def rmtree_that_fails(path, ignore_errors=False):
    if not ignore_errors:
        raise OSError(5, "Input/output error", str(path))


def full_disk(prefix):
    Path(f"{prefix}.index").write_bytes(b"half")
    raise OSError(28, "No space left on device")


def wrong(prefix):
    raise RuntimeError("a Saver's error\nof two lines")


def nothing(prefix):
    pass


def unexplained(prefix):
    raise OSError("of no number")


@pytest.mark.parametrize("save", [full_disk, wrong, nothing, unexplained])
def test_a_failing_save_leaves_everything_as_it_was(folder, save):
    before = files(folder)
    with pytest.raises(OutputError) as caught:
        commit(folder, 15, save=save)
    assert "step 15" in str(caught.value) and "\n" not in str(caught.value) and "None" not in str(caught.value)
    assert files(folder) == before and set(os.listdir(folder)) == set(before)
    assert newest(folder) == (10, [])


@pytest.mark.parametrize("allowed", range(12))
def test_a_disk_that_fails_at_any_time(folder, monkeypatch, allowed):
    """After `allowed` calls, those that make a commit durable fail. The newest is then the old one or the new one."""
    left = allowed

    def limited(call):
        def run(*arguments, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return run

    for name in ("fsync", "replace", "rename", "mkdir"):
        monkeypatch.setattr(os, name, limited(getattr(os, name)))
    failed = False
    try:
        commit(folder, 15)
    except OutputError as error:
        failed = True
        assert "No space left" in str(error)
    monkeypatch.undo()
    assert failed == (left < 0)
    step, warnings = newest(folder)
    assert step == 15 or failed and step == 10 and not warnings
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
    commit(folder, 15)
    assert newest(folder) == (15, [])


@POSIX  # elsewhere no folder is synced
def test_every_file_of_a_commit_is_durable_before_it_has_its_name(folder, monkeypatch):
    """A machine that loses power keeps a name without its content, unless the content was synced first."""
    synced, events = set(), []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor):
        fsync(descriptor)
        status = os.fstat(descriptor)
        synced.add((status.st_dev, status.st_ino))
        events.append(("sync", status.st_ino))

    def note_rename(source, target, **options):
        status = os.stat(source)
        assert (status.st_dev, status.st_ino) in synced, f"{target} was renamed before it was synced"
        replace(source, target, **options)
        events.append(("rename", Path(target).name))

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    commit(folder, 15)
    monkeypatch.undo()
    renamed = [name for event, name in events if event == "rename"]
    assert renamed == ["model-15.data-00000-of-00001", "model-15.index", "model-15.json", "checkpoint"]
    manifest = events.index(("rename", "model-15.json"))
    assert events[manifest + 1] == ("sync", folder.stat().st_ino)


def test_interruption_leaves_no_temporaries(folder):
    def interrupted(prefix):
        raise KeyboardInterrupt

    before = set(os.listdir(folder))
    with pytest.raises(KeyboardInterrupt):
        commit(folder, 15, save=interrupted)
    assert set(os.listdir(folder)) == before


def test_a_commit_that_cannot_be_read_back_drives_out_nothing(folder, monkeypatch):
    """Rotation comes after the new commit was verified."""

    def damaged(*arguments):
        raise CheckpointError("damaged")

    monkeypatch.setattr(checkpoint, "load", damaged)
    with pytest.raises((CheckpointError, OutputError)):
        commit(folder, 15)
    monkeypatch.undo()
    assert model_files(0, 5, 10) <= set(files(folder))


def test_clean_removes_what_a_killed_process_left(folder):
    before = set(os.listdir(folder))
    (folder / ".commit-abc").mkdir()
    (folder / ".commit-abc" / "model-15.index").write_bytes(b"half")
    (folder / ".model-15.json.4711.tmp").write_bytes(b"half")
    (folder / ".lock").write_text("1\n")
    (folder / "notes.tmp").write_text("mine")
    checkpoint.clean(folder)
    assert set(os.listdir(folder)) == before | {".lock", "notes.tmp"}


# The lock

HOLD = """
import sys
from pathlib import Path
from dcgan_tf1.runs import checkpoint
with checkpoint.lock(Path(sys.argv[1])):
    {then}
"""


def hold(folder, then):
    command = [sys.executable, "-c", HOLD.format(then=then), folder]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_run_has_one_process(tmp_path):
    folder = tmp_path / "run"
    with hold(folder, "print('held', flush=True); input()") as holder:
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(BusyError, match=rf"held by process {holder.pid};"), checkpoint.lock(folder):
                pass
        holder.kill()
    with checkpoint.lock(folder), hold(folder, "pass") as second:
        _, err = second.communicate(timeout=30)
        assert f"BusyError: {folder}: held by process {os.getpid()}" in err
    with checkpoint.lock(folder):
        pass
    assert not (folder / ".holder").exists()


@POSIX
def test_a_lock_of_older_versions_is_the_same(tmp_path):
    """Older versions locked the same file by flock, and wrote their process ids into it."""
    import fcntl

    with (tmp_path / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write("4711\n")
        file.flush()
        with pytest.raises(BusyError), checkpoint.lock(tmp_path):
            pass
        assert (tmp_path / ".lock").read_text() == "4711\n"
    with checkpoint.lock(tmp_path), (tmp_path / ".lock").open("a+") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_cannot_be_made(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OutputError, match=r"\.lock"), checkpoint.lock(tmp_path):
        pass
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="file"), checkpoint.lock(tmp_path / "file"):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"rm -rf\n1", None])
def test_a_holder_without_a_number_is_unknown(content, tmp_path):
    with checkpoint.lock(tmp_path):
        (tmp_path / ".holder").unlink()
        if content is not None:
            (tmp_path / ".holder").write_bytes(content)
        with pytest.raises(BusyError, match="held by process unknown;"), checkpoint.lock(tmp_path):
            pass


def test_a_machine_is_described():
    record = checkpoint.machine_record()
    assert {"python", "tensorflow", "numpy", "cpu", "cores"} <= set(record)
    assert record == checkpoint.machine_record() == json.loads(json.dumps(record))
    import numpy
    import tensorflow

    assert (record["tensorflow"], record["numpy"]) == (tensorflow.__version__, numpy.__version__)
    assert record["python"] == platform.python_version()


def test_settings_that_choose_kernels_are_recorded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("COLOUR", "red")
    settings = checkpoint.machine_record()["settings"]
    assert settings["OMP_NUM_THREADS"] == "3" and "COLOUR" not in settings
