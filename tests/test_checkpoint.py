"""A checkpoint is there whole or not at all, and damage to one costs that one alone; nothing needs TensorFlow."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import POSIX, ROOT, assert_error, at_most, contents, environment, python, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcgan_tf1.config import Config
from dcgan_tf1.errors import BusyError, CheckpointError, OutputError, UsageError, VersionError
from dcgan_tf1.runs import checkpoint

CONFIG = Config(max_to_keep=3)
DATASET = {"name": "digits", "digest": "0123"}
MACHINE = {"cpu": "abacus"}
SUFFIXES = ("data-00000-of-00001", "index", "json")
pytestmark = pytest.mark.usefixtures("no_tensorflow")


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


def model_files(*steps):
    """The names of the files of checkpoints of `steps`."""
    return {f"model-{step}.{suffix}" for step in steps for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def three_commits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commits")
    for step in (0, 5, 10):
        commit(folder, step)
    return folder


@pytest.fixture
def folder(three_commits, tmp_path):
    """Commits of steps 0, 5 and 10, which were made elsewhere, where a run in `tmp_path` has them."""
    return shutil.copytree(three_commits, tmp_path / "checkpoints")


def assert_refused(folder, error=CheckpointError):
    """The checkpoint of step 10 is refused, and the one before it is taken instead, with one warning.

    One of another version is not passed over: to go on from step 5 would lose what that version trained. Without an
    older one the command ends with one line. All of it takes little time and memory.
    """
    with at_most(1, 100e6), pytest.raises(error, match="model-10") as caught:
        checkpoint.load(folder, 10)
    line = str(caught.value)
    assert line.startswith(str(folder)) and line == " ".join(line.split()) and len(line) < len(str(folder)) + 150
    if error is VersionError:
        with pytest.raises(VersionError):
            newest(folder)
    else:
        step, warnings = newest(folder)
        assert step == 5 and len(warnings) == 1 and line in warnings[0]
    for name in model_files(0, 5):
        (folder / name).unlink()
    with at_most(1, 100e6):
        result = run("--out_dir", folder.parent)
    assert_error(result, 4)
    assert result.err.isascii()
    lines = result.out.splitlines()
    assert len(lines) == (error is not VersionError)
    assert all(line.startswith("warning: ") and len(line) <= 200 for line in lines)


def test_round_trip(folder):
    found = checkpoint.newest(folder, pytest.fail)
    assert found == checkpoint.load(folder, 10)
    assert found == (10, folder / "model-10", CONFIG, DATASET, MACHINE)
    assert (folder / "model-10.index").read_bytes() == b"weights of 10 "
    assert set(os.listdir(folder)) == model_files(0, 5, 10) | {"checkpoint"}
    state = (folder / "checkpoint").read_text()
    assert 'model_checkpoint_path: "model-10"' in state and str(folder) not in state
    assert json.loads((folder / "model-10.json").read_text())["format"] == 2  # another would shut out every run so far


def test_an_empty_folder_is_no_run(tmp_path):
    assert newest(tmp_path) == (None, [])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model-x.json").write_text("mine")
    assert newest(tmp_path) == (None, [])


# Damage


def rewritten(change):
    """Damage that changes the content of a file."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced(make):
    """Damage that puts something else in a file's place."""
    return lambda path: (path.unlink(), make(path))


