"""Files that are written whole: beside what others laid there, after kills, and in place of what may be replaced."""

import contextlib
import os
import secrets
from pathlib import Path

import numpy as np
import pytest
from conftest import POSIX, SHIPPED, assert_error, contents, python, run

from dcgan_tf1 import files, tensorflow_import
from dcgan_tf1.errors import OutputError
from dcgan_tf1.pictures import film, images
from dcgan_tf1.runs import checkpoint

pytestmark = POSIX
NAMES = ["images", "labels"]


@contextlib.contextmanager
def written(folder, content, **options):
    with files.all_or_none(folder, NAMES, **options) as temporary:
        for name in NAMES:
            (temporary / name).write_bytes(content)
        yield


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0123abcd")
    (tmp_path / ".a.0123abcd.tmp").symlink_to(target)
    with pytest.raises(OutputError, match="File exists"):
        files.write_whole(tmp_path / "a", b"new")
    assert target.read_bytes() == b"mine"
    monkeypatch.undo()
    files.write_whole(tmp_path / ("x" * 250), b"new")  # a name so long that nothing can be added to it


def test_two_that_write_one_file_share_no_temporary_one(tmp_path):
    """As two containers do, in which both have the process id 1."""

    def write(file):
        file.write(b"old")
        files.write_whole(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"new"

    files.write_whole(tmp_path / "a", write)
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_who_holds_a_run_writes_through_no_link_and_waits_for_no_pipe(tmp_path, kind):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    (tmp_path / "run").mkdir()
    holder = tmp_path / "run" / ".holder"
    holder.symlink_to(target) if kind == "link" else os.mkfifo(holder)
    with checkpoint.lock(tmp_path / "run"):
        assert holder.read_text() == f"{os.getpid()}\n"
    assert target.read_bytes() == b"mine"
    lock = tmp_path / "run" / ".lock"
    assert not lock.exists()  # where nothing was begun
    for link in (lock.symlink_to, lock.hardlink_to):
        lock.unlink(missing_ok=True)
        link(target)
        with pytest.raises(OutputError, match=r"\.lock: found a link"), checkpoint.lock(tmp_path / "run"):
            pass
        assert target.read_bytes() == b"mine"


def test_what_the_dead_left_of_a_file_goes_with_the_next_one(tmp_path):
    name = "[a]*" + "x" * 60
    for begun in (f".{name[:50]}.0123abcd.tmp", ".other.0123abcd.tmp"):
        (tmp_path / begun).write_bytes(b"half")
    files.write_whole(tmp_path / name, b"new")
    assert contents(tmp_path) == {name: b"new", ".other.0123abcd.tmp": b"half"}  # which may be another program's


def test_a_new_file_that_is_taken_for_one_of_the_dead_is_made_again(tmp_path, monkeypatch):
    hold, names = files.fcntl.flock, []

    def hold_late(descriptor, how):
        names.extend(set(os.listdir(tmp_path)) - set(names))
        if len(names) == 1:
            (tmp_path / names[0]).unlink()
        hold(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", hold_late)
    files.write_whole(tmp_path / "b", b"new")
    assert contents(tmp_path) == {"b": b"new"} and len(names) == 2


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path):
    (tmp_path / ".a.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / ".unfinished-dead").mkdir()
    (tmp_path / ".unfinished-dead" / "images").write_bytes(b"half")
    (tmp_path / ".notes.tmp").write_bytes(b"mine")

    def write(file):
        file.write(b"half")
        files.clean(tmp_path)
        with written(tmp_path, b"new"):
            left = {name for name in os.listdir(tmp_path) if name.endswith(".tmp")}
            assert len(left) == 2 and ".notes.tmp" in left and "0123abcd" not in str(left)
            assert len(list(tmp_path.glob(".unfinished-*"))) == 1

    files.write_whole(tmp_path / "a", write)
    assert contents(tmp_path) == {".notes.tmp": b"mine", "a": b"half", "images": b"new", "labels": b"new"}


KILLED = """
import os, sys
from pathlib import Path
from dcgan_tf1 import files

folder, failing, allowed = Path(sys.argv[1]), *map(int, sys.argv[2:])
calls = []

def watched(call):
    def call_or_die(*arguments, **options):
        calls.append(call)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        if len(calls) > allowed:
            os._exit(9)
        return call(*arguments, **options)
    return call_or_die

Path.replace, Path.rmdir, os.unlink = map(watched, (Path.replace, Path.rmdir, os.unlink))
with files.all_or_none(folder, ["images", "labels"], force=True) as temporary:
    for name in ("images", "labels"):
        (temporary / name).write_bytes(b"new")
"""


@pytest.mark.parametrize("failing", range(5))
def test_a_kill_while_a_set_is_replaced_loses_neither_the_old_nor_the_new(tmp_path, failing):
    """Nor does a file of one set ever lie beside one of the other. Each rename fails in turn; 0: none does."""
    for allowed in range(failing, 12):
        folder = tmp_path / str(allowed)
        with written(folder, b"old"):
            pass
        code = python(KILLED, folder, failing, allowed).returncode
        found = {name: content for name, content in contents(folder).items() if name in NAMES}
        assert len(set(found.values())) <= 1
        files.clean(folder)
        after = contents(folder)
        assert after == dict.fromkeys(NAMES, b"new") or failing and after == dict.fromkeys(NAMES, b"old")
        if code != 9:
            break
    assert code == (1 if failing else 0) and allowed > failing


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("allowed", range(4))
def test_a_set_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch, allowed, error):
    with written(tmp_path, b"old"):
        pass
    replace, calls = Path.replace, []

    def fail_once(path, target):
        calls.append(path)
        if len(calls) == allowed + 1:
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises((OutputError, KeyboardInterrupt)), written(tmp_path, b"new", force=True):
        pass
    assert contents(tmp_path) == dict.fromkeys(NAMES, b"old") and sorted(os.listdir(tmp_path)) == NAMES


def test_old_files_that_cannot_come_back_are_kept(tmp_path, monkeypatch):
    with written(tmp_path, b"old"):
        pass
    replace, calls = Path.replace, []

    def fail(path, target):
        calls.append(path)
        if len(calls) in (3, 4):  # the first new file, and the first old one on its way back
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError), written(tmp_path, b"new", force=True):
        pass
    files.clean(tmp_path)
    (kept,) = tmp_path.glob("old-*")
    back = [tmp_path / name for name in NAMES if (tmp_path / name).exists()]
    found = contents(kept / ".old") | {path.name: path.read_bytes() for path in back}
    assert found == dict.fromkeys(NAMES, b"old")


