"""Small trainings of every recipe, and digits of the weights that ship, give the same bits as when they were recorded.

A change in the graph that looks harmless can make another run. The seeds of initial weights are the same on every
machine. The bits after twelve steps differ between processors: `golden.json` holds those of each machine that was
recorded, and elsewhere these tests are skipped. On one core and without what AVX2 lacks, they are the same on every
processor that has AVX2: those of PORTABLE are tested everywhere. `python tests/test_golden.py` records the machine that
it runs on, and both. A commit that means to change a recipe does so.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SHIPPED, run

from dcgan_tf1.config import Config
from dcgan_tf1.machine import usable_cores
from dcgan_tf1.tensorflow_import import import_tensorflow

GOLDEN = Path(__file__).with_name("golden.json")
RECIPES = {
    "default": {"preset": "default", "g_channels": (32, 16, 8), "d_channels": (8, 16, 16, 32)},
    "reference": {"preset": "reference", "g_channels": (32, 16, 8, 8), "d_channels": (8, 8, 16)},
    "dcgan28": {"model": "dcgan28", "g_channels": (32, 16, 8), "d_channels": (8, 16)},
    "mlp": {"model": "mlp"},
    "conditional": {"conditional": True, "g_channels": (32, 16, 8), "d_channels": (8, 16, 16, 32), "d_jitter": 1.0},
    "penalties": {"loss": "relativistic", "r1": 0.1, "r2": 0.1, "g_channels": (32, 16), "d_channels": (8, 16, 16)},
}
PORTABLE = ("conditional",)
BATCH_SIZE = 16
DRAWINGS = {
    "digits": "--format npz --num_digits 600",
    "labelled": "--format npz --num_digits 200 --balanced --labels",
}


def cpuinfo():
    """What Linux tells about the processor."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def machine():
    """What the bits depend on: the processor, how many cores this process may use, and TensorFlow."""
    facts = dict(re.findall(r"^(.+?)\s*: (.*)$", cpuinfo(), re.MULTILINE))
    cpu = " ".join(facts.get(key, "unknown") for key in ("model name", "cpu family", "model", "stepping"))
    return f"{cpu}, {usable_cores()} cores, TensorFlow {importlib.metadata.version('tensorflow')}"


def run_well(*arguments):
    result = run(*arguments)
    assert result.code == 0, result


def hash_arrays(arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]))
    return digest.hexdigest()


def hash_seeds(recipe):
    """sha256 of the names and seeds of all ops in the training graph that draw from TensorFlow's own generators."""
    from dcgan_tf1.training.graph import build_gan

    config = Config(**RECIPES[recipe], batch_size=BATCH_SIZE)
    graph = build_gan(config, classes=10 if config.conditional else 0).graph.as_graph_def()
    random = [node for node in graph.node if "seed2" in node.attr]
    seeds = sorted((node.name, node.attr["seed"].i, node.attr["seed2"].i) for node in random)
    return hashlib.sha256(json.dumps(seeds).encode()).hexdigest()


def hash_training(recipe, folder):
    """sha256 of every variable after twelve small steps of `recipe`."""
    flags = []
    for name, value in RECIPES[recipe].items():
        flags.append(f"--{name}")
        if value is not True:
            flags.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    flags += ["--batch_size", BATCH_SIZE, "--dataset", "digits", "--iterations", 12, "--precision", "float32"]
    run_well("train", *flags, "--out_dir", folder)
    import tensorflow as tf

    reader = tf.compat.v1.train.NewCheckpointReader(str(folder / "checkpoints" / "model-12"))
    return hash_arrays({name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})


def hash_drawing(name, folder):
    """sha256 of the digits that the weights that ship draw from seed 3."""
    run_well("generate", *DRAWINGS[name].split(), "--seed", 3, "--checkpoint", SHIPPED, "--out", folder)
    with np.load(folder / "digits.npz") as arrays:
        return hash_arrays({name: arrays[name] for name in {"images", "labels"} & set(arrays)})


@pytest.fixture
def recorded_bits():
    """The hashes that were recorded on this machine, by name."""
    machines = json.loads(GOLDEN.read_text())["machines"]
    if machine() not in machines:
        pytest.skip(f"the bits of {machine()} are not recorded in golden.json")
    return machines[machine()]


@pytest.mark.parametrize("recipe", RECIPES)
def test_initial_weights_have_the_recorded_seeds(recipe):
    assert hash_seeds(recipe) == json.loads(GOLDEN.read_text())["seeds"][recipe]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_training_gives_the_recorded_bits(recipe, recorded_bits, tmp_path):
    assert hash_training(recipe, tmp_path) == recorded_bits[recipe]


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_weights_that_ship_draw_the_recorded_digits(name, recorded_bits, tmp_path):
    assert hash_drawing(name, tmp_path) == recorded_bits[name]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a process on one core")
@pytest.mark.skipif("avx2" not in cpuinfo(), reason="needs AVX2")
def test_training_gives_the_same_bits_on_every_processor():
    recorded = json.loads(GOLDEN.read_text())["portable"]
    if recorded["tensorflow"] != importlib.metadata.version("tensorflow"):
        pytest.skip(f"recorded with TensorFlow {recorded['tensorflow']}")
    assert hash_portably() == recorded["bits"]


def hash_portably():
    """The hashes of the trainings in PORTABLE, on one core and with AVX2 alone, in a process of its own."""
    code = (
        "import os, sys, json, tempfile, pathlib; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import test_golden as golden; from dcgan_tf1.tensorflow_import import import_tensorflow; import_tensorflow()\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    print(json.dumps({r: golden.hash_training(r, pathlib.Path(folder, r)) for r in golden.PORTABLE}))\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(GOLDEN.parent), str(GOLDEN.parent.parent)])
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def record():
    """Write the seeds, and the bits of this machine, to golden.json. The bits of other machines stay."""
    import_tensorflow()  # for threads of each session, as in the tests
    golden = json.loads(GOLDEN.read_text())
    golden["seeds"] = {recipe: hash_seeds(recipe) for recipe in RECIPES}
    with tempfile.TemporaryDirectory() as folder:
        bits = {recipe: hash_training(recipe, Path(folder, recipe)) for recipe in RECIPES}
        bits |= {name: hash_drawing(name, Path(folder, name)) for name in DRAWINGS}
    golden["machines"][machine()] = bits
    golden["portable"] = {"tensorflow": importlib.metadata.version("tensorflow"), "bits": hash_portably()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    sys.exit(record())
