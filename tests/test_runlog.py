"""What a run tells is whole after every way to stop, and readable by others."""

import io
import os
import subprocess
import sys
import warnings

import pytest
import tensorflow as tf
from conftest import POSIX, ROOT, environment, output
from PIL import Image

from dcgan_tf1.errors import DataError, OutputError
from dcgan_tf1.pictures.figures import plot_curves
from dcgan_tf1.runs import log as runlog
from dcgan_tf1.runs.log import TABLES, Events, Progress, Table, read_table

COLUMNS = TABLES["metrics.csv"]
HEADER = ",".join(COLUMNS).encode() + b"\n"


def metrics(value=0.5):
    return {column: value for column in COLUMNS[1:]}


def row(step, value="0.5"):
    return f"{step},{','.join([value] * 6)}\n".encode()


def write_rows(folder, start, *steps, value=0.5):
    table = Table(folder, start)
    for step in steps:
        table.write(step, metrics(value))
    table.sync()
    content = table.path.read_bytes()  # is on disk after `sync`
    table.close()
    assert table.path.read_bytes() == content
    return content


def test_rows_are_written_and_continued(tmp_path):
    assert write_rows(tmp_path, 0, 1, 2) == HEADER + row(1) + row(2)
    float32 = float(tf.constant(0.1))  # nine digits tell any two apart
    assert write_rows(tmp_path, 2, 3, value=float32) == HEADER + row(1) + row(2) + row(3, "0.100000001")


TAILS = [row(3) + row(4), b"3", b"2,0.5", row(2)[:-1], b"\n", b"2,1,1\n", b"\x00\xff\n" + row(3)]
TAILS += [line + b",1,1,1,1,1,1\n" for line in (b"two", b"-1", b"9" * 5000)]


@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: repr(tail[:20]))
def test_what_is_stale_or_torn_is_dropped(tmp_path, tail):
    (tmp_path / "metrics.csv").write_bytes(HEADER + row(1) + tail)
    assert write_rows(tmp_path, 2, 3) == HEADER + row(1) + row(3)