def flipped(content, part):
    """`content` with one bit flipped, `part` ninths of the way through it."""
    spoilt = bytearray(content)
    spoilt[part * (len(content) - 1) // 9] ^= 1 << part % 8
    return bytes(spoilt)


DAMAGE = {
    **{f"bit flipped at {n}/9": rewritten(lambda content, n=n: flipped(content, n)) for n in range(10)},
    **{f"cut to {n}/11": rewritten(lambda content, n=n: content[: len(content) * n // 11]) for n in range(11)},
    "last byte cut": rewritten(lambda content: content[:-1]),
    "a byte more": rewritten(lambda content: content + b"\0"),
    "zeroed": rewritten(lambda content: bytes(len(content))),
    "a terabyte": lambda path: os.truncate(path, 1 << 40),  # of which the disk holds nothing
    "removed": Path.unlink,
    "a folder": replaced(Path.mkdir),
}
ODD_FILES = {
    "a pipe": replaced(lambda path: os.mkfifo(path)),
    "a link to nowhere": replaced(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "a link to a device": replaced(lambda path: path.symlink_to("/dev/zero")),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", [*DAMAGE, *(pytest.param(how, marks=POSIX) for how in ODD_FILES)])
def test_a_damaged_checkpoint_is_passed_over_with_one_warning(folder, suffix, how):
    (DAMAGE | ODD_FILES)[how](folder / f"model-10.{suffix}")
    assert_refused(folder)


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
    "unknown config field": lambda m: m["config"].update(colour="red"),
    "missing config field": lambda m: m["config"].pop("preset"),
    "config of wrong type": lambda m: m["config"].update(z_dim="100"),
    "config out of range": lambda m: m["config"].update(z_dim=10**9),
    "unknown preset": lambda m: m["config"].update(preset="best"),
    "long text": lambda m: m["config"].update(model="x" * 10**5),
}
CHANGES = {
    "another step": lambda m: m.update(step=11),
    "no files": lambda m: m.pop("files"),
    "one file": lambda m: m["files"].pop("model-10.index"),
    "file of null": lambda m: m["files"].update({"model-10.index": None}),
    "hash of null": lambda m: m["files"]["model-10.index"].update(sha256=None),
    "bytes of text": lambda m: m["files"]["model-10.index"].update(bytes="14"),
    "huge bytes": lambda m: m["files"]["model-10.index"].update(bytes=10**400),
    "no config": lambda m: m.pop("config"),
    "no dataset": lambda m: m.pop("dataset"),
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
    path.write_text(sealed(manifest))
    assert newest(folder) == (10, [])
    CHANGES[change](manifest)
    path.write_text(sealed(manifest))
    assert_refused(folder, VersionError if change in OF_ANOTHER_VERSION else CheckpointError)


TEXTS = {
    "nothing": b"",
    "null": b"null",
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
    assert_refused(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["format", "step", "files", "config", "dataset", "machine"]), value=JSON)
def test_any_json_in_a_manifest_is_read_or_refused(folder, field, value):
    path = folder / "model-10.json"
    before = path.read_bytes()
    path.write_text(sealed({**json.loads(before), field: value}))
    try:
        assert checkpoint.load(folder, 10).step == 10
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(before)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(CONFIG.to_json())), value=JSON)
def test_any_json_in_a_config_is_read_or_refused(name, value):
    try:
        config = Config.from_json({**CONFIG.to_json(), name: value})
        assert Config.from_json(config.to_json()) == config
    except UsageError as error:
        assert f"--{name}: " in str(error)


@POSIX
@pytest.mark.parametrize("how", ["removed", "cut to 0/11", "zeroed", "of another run", "a link to nowhere"])
def test_the_state_file_is_not_trusted(folder, how):
    of_another = {"of another run": lambda path: path.write_text('model_checkpoint_path: "/nowhere/model-99"\n')}
    (DAMAGE | ODD_FILES | of_another)[how](folder / "checkpoint")
    assert newest(folder) == (10, [])
    commit(folder, 15)
    assert newest(folder) == (15, []) and b'"model-15"' in (folder / "checkpoint").read_bytes()


# Commits


def test_restarts_do_not_fill_the_disk(tmp_path):
    """Each finds what a killed process left: temporary files, and a file of a commit that was cut short."""
    mine = {"notes.txt", "notes.12.tmp", ".settings.tmp", ".lock"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    for step in range(10, 210, 10):
        (tmp_path / f".commit-{step}").mkdir()
        for name in (f".commit-{step}/model-5.index", f".model-9.json.{step:08x}.tmp", f"model-{step - 5}.index"):
            (tmp_path / name).write_bytes(b"half")
        checkpoint.clean(tmp_path)
        commit(tmp_path, step)
        assert newest(tmp_path) == (step, [])
        if step > 30:
            half = {f"model-{step - 5}.index", f"model-{step - 15}.index"}
            assert set(os.listdir(tmp_path)) == mine | half | model_files(step, step - 10, step - 20) | {"checkpoint"}


def test_nothing_is_removed_before_there_are_more_than_are_kept(folder):
    (folder / "model-3.index").write_bytes(b"orphan")
    checkpoint.rotate(folder, 10, 3)
    assert (folder / "model-3.index").exists() and model_files(0, 5, 10) <= set(contents(folder))


@pytest.mark.parametrize(("step", "keep", "kept"), [(7, 1, [7]), (10, 3, [0, 5, 10]), (15, 1, [15])])
def test_a_damaged_checkpoint_does_not_drive_out_a_good_one(folder, step, keep, kept):
    """A run that went on from step 5 because 10 was damaged commits an earlier one, the same again, or a later one."""
    (folder / "model-10.index").write_bytes(b"")
    commit(folder, step, CONFIG.replace(max_to_keep=keep))
    assert newest(folder) == (step, []) and set(contents(folder)) == model_files(*kept) | {"checkpoint"}


def test_a_later_one_that_cannot_be_removed_drives_out_nothing(folder):
    """It is told at each start for as long as it lies there."""
    (folder / "model-10.json").unlink()
    (folder / "model-10.json").mkdir()
    for step in (7, 8):
        commit(folder, step, CONFIG.replace(max_to_keep=1))
        found, warned = newest(folder)
        assert found == step and len(warned) == 1 and "model-10.json" in warned[0]
    assert set(contents(folder)) == model_files(8) | {"checkpoint"} | model_files(10) - {"model-10.json"}


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
    assert set(contents(folder)) == model_files(5, 10, 15) | {"checkpoint"} | left
    monkeypatch.undo()
    commit(folder, 20)
    assert set(contents(folder)) == model_files(10, 15, 20) | {"checkpoint"}


ERRORS = [
    OSError(28, "No space left on device"),
    OSError("of no number"),
    RuntimeError("a Saver's error\nof two lines"),
    KeyboardInterrupt("at step 15"),
    None,
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_failing_save_leaves_everything_as_it_was(folder, error):
    """The Saver writes one of its two files; None: that is not noticed before the commit."""

    def save(prefix):
        Path(f"{prefix}.index").write_bytes(b"half")
        if error:
            raise error

    before = contents(folder)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError) as caught:
        commit(folder, 15, save=save)
    assert "step 15" in str(caught.value) and "\n" not in str(caught.value) and "None" not in str(caught.value)
    assert contents(folder) == before and set(os.listdir(folder)) == set(before) and newest(folder) == (10, [])


@pytest.mark.parametrize("allowed", range(12))
def test_a_disk_that_fails_at_any_time(folder, monkeypatch, allowed):
    """After `allowed` calls, those that make a commit durable fail. The newest is then the old one or the new one."""
    calls, failed = itertools.count(1), False

    def limited(call):
        def run(*arguments, **options):
            if next(calls) > allowed:
                raise OSError(28, "No space left on device")
            return call(*arguments, **options)

        return run

    for name in ("fsync", "replace", "rename", "mkdir"):
        monkeypatch.setattr(os, name, limited(getattr(os, name)))
    try:
        commit(folder, 15)
    except OutputError as error:
        failed = True
        assert "No space left" in str(error)
    monkeypatch.undo()
    assert failed == (next(calls) > allowed + 1)
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


def test_a_commit_that_cannot_be_read_back_drives_out_nothing(folder, monkeypatch):
    """Rotation comes after the new commit was verified."""

    def damaged(*arguments):
        raise CheckpointError("damaged")

    monkeypatch.setattr(checkpoint, "load", damaged)
    with pytest.raises((CheckpointError, OutputError)):
        commit(folder, 15)
    monkeypatch.undo()
    assert model_files(0, 5, 10) <= set(contents(folder))


# The lock

HOLD = """
import sys
from pathlib import Path
from dcgan_tf1.runs import checkpoint
with checkpoint.lock(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def hold(folder):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", HOLD, folder], cwd=ROOT, env=environment(), text=True, **pipes)


SECOND = """
import sys
from dcgan_tf1.cli import main
print(main(sys.argv[1:]), "tensorflow" in sys.modules)
"""


def test_the_second_process_is_refused_at_once(tmp_path):
    folder = tmp_path / "checkpoints"
    with hold(folder) as holder:
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(BusyError, match=rf"held by process {holder.pid};"), checkpoint.lock(folder):
                pass
        assert_error(run("--out_dir", tmp_path), 75, f"held by process {holder.pid};")
        second = python(SECOND, "--out_dir", tmp_path)
        assert second.stdout == "75 False\n", second
        holder.kill()
    with checkpoint.lock(folder), hold(folder) as second:
        _, err = second.communicate(timeout=30)
        assert f"BusyError: {folder}: held by process {os.getpid()}" in err
    with checkpoint.lock(folder):
        pass
    assert not (folder / ".holder").exists()


def test_a_lock_that_cannot_be_made(tmp_path):
    (tmp_path / ".lock").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for folder, name in ((tmp_path, r"\.lock"), (tmp_path / "file", "file")):
        with pytest.raises(OutputError, match=name), checkpoint.lock(folder):
            pass


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"rm -rf\n1", None])
def test_a_holder_without_a_number_is_unknown(content, tmp_path):
    with checkpoint.lock(tmp_path):
        (tmp_path / ".holder").unlink()
        if content is not None:
            (tmp_path / ".holder").write_bytes(content)
        with pytest.raises(BusyError, match="held by process unknown;"), checkpoint.lock(tmp_path):
            pass
