"""Every way to misuse the command line ends in one line that names the fault, and in the code documented for it."""

import gzip
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from conftest import POSIX, ROOT, SHIPPED, TINY, assert_error, environment, idx, output, python, run, train

from dcgan_tf1 import __main__, __version__, cli
from dcgan_tf1.config import Config
from dcgan_tf1.errors import SIGNAL_BASE, DcganError, one_line

COMPLETE = "_DCGAN_TF1_COMPLETE"
WRONG_RATE = "error: --lr_g: found 'nan', expected a number from 1e-09 to 1\n"
LONG = "x" * 100_000
VALUES = {
    "--iterations": ["0", "-1", "1.5", "1e3", "1000000001", "nan", "ten", "0x10", "", " ", " 5", "9" * 5000, LONG],
    "--batch_size": ["1", "8193", "8,8"],
    "--g_steps": ["0", "17"],
    "--lr_g": ["nan", "inf", "-inf", "0", "-0.001", "1.1", "1e400", "1e-400", "", "0,001", "1_0e-4"],
    "--lr_d": ["NaN", "Infinity", "٠.١"],
    "--beta1": ["1", "-1e-9"],
    "--beta2": ["1.0"],
    "--seed": ["-1", "9223372036854775808", "1" * 4000, "none", "1_000", "١٢"],
    "--updates": ["both", ""],
    "--z_dim": ["0", "4097"],
    "--z_distribution": ["gaussian", ""],
    "--g_channels": ["", "16,", ",16", "16,,8", "16;8", "16,0", "16,4097", "1,1,1,1,1", "16,8.5", "1," * 50_000 + "1"],
    "--d_channels": ["-4,8", "a,b", "1_6,8", "١,٢"],
    "--g_batch_norm": ["some", ""],
    "--output_kernel": ["0", "65"],
    "--sample_every": ["0"],
    "--checkpoint_every": ["never"],
    "--log_every": ["-10"],
    "--max_to_keep": ["0", "1000001"],
    "--preset": ["best", LONG],
    "--model": ["dcgan64", "dcgan32\n"],
}
FLAGS = [*VALUES, "--dataset", "--data_dir", "--out_dir", "--log_dir"]
BAD = [
    *(([flag, value], flag) for flag, values in VALUES.items() for value in values),
    *(([f"{flag}={value}"], flag) for flag, values in VALUES.items() for value in values),
    *(([flag], flag) for flag in FLAGS),  # without a value
    (["--unknown"], "--unknown"),
    (["--unknown", "3"], "--unknown"),
    (["--" + LONG], "--xxx"),
    (["--\x1b[31m\n"], "No such option"),
    (["--iteration", "5"], "--iteration"),  # no abbreviations
    (["--iterations", "5", "more"], "more"),
    (["-x"], "-x"),
    (["train", "--z_dim", "x"], "--z_dim"),
    (["train", "train"], "train"),
    (["fly"], "fly"),
    ([""], "COMMAND"),
    (["curves", "--iterations", "5"], "--iterations"),
    (["curves", "--log_dir"], "--log_dir"),
    *((["animate", "--frames", text], "--frames: found ") for text in ("1", "1001", "x")),
    *((["animate", "--out", text], "--out: found ") for text in ("film.avi", "")),
    *((["compare", "--models", names], "--models") for names in ("", "fly", "mlp,", "mlp,mlp", "mlp, dcgan32", LONG)),
    *((["compare", "--minutes", text], "--minutes") for text in ("0", "-1", "nan", "inf", "1e9", "five", "", LONG)),
    *((["compare", "--num_digits", text], "--num_digits") for text in ("99", "1e3", "1_000", "١٠٠")),
    (["compare", "--seed", "1.5"], "--seed"),
    (["compare", "--lr_g", "1e-3"], "--lr_g"),
    (["--model", "mlp", "--g_batch_norm", "first"], "--g_batch_norm: found 'first', expected none"),
    (["--model", "dcgan28", "--output_kernel", "9"], "--output_kernel: found 9, expected none"),
    (["--preset", "reference", "--model", "mlp"], "--model: found 'mlp', expected dcgan32"),
    (["--epochs", "2", "--iterations", "9"], "--epochs: found with --iterations"),
    (["--grid", "4"], "--grid: found (4,), expected 2 integers from 1 to 4096 with an x between"),
    (["--grid", "4x5x6"], "--grid: found '4x5x6', expected 2 integers"),
    (["--learning_rate", "1e-3"], "'--learning_rate': use --lr_g and --lr_d; see --help"),
    (["--num-epochs", "5"], "use --epochs"),
    (["--batch=5"], "use --batch_size"),
    (["--image_size", "32"], "pictures of any size are resized"),
    (["--resume"], "the same command goes on with a run"),
    (["generate", "--num_images", "5"], "use --num_digits of generate"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD, ids=lambda x: ascii(x)[:30])
def test_bad_flags(arguments, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_error(run(*arguments), 2, named, out="")
    assert not list(tmp_path.iterdir())


def test_help_and_bad_flags_import_nothing_heavy():
    code = """
import contextlib, io, sys
from dcgan_tf1 import cli
def heavy():
    return sorted({"tensorflow", "numpy", "keras", "matplotlib", "PIL", "sklearn", "scipy", "tqdm"} & set(sys.modules))
for line in ("--help", "train --help", "curves --help", "generate --help", "compare --help",
             "--version", "--lr_g nan", "--unknown",
             "fly", "train --z_dim 0", "curves --step 1", "generate --digit=", "interpolate --rows 0",
             "animate --frames 1", "animate --out film.avi", "export --half", "compare --models fly"):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = cli.main(line.split())
        except SystemExit as stopped:
            code = stopped.code
    print(code, heavy(), "argument" if err.getvalue() else "")
"""
    result = python(code)
    assert result.stdout == "0 [] \n" * 6 + "2 [] argument\n" * 11, result.stderr


def test_tensorflow_comes_without_keras_until_that_is_used():
    code = """
import sys
from dcgan_tf1.tensorflow_import import import_tensorflow
import_tensorflow()
print({"keras", "sklearn", "matplotlib"} & sys.modules.keys())
import tensorflow as tf
print(tf.keras.layers.Dense(3)(tf.ones([1, 2])).shape)
"""
    result = python(code)
    assert result.stdout == "set()\n(1, 3)\n", result.stderr


@pytest.mark.parametrize(
    ("program", "name"), [(["run.py"], "run.py"), (["-m", "dcgan_tf1"], "dcgan-tf1")], ids=["run.py", "the module"]
)
def test_run_py_and_the_module_are_the_same_program(program, name):
    def answer(*flags):
        found = subprocess.run([sys.executable, *program, *flags], cwd=ROOT, capture_output=True, text=True, timeout=60)
        return found.returncode, found.stdout, found.stderr

    assert answer("--version") == (0, f"dcgan-tf1 {__version__}\n", "")
    assert answer("--help")[1].startswith(f"Usage: {name} [COMMAND] [flags]\n")
    assert answer("--lr_g", "nan") == (2, "", WRONG_RATE)


def test_help_names_every_flag_and_every_command():
    out = output("train", "--help")
    for name in (*Config.__dataclass_fields__, "out_dir", "sample_dir", "checkpoint_dir", "log_dir", "debug"):
        assert f"--{name}" in out, name
    assert "[default: 64; 2<=x<=8192]" in out and "[default: 128,64,32]" in " ".join(out.split())
    out = output("--help")
    assert "Exit codes" in out and "..." not in out
    assert all(f"\n  {command.name} " in out for command in cli.COMMANDS)


def test_every_exit_code_is_documented():
    found, kinds = {0, SIGNAL_BASE + signal.SIGINT, SIGNAL_BASE + signal.SIGTERM}, [DcganError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        found.add(kind.exit_code)
    found.remove(DcganError.exit_code)  # it is never raised itself
    table = (ROOT / "docs" / "runs.md").read_text().partition("## Exit codes")[2]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == found
    told = " ".join(output("--help").partition("Exit codes: ")[2].split())
    assert {int(code) for code in re.findall(r"(?:^|, )(\d+) ", told)} == found


def test_debug_shows_the_traceback():
    code, _, err = run("--lr_g", "nan", "--debug")
    assert code == 2 and err.startswith("Traceback") and "UsageError" in err and err.endswith("\n" + WRONG_RATE)
    assert run("--lr_g", "nan").err == WRONG_RATE


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", [command.name for command in cli.COMMANDS]),
        ("ge", ["generate"]),
        ("--mo", ["--model"]),  # of train
        ("--preset l", ["long"]),
        ("--preset long --mo", ["--model"]),
        ("train --model dcgan", ["dcgan32", "dcgan28"]),
        ("train --seed x --channels ", ["1", "3"]),
        ("generate --format ", ["png", "grid", "npz", "idx"]),
        ("evaluate --ca", ["--cas"]),
        ("export --out_dir a", "dir,a"),
        ("export --out a", "file,a"),
        ("generate --class a", []),
    ],
    ids=ascii,
)
def test_what_a_shell_completes(line, found, monkeypatch, capsysbinary):
    words = ["dcgan-tf1", *line.split(" ")]
    for name, value in (("COMP_WORDS", " ".join(words)), ("COMP_CWORD", len(words) - 1), (COMPLETE, "bash_complete")):
        monkeypatch.setenv(name, str(value))
    assert cli.main([]) == 0
    expected = found if isinstance(found, str) else "\n".join(f"plain,{word}" for word in found)
    assert capsysbinary.readouterr() == (f"{expected}\n".encode(), b"")


@pytest.mark.parametrize(("shell", "command"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_what_turns_completion_on(shell, command, monkeypatch, capsysbinary):
    monkeypatch.setenv(COMPLETE, f"{shell}_source")
    assert cli.main([]) == 0
    script = capsysbinary.readouterr().out.decode()
    assert re.search(rf"\b{command} .*\bdcgan-tf1\b", script) and f"{COMPLETE}={shell}_complete" in script


@pytest.mark.parametrize(
    ("value", "others"),
    [*((value, {}) for value in ("", "x", "bash", "bash_x", "bash_complete")), ("bash_complete", {"COMP_CWORD": "x"})],
)
def test_what_no_shell_asks_is_told(value, others, monkeypatch):
    for name, text in {COMPLETE: value, "COMP_WORDS": "dcgan-tf1 ", **others}.items():
        monkeypatch.setenv(name, text)
    assert_error(run("--iterations", 1), 2, f"{COMPLETE}: found {value!r}, expected what a shell asks")


def test_settings_that_let_imports_fail_are_not_read():
    code = "import dcgan_tf1.cli\nprint(dcgan_tf1.cli.main(['--version']))\nimport tqdm, numpy.f2py"
    wrong = environment() | {"TQDM_NCOLS": "banana", "SOURCE_DATE_EPOCH": "banana"}
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=wrong, capture_output=True, text=True)
    assert (found.stdout.endswith("\n0\n"), found.stderr) == (True, "")


def test_a_temporary_folder_that_is_missing_is_named(monkeypatch):
    def refuse(*arguments, **options):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert_error(run("explore", "--checkpoint", SHIPPED), 5, "error: TMPDIR: No usable temporary directory")


@POSIX
def test_a_signal_waits_until_tensorflow_is_imported(monkeypatch, tmp_path):
    """The import aborts where a signal's exception comes into it. A module that takes a while stands in for it."""
    (tmp_path / "tensorflow.py").write_text(
        "import os, signal, sys\nos.kill(os.getpid(), signal.SIGINT)\nprint('whole', flush=True)\n"
    )
    code = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
    code += "from dcgan_tf1 import tensorflow_import\ntry: tensorflow_import.import_tensorflow()\n"
    code += "except KeyboardInterrupt: print('then')"
    found = python(code, env={**environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, cwd=tmp_path)
    assert found.stdout == "whole\nthen\n", found


def test_interrupted_early(monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.train, "callback", interrupted)
    assert run("--iterations", 1) == (130, "", "interrupted\n")
    monkeypatch.setattr("builtins.__import__", interrupted)  # of the command line itself
    assert __main__.main() == 130


def test_too_little_memory(monkeypatch):
    def fail(**settings):
        raise MemoryError("Unable to allocate 8.00 GiB")

    monkeypatch.setattr(cli.train, "callback", fail)
    assert_error(run("--iterations", 1), 5, "memory: Unable to allocate 8.00 GiB; expected more of it")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_errors_that_nobody_can_be_told_of():
    with open("/dev/full", "wb") as full:
        code = subprocess.run([sys.executable, "run.py", "--version"], cwd=ROOT, stdout=full, stderr=full).returncode
    assert code == 5


# Folders


@pytest.mark.parametrize("flag", ["out_dir", "sample_dir", "checkpoint_dir", "log_dir"])
@pytest.mark.parametrize("below", ["", "below/deeper"])
def test_a_file_in_the_folders_place(tmp_path, flag, below):
    (tmp_path / "file").write_bytes(b"mine")
    folder = tmp_path / "file" / below
    assert_error(run(*TINY, "--out_dir", tmp_path / "run", f"--{flag}", folder), 5, "file", "expected a folder", out="")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_folders_go_where_they_are_told(tmp_path):
    files = {"sample_dir": "0000002.png", "checkpoint_dir": "model-2.json", "log_dir": "metrics.csv"}
    train(tmp_path / "out_dir", 2, *(word for name in files for word in (f"--{name}", tmp_path / name)))
    assert {path.name for path in tmp_path.iterdir()} == files.keys()
    assert all((tmp_path / name / file).exists() for name, file in files.items())


def test_a_picture_that_cannot_be_written(tmp_path):
    (tmp_path / "sample_image" / "0000000.png").mkdir(parents=True)
    assert_error(run(*TINY, "--out_dir", tmp_path, "--iterations", 2), 5, "0000000.png")


def test_a_refused_start_leaves_no_empty_folders(tmp_path):
    (tmp_path / "mine").mkdir()
    for flags in (["--dataset", tmp_path / "none"], ["--dataset", tmp_path / "mine"], ["--init_from", tmp_path]):
        for folder in ("mine", "new/deep"):
            assert run(*TINY, *flags, "--out_dir", tmp_path / folder).code in (3, 4)
            assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


# Data


def test_a_run_in_the_current_folder_finds_its_data_again_from_elsewhere(tmp_path, monkeypatch):
    images = np.random.RandomState(0).randint(0, 256, (20, 32, 32), np.uint8)
    (tmp_path / "own.gz").write_bytes(gzip.compress(idx(images)))
    monkeypatch.chdir(tmp_path)
    train("run", 3, "--dataset", "own.gz")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "resumed at step 3" in output("--out_dir", "../run", "--iterations", 6)
    (tmp_path / "own.gz").rename(tmp_path / "moved.gz")
    recorded = "/run/checkpoints recorded; give its new place by this flag"
    assert_error(run("--out_dir", tmp_path / "run", "--iterations", 9), 3, "--dataset: found no ", recorded)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "resumed at step 6" in output("--out_dir", "../run", "--iterations", 9, "--dataset=~/moved.gz")


def test_few_images_shrink_the_batch_and_more_make_another_run(tmp_path):
    def few(count, *flags):
        images = np.random.RandomState(0).randint(0, 128, (count, 28, 28), np.uint8)
        np.savez(tmp_path / "few.npz", images=images)
        return run(*TINY, "--batch_size", 64, "--dataset", tmp_path / "few.npz", "--out_dir", tmp_path / "run", *flags)

    out = few(10, "--epochs", 3).out
    assert "fewer images than a batch of 64: a batch has 10\n" in out and "epochs: 3 of 1 steps, to step 3\n" in out
    out = few(10, "--epochs", 3).out
    assert "already trained: step 3 of 3" in out and "batch" not in out
    assert "resumed at step 3 of 4" in few(10, "--epochs", 2, "--batch_size", 5).out
    grown = "found 12 images in few.npz, which has grown, expected 10, which "
    assert_error(few(12, "--iterations", 9), 4, grown, "with --init_from that folder")
    assert_error(few(1, "--out_dir", tmp_path / "other"), 3, "found 1 image, expected 2 at least; --grid ")


def test_dark_ink_on_white_paper_is_told(tmp_path):
    np.savez(
        tmp_path / "paper.npz",
        images=np.pad(np.zeros((20, 8, 8), np.uint8), [(0, 0), *[(10, 10)] * 2], constant_values=255),
    )
    flags, note = ["--dataset", tmp_path / "paper.npz"], "note: the borders of the images are bright"
    assert note in train(tmp_path / "run", 1, *flags)
    assert note not in train(tmp_path / "inverted", 1, *flags, "--invert")


def test_curves(finished_copy):
    path = finished_copy / "logs" / "curves.png"
    before = path.read_bytes()
    path.unlink()
    assert output("curves", "--out_dir", finished_copy) == f"{path}\n"
    assert path.read_bytes() == before
    path.unlink()
    assert output("curves", "--log_dir", finished_copy / "logs") == f"{path}\n"


def test_the_reason_is_told_behind_a_long_path():
    line = one_line(f"/{'a' * 200}/{'b' * 200}/curves.png: found a folder, expected a file")
    assert line.startswith("...b") and line.endswith("b/curves.png: found a folder, expected a file")
    assert one_line(f"{'a' * 250}: not a path") == "a" * 197 + "..."


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\x1b[2J", "\udcff", "é", "x" * 1000, "", "\u2028a", "\0"])
def test_one_line(text):
    line = one_line(text)
    assert line.isprintable() and len(line) <= 200
    line.encode()


def test_nothing_that_moves_a_cursor_reaches_the_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = output("generate", "--checkpoint", SHIPPED, "--num_digits", 1, "--out", "\x1b[2Jred\u202e")
    assert "\\x1b[2Jred\\u202e/00000.png" in out and all(line.isprintable() for line in out.split("\n"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a shell that can close streams")
def test_closed_streams_lead_nowhere(tmp_path):
    command = shlex.join(map(str, [sys.executable, ROOT / "run.py", *TINY, "--iterations", 2, "--out_dir", tmp_path]))
    for closed, told in ((">&- 2>&- <&-", ""), (">&-", ""), ("2>&-", "already trained"), ("<&-", "already trained")):
        done = subprocess.run(["sh", "-c", f"{command} {closed}"], env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(told), closed
    assert train(tmp_path, 2).startswith("already trained")