@pytest.mark.parametrize("content", [b"", b"step,d_lo", HEADER[:-1], HEADER, HEADER + row(1)])
def test_a_fresh_run_starts_afresh(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    assert write_rows(tmp_path, 0, 1) == HEADER + row(1)


def read(path):
    return list(tf.compat.v1.train.summary_iterator(str(path)))


def test_events(tmp_path):
    events = Events(tmp_path, 7)
    events.scalars(8, {"d_loss": 0.25})
    events.image(8, "samples", b"png", 3, 4)
    events.sync()
    (path,) = tmp_path.iterdir()
    version, start, scalar, image = read(path)
    events.close()
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == tf.compat.v1.SessionLog.START and start.step == 8
    assert (scalar.step, scalar.summary.value[0].tag, scalar.summary.value[0].simple_value) == (8, "d_loss", 0.25)
    picture = image.summary.value[0].image
    assert (image.step, picture.height, picture.width, picture.encoded_image_string) == (8, 3, 4, b"png")


def test_event_files_are_read_in_the_order_of_the_run(tmp_path):
    foreign = tmp_path / "events.out.tfevents.1700000000.host.1.0"
    foreign.write_bytes(b"")
    for step in (0, 100, 100, 1000, 20):
        events = Events(tmp_path, step)
        events.scalars(step + 1, {"step": step})
        events.close()
    foreign.unlink()  # it was left alone
    found = [event for path in sorted(tmp_path.iterdir()) for event in read(path)]
    starts = [event.step for event in found if event.HasField("session_log")]
    assert starts == [1, 21]  # those of steps after 20 are another future, and gone
    assert not [path for path in tmp_path.iterdir() if "tfevents" not in path.name]
    Events(tmp_path, 20).close()
    assert len(list(tmp_path.iterdir())) == 3


@POSIX
def test_event_files_are_new_files(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    folder = tmp_path / "logs"
    folder.mkdir()
    for _ in range(2):
        Events(folder, 0).close()
    first, second = sorted(folder.iterdir())
    first.unlink()
    Events(folder, 0).close()
    assert sorted(folder.iterdir())[0] == second and len(list(folder.iterdir())) == 2
    (folder / "events.out.tfevents.000000000007.0000").symlink_to(target)
    Events(folder, 7).close()
    os.mkfifo(folder / "events.out.tfevents.000000000008.0000")
    Events(folder, 8).close()
    assert target.read_bytes() == b"mine"


@POSIX
def test_a_table_is_a_regular_file_that_stays(tmp_path):
    table = Table(tmp_path, 0)
    table.path.unlink()
    with pytest.raises(OutputError, match="found it removed"):
        table.sync()
    for make in (lambda: table.path.symlink_to("/dev/zero"), lambda: os.mkfifo(table.path)):
        make()
        with pytest.raises(OutputError, match="expected a regular file"):
            Table(tmp_path, 0)
        table.path.unlink()
    table.path.mkdir()
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(OutputError, match=f"{folder.name}/metrics.csv"):
            Table(folder, 0)


def test_values_that_no_figure_shows_are_refused(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(HEADER + row(1, "1e308") + row(2, "-1e308"))
    with pytest.raises(DataError, match="beyond float32"):
        read_table(tmp_path, "metrics.csv")


def test_progress_in_a_file_is_a_line_now_and_then(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(runlog.time, "monotonic", lambda: now)
    progress = Progress(100, 1000)
    for step in range(101, 201):
        now += 0.25
        progress.update(step, "loss 0.5")
    progress.say("committed 200")
    progress.close()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and len(lines) == 3 and lines[2] == "committed 200"
    assert lines[0] == "step 140/1000, 4.0 it/s, 03:35 left, loss 0.5"
    progress = Progress(0, 1_000_001)
    now += 10
    progress.update(1, "")
    assert "2777:46:40 left" in capsys.readouterr().out  # more than a day


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(10, 20)
    for step in range(11, 21):
        progress.update(step, "loss 0.5")
    progress.say("hello")
    progress.close()
    assert "20/20" in terminal.getvalue() and "loss 0.5" in terminal.getvalue()
    assert capsys.readouterr().out == "hello\n"


def test_curves(tmp_path):
    write_rows(tmp_path, 0, *range(1, 50))
    path = plot_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    assert Image.open(path).size == (1200, 750)
    first = path.read_bytes()
    table = Table(tmp_path, 0, "distance.csv")
    table.sync()
    assert plot_curves(tmp_path).read_bytes() == first  # the same again, since there is no distance yet
    write_rows(tmp_path, 49, 50)
    assert plot_curves(tmp_path).read_bytes() != first
    for step in (10, 20, 30):
        table.write(step, {"frechet_distance": 1 / step})
    table.close()
    assert Image.open(plot_curves(tmp_path)).size == (1200, 1125)
    Table(tmp_path, 20, "distance.csv").close()
    assert (tmp_path / "distance.csv").read_text() == "step,frechet_distance\n10,0.1\n20,0.05\n"
    (tmp_path / "distance.csv").write_text("step,frechet_distance\n10,0\n")
    with warnings.catch_warnings(record=True) as warned:  # which would be printed
        plot_curves(tmp_path)
    assert not warned
    (tmp_path / "distance.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"distance\.csv"):
        plot_curves(tmp_path)


@POSIX
def test_curves_of_a_pipe_do_not_wait(tmp_path):
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(DataError, match=r"metrics\.csv: found a pipe"):
        plot_curves(tmp_path)


def test_curves_look_the_same_whatever_the_users_settings_are(finished_copy, tmp_path, monkeypatch):
    before = output("curves", "--out_dir", finished_copy) and (finished_copy / "logs" / "curves.png").read_bytes()
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\naxes.facecolor: red\nfont.size: 30\n")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    command = [sys.executable, ROOT / "run.py", "curves", "--out_dir", finished_copy]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (finished_copy / "logs" / "curves.png").read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [None, b"", HEADER, b"a,b\n1,2\n", HEADER + b"1,x,1,1,1,1,1\n", HEADER + b"1,2\n", b"\xff\xfe\n1\n", b"\0"],
)
def test_curves_of_nothing(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"metrics\.csv"):
        plot_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()
