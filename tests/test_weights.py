"""Which weights a command means, and files of weights: exact, verified, and refused in one line when malformed."""

import hashlib
import io
import json
import os
import shutil
import warnings
import zipfile

import numpy as np
import pytest
from conftest import ROOT, at_most

from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.runs import checkpoint, weights

CONFIG = Config(g_channels=(2,), d_channels=(2,), z_dim=3, data_dir="/home/someone/mnist")
DATASET = {"name": "mnist", "digest": "0" * 64}
ARRAYS = {
    "generator/dense/kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "generator/dense/moving_variance": np.full(4, 1 / 3, np.float32),
    "discriminator/conv1/kernel": np.zeros((1, 1, 1, 2), np.float32),
}


def some_weights(path):
    return weights.Weights(path, 7, CONFIG, DATASET, ARRAYS)


@pytest.fixture
def path(tmp_path):
    weights.save_weights(tmp_path / "weights.npz", some_weights(tmp_path))
    return tmp_path / "weights.npz"


# Files


def test_float32_is_exact(path):
    found = weights.load_weights(path)
    assert found.arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(found.arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert (found.step, found.dataset, found.path) == (7, DATASET, path)
    again = path.with_name("again.npz")
    weights.save_weights(again, found)
    assert again.read_bytes() == path.read_bytes()


def test_where_the_data_lay_is_not_told(path):
    config = weights.load_weights(path).config
    assert config == CONFIG.replace(data_dir="", dataset="mnist")
    assert b"someone" not in path.read_bytes()


def test_float16_takes_half_and_cannot_hold_everything(path):
    weights.save_weights(path, some_weights(path), "float16")
    for name, array in weights.load_weights(path).arrays.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, ARRAYS[name].astype(np.float16))
    before = path.read_bytes()
    large = some_weights(path)._replace(arrays={"generator/a": np.full(3, 1e5, np.float32)})
    with pytest.raises(CheckpointError, match="generator/a has values beyond float16"):
        weights.save_weights(path, large, "float16")
    assert path.read_bytes() == before


@pytest.mark.parametrize("kernel", [None, np.zeros(3, np.float32), np.zeros((1, 3, 4), np.float32)], ids=np.shape)
def test_z_is_scaled_in_a_matrix_alone(tmp_path, kernel):
    arrays = {} if kernel is None else {"generator/dense/kernel": kernel}
    with pytest.raises(CheckpointError, match="found no matrix .* which --z_scale multiplies"):
        weights.scale_z(some_weights(tmp_path)._replace(arrays=arrays), 0.5)


def rewritten(record=None, arrays=None, seal=True, **options):
    """A file's bytes, with its metadata or arrays changed and, unless `seal` is False, sealed again."""
    found = {"format": 1, "step": 7, "config": CONFIG.to_json(), "dataset": dict(DATASET)}
    content = dict(ARRAYS)
    changed = (record and record(found)) or found
    if arrays:
        arrays(content)
    if isinstance(changed, dict):
        digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode())
        for name, array in sorted(content.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        changed["sha256"] = digest.hexdigest() if seal else "0" * 64
    content = {"metadata": np.frombuffer(json.dumps(changed).encode(), np.uint8), **content}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of two members of one name
        for name, array in content.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array)
            archive.writestr(f"{name.removesuffix('+')}.npy", member.getvalue())
    return buffer.getvalue()


def put(*path):
    """A function that changes a record: it sets the entry that all but the last of `path` lead to, to the last."""

    def change(record):
        *keys, last, value = path
        for key in keys:
            record = record[key]
        record[last] = value

    return change


