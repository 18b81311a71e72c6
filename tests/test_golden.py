"""Twelve steps of every recipe, and the digits of the weights that ship, give the bits that they have always given.

TensorFlow derives the seeds of initial weights from the order in which ops are made, so that a change in the graph
that looks harmless is another run. Bits differ between processors: `golden.json` holds those of each that was
recorded, and elsewhere these tests are skipped. `python tests/test_golden.py` records the machine that it runs on; in
a clone of an older commit it records what that one gives. A commit that means to change a recipe records it anew.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dcgan_tf1 import cli

GOLDEN = Path(__file__).with_name("golden.json")
_SMALL = {
    "default": "--g_channels 32,16,8 --d_channels 8,16,16,32",
    "reference": "--g_channels 32,16,8,8 --d_channels 8,8,16",
    "dcgan28": "--g_channels 32,16,8 --d_channels 8,16",
    "mlp": "",
    "mlp256": "",
}
_FAMILIES = ("dcgan28", "mlp")


def _machine() -> str:
    """What the bits depend on: the processor, its cores and TensorFlow."""
    try:
        record = dict(re.findall(r"^(.+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
        cpu = " ".join(record[key] for key in ("model name", "cpu family", "model", "stepping"))
        cores = len(os.sched_getaffinity(0))
    except (OSError, KeyError):
        return "a machine without /proc/cpuinfo"
    return f"{cpu}, {cores} cores, TensorFlow {importlib.metadata.version('tensorflow')}"


def _run(*arguments: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(list(arguments))
    assert code == 0, said.getvalue()


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


def _trained(recipe: str, folder: Path) -> str:
    """sha256 of every variable after twelve small steps of `recipe`."""
    flags = f"--{'model' if recipe in _FAMILIES else 'preset'} {recipe} {_SMALL[recipe]} --batch_size 16"
    _run("train", *flags.split(), "--dataset", "digits", "--iterations", "12", "--out_dir", str(folder))
    import tensorflow as tf

    reader = tf.compat.v1.train.NewCheckpointReader(str(folder / "checkpoints" / "model-12"))
    return _hash({name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})


def _drawn(flags: str, folder: Path) -> str:
    """sha256 of the digits that the weights that ship draw from seed 3."""
    shipped = Path(__file__).parent.parent / "checkpoints" / "pretrained" / "weights.npz"
    _run("generate", *flags.split(), "--seed", "3", "--checkpoint", str(shipped), "--out", str(folder))
    with np.load(folder / "digits.npz") as arrays:
        return _hash(dict(arrays))


_DRAWN = {
    "digits": "--format npz --num_digits 600",
    "labelled": "--format npz --num_digits 200 --balanced --labels",
}


def _expected(name: str) -> str:
    machine = _machine()
    recorded = json.loads(GOLDEN.read_text())
    if machine not in recorded:
        pytest.skip(f"the bits of {machine} are not recorded in golden.json")
    return recorded[machine][name]


@pytest.mark.parametrize("recipe", _SMALL)
def test_training_gives_the_recorded_bits(recipe, tmp_path):
    assert _trained(recipe, tmp_path) == _expected(recipe)


@pytest.mark.parametrize("name", _DRAWN)
def test_the_weights_that_ship_draw_the_recorded_digits(name, tmp_path):
    assert _drawn(_DRAWN[name], tmp_path) == _expected(name)


def record() -> None:
    """Add what this machine gives to golden.json."""
    recorded = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {name: _trained(name, Path(folder, name)) for name in _SMALL}
        found |= {name: _drawn(flags, Path(folder, name)) for name, flags in _DRAWN.items()}
    recorded[_machine()] = found
    GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n")
    print(json.dumps({_machine(): found}, indent=1))


if __name__ == "__main__":
    sys.exit(record())