def test_a_file_that_comes_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(OutputError, match="labels: found a file, expected none"), written(tmp_path, b"new"):
        (tmp_path / NAMES[1]).write_bytes(b"another's")
    assert contents(tmp_path) == {NAMES[1]: b"another's"}


@pytest.mark.parametrize("form", ["npz", "html", "saved_model", "gif"])
def test_what_comes_while_a_command_works_is_not_replaced(tmp_path, monkeypatch, form):
    path = tmp_path / "new" / f"it.{form}"
    name = path.name + "/1" * (form == "saved_model")
    imported, read = tensorflow_import.import_tensorflow, film.read_snapshot

    def come():
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if form == "saved_model" else None
        (path.parent / name).write_bytes(b"another's")

    def read_late(*arguments):
        come()
        return read(*arguments)

    monkeypatch.setattr(tensorflow_import, "import_tensorflow", lambda: (come(), imported()))
    monkeypatch.setattr(film, "read_snapshot", read_late)
    images.save_png(tmp_path / "0000000.png", np.zeros((34, 34), np.uint8), 3)
    before = contents(tmp_path)
    source = ["animate", "--sample_dir", tmp_path] if form == "gif" else ["export", "--format", form]
    assert_error(run(*source, "--out", path), 5, f"{name}: found a file, expected none; --force replaces it")
    assert contents(tmp_path) == before | {f"new/{name}": b"another's"}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_force_replaces_regular_files_alone(tmp_path, kind):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    path = tmp_path / "digits.npz"
    {"link": lambda: path.symlink_to(target), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    for command in (
        ["generate", "--format", "npz", "--num_digits", 1, "--checkpoint", SHIPPED, "--out", tmp_path],
        ["export", "--format", "npz", "--checkpoint", SHIPPED, "--out", path],
    ):
        assert_error(run(*command, "--force"), 5, "digits.npz: found a link, folder, pipe or device")
    assert os.path.lexists(path) and not path.is_file() or path.is_symlink()
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("out", [".", "", "/"])
@pytest.mark.parametrize("form", ["npz", "html"])
def test_a_folder_is_no_file_to_export_to(tmp_path, monkeypatch, out, form, no_tensorflow):
    monkeypatch.chdir(tmp_path)
    assert_error(
        run("export", "--format", form, "--out", out, "--force"), 2, f"--out: found {out!r}, expected the name"
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing):
    """Nothing is seen of the new one before it is whole."""
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    def write(file):
        file.write(b"new" * 10**5)
        file.flush()
        assert path.read_bytes() == b"old"
        if failing == "write":
            fail()

    if failing != "write":
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OutputError, match="a: No space left on device; expected room"):
        files.write_whole(path, write)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_make_folder(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        files.write_whole(tmp_path / "a" / "file", b"")
    assert files.make_folder(tmp_path / "a" / "b").is_dir()
    assert files.make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path / "a" / "b") == []
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="expected a folder that can be written"):
            files.make_folder(path)