def hollow(name, header):
    """The bytes of a file with one array, which has a header and no data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = io.BytesIO()
        np.lib.format.write_array_header_1_0(member, header)
        archive.writestr(name, member.getvalue())
    return buffer.getvalue()


GOOD = rewritten()
HUGE = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
MALFORMED = {
    "empty": b"",
    "zip magic alone": b"PK\x03\x04",
    "cut short": GOOD[:-30],
    "flipped bit": GOOD[:700] + bytes([GOOD[700] ^ 1]) + GOOD[701:],
    "no arrays": hollow("a.npy", HUGE)[-22:],
    "huge shape": hollow("generator/a.npy", HUGE),
    "negative shape": hollow("generator/a.npy", HUGE | {"shape": (-1, -4)}),
    "huge metadata": hollow("metadata.npy", HUGE | {"descr": "|u1"}),
    "no metadata": hollow("generator/a.npy", HUGE | {"shape": (0,)}),
    "compressed": rewritten(compression=zipfile.ZIP_DEFLATED),
    "bomb": rewritten(
        arrays=put("generator/a", np.zeros(1 << 24, np.float32)), compression=zipfile.ZIP_DEFLATED, compresslevel=9
    ),
    "pickle": rewritten(arrays=put("generator/a", np.array([{}], object)), seal=False),
    "float64": rewritten(arrays=put("generator/a", np.zeros(3))),
    "big-endian": rewritten(arrays=put("generator/a", np.zeros(3, ">f4"))),
    "fortran order": rewritten(arrays=put("generator/a", np.asfortranarray(np.ones((2, 3), np.float32)))),
    "NaN": rewritten(arrays=put("generator/a", np.array([np.nan], np.float32))),
    "infinity": rewritten(arrays=put("generator/a", np.array([np.inf], np.float16))),
    "strange name": rewritten(arrays=put("../a", np.zeros(3, np.float32))),
    "optimizer": rewritten(arrays=put("d_adam/beta1_power", np.zeros(3, np.float32))),
    "line break in a name": rewritten(arrays=put("generator/a\n", np.zeros(3, np.float32))),
    "two of one name": rewritten(arrays=put("generator/dense/kernel+", np.zeros(3, np.float32))),
    "seal of others": rewritten(seal=False),
    "format": rewritten(record=put("format", 2)),
    "step -1": rewritten(record=put("step", -1)),
    "step true": rewritten(record=put("step", True)),
    "no record": rewritten(record=lambda record: [1]),
    "null": rewritten(record=lambda record: "null"),
    "dataset text": rewritten(record=put("dataset", "mnist")),
    "no digest": rewritten(record=put("dataset", {"name": "mnist"})),
    "config null": rewritten(record=put("config", None)),
    "unknown setting": rewritten(record=put("config", "future", 1)),
    "bad setting": rewritten(record=put("config", "z_dim", 0)),
    "deep": rewritten(record=put("config", json.loads("[" * 900 + "]" * 900))),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed(content, tmp_path):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with at_most(2, 5e6), pytest.raises(CheckpointError) as caught:
        weights.find_weights(path, None, pytest.fail)
    line = str(caught.value)
    assert "weights.npz: " in line and line.isprintable() and len(line) <= 200


def test_any_flipped_bit_is_seen(path):
    content = path.read_bytes()
    found = weights.load_weights(path)
    positions = range(0, len(content), 7)
    refused = 0
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:  # a few bits mean nothing, such as those of the time in the archive's directory
            again = weights.load_weights(path)
        except CheckpointError:
            refused += 1
            continue
        assert (again.step, again.config) == (found.step, found.config)
        assert all(np.array_equal(again.arrays[name], found.arrays[name]) for name in ARRAYS)
    assert refused > len(positions) / 2


# Which


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CheckpointError, match="Permission denied; expected a folder that can be read"):
        weights.find_weights(tmp_path, None, pytest.fail)


def test_a_checkpoint_gives_the_averages_and_no_optimizer(finished):
    import tensorflow as tf

    found = weights.read_weights(weights.find_weights(finished, None, pytest.fail))
    saved = tf.train.load_checkpoint(str(finished / "checkpoints" / "model-200"))
    name = "generator/dense/kernel"
    average = saved.get_tensor(name + "/ExponentialMovingAverage")
    assert np.array_equal(found.arrays[name], average)
    assert not np.array_equal(found.arrays[name], saved.get_tensor(name))
    name = "generator/dense/moving_variance"
    assert np.array_equal(found.arrays[name], saved.get_tensor(name))
    assert {name.partition("/")[0] for name in found.arrays} == {"generator", "discriminator"}
    assert not [name for name in found.arrays if "adam" in name.lower() or "Average" in name]
    assert {"generator/dense/moving_mean", "discriminator/conv2/moving_variance"} <= found.arrays.keys()


def test_ways_to_name_a_checkpoint(finished, path, tmp_path, monkeypatch):
    folder = finished / "checkpoints"
    for wanted, of in ((None, folder), (100, folder), ("100", folder), (finished, None), (folder, None), (path, None)):
        found = weights.find_weights(wanted, of, pytest.fail)
        assert found.step == {100: 100, "100": 100, path: 7}.get(wanted, 200)
        assert weights.describe(found).startswith(f"weights: step {found.step}, trained on ")
    assert weights.find_weights(path.parent, None, pytest.fail).step == 7  # a folder that has weights.npz
    monkeypatch.chdir(finished)
    assert weights.find_weights(None, None, pytest.fail).step == 200
    assert weights.find_weights("50", None, pytest.fail).step == 50
    for name in ("model-50", "model-50.index", "model-50.data-00000-of-00001", "model-50.json"):
        assert weights.find_weights(f"checkpoints/{name}", None, pytest.fail).step == 50


@pytest.mark.parametrize("wanted", ["", "model-5", "model-5.index", "model.ckpt-5", "model.ckpt-5.meta"])
def test_a_checkpoint_of_another_program_is_called_that(finished, wanted, tmp_path):
    shutil.copy(finished / "checkpoints" / "model-50.index", tmp_path / "model-5.index")
    for suffix in ("index", "meta"):
        shutil.copy(finished / "checkpoints" / "model-50.index", tmp_path / f"model.ckpt-5.{suffix}")
    with pytest.raises(CheckpointError, match="found a TensorFlow checkpoint of another program at "):
        weights.find_weights(tmp_path / wanted, None, pytest.fail)


def test_the_weights_that_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = weights.find_weights(None, None, pytest.fail)
    assert found.path.parts[-3:] == ("checkpoints", "pretrained", "weights.npz")
    assert found.dataset["name"] == "mnist" and found.config.data_dir == ""
    assert found.path.stat().st_size < 6e6
    recipe = Config(preset="long", conditional=True)
    differs = {name for name, value in recipe.to_json().items() if value != getattr(found.config, name)}
    assert differs == {
        "preset",
        "dataset",
        "precision",
        "sample_every",
        "max_to_keep",
        "fit",
    }  # nothing that the weights owe
    for name, data, classes in (("weights", "mnist", 10), ("unconditional", "mnist", 0), ("fashion", "fashion", 10)):
        found = weights.find_weights(name, None, pytest.fail)
        assert found.dataset["name"] == data and len(found.dataset.get("classes", ())) == classes
        assert hashlib.sha256(found.path.read_bytes()).hexdigest() == weights.SHIPPED_SHA256[name]
    (tmp_path / "unconditional").mkdir()  # what a user has goes first
    with pytest.raises(CheckpointError, match="found no checkpoint at 'unconditional'"):
        weights.find_weights("unconditional", None, pytest.fail)
    monkeypatch.setitem(weights.SHIPPED_SHA256, "weights", "0" * 64)
    with pytest.raises(CheckpointError, match="found sha256"):
        weights.shipped_weights()


def test_a_run_beside_them_is_its_own(finished_copy, monkeypatch):
    folder = finished_copy / "checkpoints"
    shutil.copytree(ROOT / "checkpoints" / "pretrained", folder / "pretrained")
    assert weights.find_weights(None, folder, pytest.fail).step == 200
    assert checkpoint.newest(folder, pytest.fail).step == 200
    checkpoint.clean(folder)
    checkpoint.rotate(folder, 200, 1)
    assert (folder / "pretrained" / "weights.npz").exists()
    for path in folder.glob("model-*"):
        path.unlink()
    assert checkpoint.newest(folder, pytest.fail) is None  # so that a run starts


@pytest.mark.parametrize("wanted", ["absent", "absent.npz", "300", "9" * 400, ".", "a\0b", "x" * 5000, -1, True, 2.5])
def test_nothing_there(wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        weights.find_weights(wanted, None, pytest.fail)
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="found no checkpoint"):  # a folder that was named has to hold a run
        weights.find_weights(None, tmp_path, pytest.fail)


def test_damaged_checkpoints_are_passed_over_but_not_when_asked_for(finished_copy):
    folder = finished_copy / "checkpoints"
    (folder / "model-200.index").write_bytes(b"")
    warned = []
    assert weights.find_weights(None, folder, warned.append).step == 150
    assert len(warned) == 1 and "model-200" in warned[0]
    with pytest.raises(CheckpointError, match="model-200"):
        weights.find_weights(200, folder, pytest.fail)
