"""TF_CONFIG names the workers, or ends in one line that says what is wrong with it."""

import json

import pytest
from conftest import assert_error, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcgan_tf1.errors import UsageError, one_line
from dcgan_tf1.tf_config import Task, read_task, write_task


def config(*workers, kind="worker", index=0, **jobs):
    return json.dumps({"cluster": {"worker": workers, **jobs}, "task": {"type": kind, "index": index}})


NO_HOST = ("a..b", ".a", "a" * 64, "a." * 126 + "ab", "-a", "a-", "a b", "a/b", "a@b", "ä", "\u212a", "\ud800", "\0")
NO_HOST += ("1.2.3", "1.2.3.4.5", "256.1.1.1", "010.0.0.1", "2130706433", "127.1", "a.0x7f", "0x7f000001", "[::g]")
NO_HOST += ("[1.2.3.4]", "[::1.2.3]", "[.]", "[a]", "[\u0661::]", ".", "1.2.3.4..")
NO_PORT = ("a", "a:", "a:0", "a:01", "a:65536", "a:-1", "a:+1", "a:1.5", "a:1 ", "a:\u0661", "a:" + "9" * 5000, "")
NO_PORT += (":1", "::1:2", "[::1]", "[::1]2", "[fe80::1%eth0]:2", "[]:1", "[[::1]]:1", "a:1:2", "http://a:1", "a:1\n")
NO_PORT += (5, None, True, 1.5, ["a:1"], {"a": 1})
SAME = (("a:1", "a:1"), ("A.b:1", "a.B.:1"), ("localhost:1", "127.0.0.1:1"), ("[::1]:1", "LOCALHOST:1"))
SAME += (("10.0.0.1:1", "[::ffff:10.0.0.1]:1"), ("[fe80::1]:1", "[FE80:0::1]:1"))
WRONG = {
    **{text: f"found {text!r}" for text in ("workers", "[]", "{}", "5", "null", '"a:1"', "NaN", "{", "\udcff")},
    **{text * 50_000: f"found '{text}" for text in ("[", '{"a":', "9")},
    '{"cluster": {}, "task": {"type": "worker", "index": 0}}': "expected {",
    '{"cluster": ["a:1", "b:1"], "task": {"type": "worker", "index": 0}}': "expected {",
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": ["worker", 0]}': "expected {",
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker"}}': "expected {",
    config("a:1", "b:1", kind=["worker"]): "expected {",
    config("a:1", "b:1", kind="chief"): "found a task of type 'chief', expected one of worker, which",
    config("a:1", ps=["b:1"]): "found a job 'ps', expected chief and worker alone",
    config(): "found [] for worker, expected a list",
    config("a:1", chief="b:1"): "found 'b:1' for chief, expected a list",
    config("a:1", chief={"0": "b:1"}): "found {'0': 'b:1'} for chief, expected a list",
    config("b:1", chief=["a:1", "c:1"], kind="chief"): "found 2 chiefs, expected one at most",
    **{config("a:1", "b:1", index=index): f"found worker {index!r}, " for index in (2, -1, 0.0, True, "0", [0], None)},
    config("a:1", "b:1", index=10**4000): "found worker 1000",
    **{config("ok:1", f"{host}:1"): ", expected a host of letters" for host in NO_HOST},
    **{config("ok:1", address): ', expected "HOST:PORT" with a port' for address in NO_PORT},
    **{config("ok:1", f"{host}:1"): ", expected an address at" for host in ("0.0.0.0", "[::]", "[::ffff:0.0.0.0]")},
    **{config(*pair): f"found {pair[0]} and {pair[1]}, expected an address of its own" for pair in SAME},
    config("a:1", chief=["a:1"]): "found a:1 and a:1, expected",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: ascii(text)[:60])
def test_what_is_wrong_is_one_line(text, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", text)
    assert_error(run("--out_dir", tmp_path), 2, "error: TF_CONFIG: found ", WRONG[text], out="")
    assert not list(tmp_path.iterdir())


def test_the_chief_is_worker_0(monkeypatch):
    jobs = {"chief": ["a-1.b_c.:1"], "worker": ["10.0.0.1:65535", "[::1]:3", "127.0.0.2:3"]}
    addresses = (*jobs["chief"], *jobs["worker"])
    for kind, index, worker in (("chief", 0, 0), ("worker", 0, 1), ("worker", 2, 3)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}}))
        assert read_task() == Task(addresses, worker)
        monkeypatch.setenv("TF_CONFIG", write_task(Task(addresses, worker)))
        assert read_task() == Task(addresses, worker)


@pytest.mark.parametrize("text", ["", " \n", config("a:1"), config("a:1").replace("worker", "chief")])
def test_a_process_that_is_alone(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert read_task() is None


ADDRESSES = st.from_regex(r"[ab.:\[\]0127\-_]{0,8}(:[012]{0,4})?", fullmatch=True) | st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ADDRESSES
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
JOBS = st.dictionaries(st.sampled_from(["chief", "worker"]), st.lists(ADDRESSES, max_size=3) | JSON)
TASK = st.fixed_dictionaries({"type": st.sampled_from(["chief", "worker"]) | JSON, "index": st.integers(-1, 3) | JSON})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.fixed_dictionaries({"cluster": JOBS | JSON, "task": TASK | JSON}) | JSON)
def test_any_json_is_read_or_refused(value, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(value))
    try:
        task = read_task()
    except UsageError as error:
        assert one_line(error).startswith("TF_CONFIG: found ")
    else:
        assert task is None or 0 <= task.worker < len(task.addresses)
