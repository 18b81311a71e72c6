"""What is exported generates, in other programs, the digits of `dcgan_tf1.load`.

The SavedModel is loaded by plain TensorFlow 2, the ONNX file by onnxruntime, the arrays by NumPy alone. Pixels may
differ by one grey level, since these programs add up in other orders.
"""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import FORMATS, POSIX, ROOT, SHIPPED, assert_error, contents, export, numpy_sampler, output, run, train
from PIL import Image

import dcgan_tf1

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
needs_onnx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tf2onnx", "onnxruntime"))), reason="the extra onnx is not installed"
)
EACH = ["saved_model", "npz", pytest.param("onnx", marks=needs_onnx)]
EXACT = ["saved_model", "npz", "html"]
"""The formats whose files this program writes by itself, and byte by byte the same."""


def close(images, expected):
    """Whether uint8 arrays differ by one grey level at most, and in less than one pixel of a thousand."""
    assert images.dtype == np.uint8 and images.shape == expected.shape
    difference = np.abs(images.astype(int) - expected)
    return difference.max() <= 1 and (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("form", EACH)
def test_the_documented_way(form, tmp_path, monkeypatch):
    """The snippets of docs/export.md, word by word, beside what the default flags write: a conditional GAN."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "numpy_sampler", numpy_sampler())
    output("export", "--format", form)
    names = {}
    exec(SNIPPETS[["saved_model", "onnx", "npz"].index(form)], names)
    assert len(names["images"]) == 16 and names["images"].std() > 50
    with dcgan_tf1.load() as gan:
        assert list(gan.classes) == names.get("classes", list(gan.classes)) != []
        assert close(names["images"], gan.generate(names["z"], names["labels"]))


def test_saved_model_takes_any_batch(tmp_path, shipped):
    folder = export(tmp_path, "saved_model", "--checkpoint", SHIPPED)
    assert contents(folder).keys() == {"1/saved_model.pb"}
    import tensorflow as tf

    model = tf.saved_model.load(str(folder / "1"))
    assert list(model.signatures) == ["serving_default"]
    generate = model.signatures["serving_default"]
    assert generate.structured_input_signature[1]["z"].shape.as_list() == [None, 100]
    assert not any("PyFunc" in op.type for op in generate.graph.get_operations())  # it needs TensorFlow alone
    z = numpy_sampler().latent(7, 0, 100)
    for count in (0, 1, 100):
        found = {name: array.numpy() for name, array in generate(z=tf.constant(z[:count])).items()}
        assert found.keys() == {"images", "pixels"} and found["images"].shape == (count, 32, 32)
    assert close(found["images"], shipped.sample(100, seed=7))
    assert found["pixels"].dtype == np.float32 and 0 <= found["pixels"].min() < found["pixels"].max() <= 1
    assert np.abs(found["pixels"] * 255 - found["images"]).max() < 0.51


@pytest.mark.parametrize("name", ["weights", "unconditional"])
def test_numpy_sampler_is_the_command_that_it_says(name, tmp_path):
    path = export(tmp_path, "npz", "--checkpoint", name)
    script = [sys.executable, ROOT / "docs" / "numpy_sampler.py", path, tmp_path / "digits.pgm"]
    subprocess.run(script, check=True, timeout=60)
    flags = ["--num_digits", 64, "--size", 32, "--scale", 1, "--out", tmp_path, "--checkpoint", path]
    output("generate", "--format", "grid", *flags)
    with Image.open(tmp_path / "digits.png") as picture:
        tiles = np.asarray(picture)[1:, 1:].reshape(8, 33, 8, 33).swapaxes(1, 2)[:, :, :32, :32]
    with Image.open(tmp_path / "digits.pgm") as picture:
        assert close(np.asarray(picture).reshape(8, 32, 8, 32).swapaxes(1, 2), tiles)


@pytest.mark.parametrize(
    "flags",
    [
        ["--preset", "reference", "--g_channels", "16,8,8,4"],  # biases, and the wide kernel
        ["--g_channels", "8", "--output_kernel", "3"],  # stride 8
        ["--g_channels", "8,4,4", "--output_kernel", "1"],
    ],
)
def test_other_networks(tmp_path, flags):
    train(tmp_path, 3, *flags)
    z = np.random.default_rng(0).uniform(-1, 1, (5, 8)).astype(np.float32)
    with dcgan_tf1.load(tmp_path) as gan:
        expected = gan.generate(z)
    assert expected.std() > 0
    path = export(tmp_path, "npz", "--out_dir", tmp_path)
    assert close(numpy_sampler().generate(z, *numpy_sampler().load(path)), expected)
    import tensorflow as tf

    path = export(tmp_path, "saved_model", "--out_dir", tmp_path)
    found = tf.saved_model.load(str(path / "1")).signatures["serving_default"](z=tf.constant(z))
    assert close(found["images"].numpy(), expected)


@pytest.mark.parametrize("half", [False, True])
def test_npz_is_a_checkpoint(finished, tmp_path, half):
    path = export(tmp_path, "npz", "--out_dir", finished, *["--half"][:half])
    with dcgan_tf1.load(path) as exported, dcgan_tf1.load(finished) as run_of:
        assert exported.step == run_of.step and exported.config.g_channels == run_of.config.g_channels
        difference = np.abs(exported.sample(50, seed=1).astype(int) - run_of.sample(50, seed=1))
    assert difference.max() <= 3 if half else not difference.any()
    with np.load(path) as file:
        assert file["generator/dense/kernel"].dtype == (np.float16 if half else np.float32)


@pytest.mark.parametrize("model", ["dcgan32", "mlp"])
def test_z_may_be_scaled(model, tmp_path):
    train(tmp_path, 2, "--conditional", "--model", model)
    flags = ["--out_dir", tmp_path, "--z_scale", 0.5]
    z = np.random.default_rng(0).uniform(-1, 1, (20, 8)).astype(np.float32)
    labels = np.arange(20) % 10
    with dcgan_tf1.load(tmp_path) as gan, dcgan_tf1.load(export(tmp_path, "npz", *flags)) as scaled:
        assert np.array_equal(scaled.generate(z, labels), gan.generate(z / 2, labels))
        assert not np.array_equal(scaled.generate(z, labels), gan.generate(z, labels))
    with np.load(tmp_path / FORMATS["npz"]) as file, np.load(export(tmp_path, "npz", *flags[:2], "--force")) as plain:
        changed = [name for name in plain if name != "metadata" and not np.array_equal(file[name], plain[name])]
    assert changed == [{"dcgan32": "generator/dense/kernel", "mlp": "generator/dense1/kernel"}[model]]


@pytest.mark.parametrize("form", EXACT)
def test_nothing_is_replaced_unless_by_force_and_then_by_the_same_bytes(form, tmp_path):
    path = export(tmp_path, form)
    (path / "1" if path.is_dir() else path.parent).joinpath("mine").write_bytes(b"mine")
    before = contents(tmp_path)
    assert_error(run("export", "--format", form, "--out", path), 5, "--force", out="")
    for name in before:
        if not name.endswith("mine"):
            (tmp_path / name).write_bytes(b"old")
    export(tmp_path, form, "--force")
    assert contents(tmp_path) == before


@POSIX
def test_force_replaces_no_link_in_a_saved_model(tmp_path):
    target, version = tmp_path / "mine", tmp_path / "it" / "1"
    target.mkdir()
    version.parent.mkdir()
    version.symlink_to(target)
    refused = run("export", "--out", version.parent, "--force")
    assert_error(refused, 5, "found a file or a link, expected a folder")
    version.unlink()
    version.mkdir()
    (version / "saved_model.pb").symlink_to(target / "it")
    assert_error(run("export", "--out", version.parent, "--force"), 5, "saved_model.pb: found a link")
    assert contents(target) == {}


@pytest.mark.parametrize("form", EXACT)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_nothing(form, call, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    assert_error(run("export", "--format", form, "--out", tmp_path / "out" / "it"), 5, "No space left")
    assert contents(tmp_path) == {} and not (tmp_path / "out" / "it").exists()


MISUSE = [
    (["--format", "keras"], 2, "--format"),
    (["--half"], 2, "--half"),
    (["--half", "--format", "onnx"], 2, "--half"),
    (["--z_scale", 9], 2, "--z_scale"),
    (["--out"], 2, "--out"),
    (["--out_dir", "absent"], 4, "--checkpoint"),
    *((["--format", form, "--out", "file/it"], 5, "file") for form in EXACT),
]


@pytest.mark.parametrize(("flags", "code", "named"), MISUSE, ids=str)
def test_misuse_ends_in_one_line_and_leaves_nothing(flags, code, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"mine")
    assert_error(run("export", *flags), code, named)
    assert contents(tmp_path) == {"file": b"mine"}


def test_onnx_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_error(run("export", "--format", "onnx", "--out", tmp_path / "it"), 2, ".[onnx]", out="")


@needs_onnx
def test_onnx_takes_any_batch(tmp_path, shipped):
    import onnxruntime

    session = onnxruntime.InferenceSession(export(tmp_path, "onnx", "--checkpoint", "unconditional"))
    z = numpy_sampler().latent(7, 0, 100)
    for count in (1, 100):
        images, pixels = session.run(["images", "pixels"], {"z": z[:count]})
        assert close(images, shipped.generate(z[:count]))
        assert np.abs(pixels * 255 - images).max() < 0.51
    assert os.path.getsize(tmp_path / "generator.onnx") < 12e6
