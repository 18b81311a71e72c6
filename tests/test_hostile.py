"""Malformed checkpoints and settings are refused in one line, soon, and without TensorFlow."""

import json
import time
import tracemalloc

import pytest
from conftest import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_checkpoint import CHANGES, OF_ANOTHER_VERSION, TEXTS, commit, sealed

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError, UsageError
from dcgan_tf1.runs import checkpoint


@pytest.fixture
def one_commit(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    commit(tmp_path / "checkpoints", 10)
    return tmp_path


def assert_refused(folder, warnings=1):
    """The run in `folder` is refused in one line, with the exit code of checkpoints, soon and in little memory."""
    began = time.monotonic()
    tracemalloc.start()
    result = run("--out_dir", folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.code == 4, result
    assert result.err.startswith("error: ") and result.err.count("\n") == 1 and len(result.err) <= 201
    assert result.err[:-1].isprintable() and result.err.isascii()
    lines = result.out.splitlines()
    assert len(lines) == warnings
    assert all(line.startswith("warning: ") and len(line) <= 200 for line in lines)
    assert time.monotonic() - began < 2 and peak < 200e6


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(tensorflow_import, "import_tensorflow", lambda: pytest.fail("TensorFlow was imported"))


@pytest.mark.parametrize("text", TEXTS)
def test_manifest_of_strange_text(one_commit, text):
    (one_commit / "checkpoints" / "model-10.json").write_bytes(TEXTS[text])
    assert_refused(one_commit)


@pytest.mark.parametrize("change", [name for name in CHANGES if CHANGES[name]])
def test_manifest_of_strange_content(one_commit, change):
    path = one_commit / "checkpoints" / "model-10.json"
    manifest = json.loads(path.read_bytes())
    CHANGES[change](manifest)
    path.write_text(sealed(manifest))
    assert_refused(one_commit, warnings=int(change not in OF_ANOTHER_VERSION))


@pytest.mark.parametrize("size", [0, 1 << 40])
@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
def test_other_sizes_are_seen_without_reading(one_commit, suffix, size):
    """To read a terabyte, of which the disk holds nothing here, would take hours."""
    with (one_commit / "checkpoints" / f"model-10.{suffix}").open("wb") as file:
        file.truncate(size)
    assert_refused(one_commit)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["format", "step", "files", "config", "dataset", "machine"]), value=JSON)
def test_any_json_in_a_manifest_is_read_or_refused(one_commit, field, value):
    path = one_commit / "checkpoints" / "model-10.json"
    before = path.read_bytes()
    path.write_text(sealed({**json.loads(before), field: value}))
    try:
        assert checkpoint.load(path.parent, 10).step == 10
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(before)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(Config().to_json())), value=JSON)
def test_any_json_in_a_config_is_read_or_refused(name, value):
    try:
        config = Config.from_json({**Config().to_json(), name: value})
        assert Config.from_json(config.to_json()) == config
    except UsageError as error:
        assert f"--{name}: " in str(error)
