"""What tests share: tiny runs of the command line, and what they leave on disk."""

import atexit
import contextlib
import gc
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

from dcgan_tf1 import load, tensorflow_import
from dcgan_tf1.cli import main
from dcgan_tf1.errors import printable

# Tests import TensorFlow by themselves. Their sessions, too, have the threads that they ask for, and so the same bits
# whichever session of the process came first.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")

# Where several tests run side by side, NumPy's threads wait for each other much longer than they work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# What is computed once is kept in a folder of the tests' own, which their subprocesses share. Matplotlib's list of
# fonts stays where it is, since it takes seconds to make.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
os.environ.setdefault("MPLCONFIGDIR", str(_CACHE / "matplotlib"))
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="dcgan-tf1-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)

gc.set_threshold(100_000, 50, 50)  # the objects of TensorFlow's graphs are many, and looking through them takes long

ROOT = Path(__file__).parent.parent
TINY = ["--g_channels", "16,8", "--d_channels", "4,8", "--batch_size", "8", "--z_dim", "8", "--dataset", "digits"]
TINY += ["--precision", "float32"]  # the same on every machine
TINY += ["--log_every", "1", "--sample_every", "10", "--checkpoint_every", "50", "--max_to_keep", "100"]
STEPS = 200
SHIPPED = ROOT / "checkpoints" / "pretrained" / "unconditional.npz"
"""Weights without classes."""
FORMATS = {"saved_model": "saved_model", "npz": "weights.npz", "onnx": "generator.onnx", "html": "digits.html"}
MNIST_DIR = os.environ.get("MNIST_DIR", "")
needs_mnist = pytest.mark.skipif(not MNIST_DIR, reason="MNIST_DIR names no folder")
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs the signals, limits, links or pipes of POSIX")


class Result(NamedTuple):
    code: int
    out: str
    err: str


def run(*arguments):
    """Run the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # --help and --version
            code = stopped.code
    return Result(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def at_most(seconds, size):
    """A block that takes less CPU time, and whose Python objects take less memory at a time, in bytes."""
    began = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert time.process_time() - began < seconds
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def output(*arguments):
    """What a command prints, which must end well and complain of nothing."""
    result = run(*arguments)
    assert (result.code, result.err) == (0, ""), result
    return result.out


def assert_error(result, code, *parts, out=None):
    """`result` ended with the exit code `code` and one short line, which has all `parts` in it, and printed `out`."""
    assert result.code == code and out in (None, result.out), result
    assert result.err.startswith("error: ") and result.err.count("\n") == 1 and len(result.err) <= 201, result.err
    assert result.err[:-1] == printable(result.err[:-1]) and all(part in result.err for part in parts), result.err
    assert not re.search(r"object at 0x|<_io\.|PosixPath|NoneType|Errno", result.err), result.err  # Python's own words


def train(folder, iterations, *flags):
    """What a tiny run in `folder` to `iterations` steps prints, which must end well."""
    return output(*TINY, "--out_dir", folder, "--iterations", iterations, *flags)


def export(folder, form, *flags):
    """The path of what `run.py export` writes to `folder` in the format `form`."""
    path = folder / FORMATS[form]
    assert output("export", "--format", form, "--out", path, *flags).endswith(f"\n{path}\n")
    return path


def page_part(path, name):
    """A part of the page in the file `path`, by its id."""
    return re.search(f'<script[^>]* id="{name}">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)[1]


def page_record(path):
    return json.loads(page_part(path, "model"))


def environment():
    """The environment of this process, without the setting that silences TensorFlow in tests."""
    return {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}


def weights(folder, step):
    """sha256 over the names and bytes of every variable in the checkpoint of `step`."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "checkpoints" / f"model-{step}"))
    digest = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        digest.update(name.encode() + reader.get_tensor(name).tobytes())
    return digest.hexdigest()


def python(code, *arguments, **options):
    """The completed process of Python's `code`."""
    options = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True, **options}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], **options)


def idx(array):
    """The bytes of an IDX file of uint8, int16 or int32."""
    code = {"uint8": 0x08, "int16": 0x0B, "int32": 0x0C}[array.dtype.name]
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def load_script(path):
    """The script at `path` of the project, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numpy_sampler():
    return load_script("docs/numpy_sampler.py")


def train_config(folder, config):
    """Train a run of settings that the command line does not know."""
    from dcgan_tf1.config import Folders
    from dcgan_tf1.data.sources import load_for
    from dcgan_tf1.runs.folder import open_run, with_dataset
    from dcgan_tf1.training.loop import train

    dataset = load_for(config)
    with open_run(Folders.of(folder), config, {"iterations": config.iterations}) as run:
        assert train(with_dataset(run, dataset), dataset) == 0


def open_session(gan, config):
    """A session on a training graph."""
    from dcgan_tf1.training.session import TrainingSession

    return TrainingSession(gan, config).session


def remove_checkpoints(folder, *steps):
    for step in steps:
        for path in (folder / "checkpoints").glob(f"model-{step}.*"):
            path.unlink()


def contents(folder):
    """The bytes of every file under `folder`, except for those of the lock, by path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", ".holder"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def no_tensorflow(monkeypatch):
    """A test that must not import TensorFlow."""
    monkeypatch.setattr(tensorflow_import, "import_tensorflow", lambda **_: pytest.fail("TensorFlow was imported"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run of STEPS steps that nothing interrupted. Shared: copy it before changing anything."""
    folder = tmp_path_factory.mktemp("finished")
    train(folder, STEPS)
    return folder


@pytest.fixture(scope="session")
def last_of_conditional(tmp_path_factory):
    """A conditional run of 100 steps that keeps its last checkpoint alone. Shared: do not change it."""
    folder = tmp_path_factory.mktemp("conditional")
    train(folder, 100, "--conditional", "--checkpoint_every", 100, "--max_to_keep", 1)
    return folder


@pytest.fixture
def finished_copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture(scope="session")
def shipped():
    """The GAN of the weights that ship without classes."""
    with load(SHIPPED) as gan:
        yield gan


@pytest.fixture(scope="session")
def shipped_page(tmp_path_factory):
    """The page of the weights that ship."""
    return export(tmp_path_factory.mktemp("page"), "html", "--checkpoint", SHIPPED)
