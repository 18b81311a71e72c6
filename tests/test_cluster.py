"""Several workers train one GAN: the same steps as one process takes, and none of them goes on alone."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import POSIX, ROOT, contents, environment, run, weights

from dcgan_tf1.commands.launch import free_addresses
from dcgan_tf1.config import Config
from dcgan_tf1.data import draws, sources
from dcgan_tf1.errors import ClusterError, UsageError
from dcgan_tf1.tf_config import Task, read_task, write_task
from dcgan_tf1.training import cluster
from dcgan_tf1.training.gan import build_gan
from dcgan_tf1.training.session import open_session, restore

pytestmark = POSIX

SMALL = ["--dataset", "digits", "--g_channels", "16,8", "--d_channels", "4,8", "--batch_size", "12", "--z_dim", "8"]
SMALL += ["--precision", "float32", "--log_every", "1", "--sample_every", "1000", "--checkpoint_every", "20"]
NARROW = {
    "default": {"preset": "default", "g_channels": (32, 16, 8), "d_channels": (8, 16, 16, 32), "d_jitter": 1.0},
    "reference": {"preset": "reference", "g_channels": (32, 16, 8, 8), "d_channels": (8, 8, 16)},
}


def flags_of(settings):
    flags = []
    for name, value in settings.items():
        flags += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return flags


def start(*arguments, **variables):
    command = [sys.executable, "-u", str(ROOT / "run.py"), *map(str, arguments)]
    env = {**environment(), "CUDA_VISIBLE_DEVICES": "", **variables}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def launch(folder, workers, *flags):
    """What several workers print that train in `folder` until they end."""
    process = start("launch", "--workers", workers, "--", *flags, "--out_dir", folder)
    try:
        output, _ = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    assert process.returncode == 0, output
    return output


def start_workers(folder, tasks, *flags):
    """A process for each of `tasks`; the flags of each may be a list of its own."""
    each = flags if flags and isinstance(flags[0], list) else [list(flags)] * len(tasks)
    return [
        start(*each[i], "--out_dir", folder / str(i), TF_CONFIG=task if isinstance(task, str) else write_task(task))
        for i, task in enumerate(tasks)
    ]


@contextlib.contextmanager
def running(processes):
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


# What TF_CONFIG may be


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("workers", "found 'workers'"),
        ("[]", "found '[]'"),
        ('{"cluster": {}, "task": {"type": "worker", "index": 0}}', "found a task of type 'worker'"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "found a job 'ps'"),
        ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}', "found a:1 twice"),
        ('{"cluster": {"worker": ["a:1", "b:0"]}, "task": {"type": "worker", "index": 0}}', "found ['a:1', 'b:0']"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "found worker 2"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}', "found worker -1"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
            "found a task of type 'chief'",
        ),
        (
            '{"cluster": {"chief": ["a:1", "c:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}',
            "2 chiefs",
        ),
    ],
)
def test_a_wrong_tf_config_is_one_line(text, found, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", text)
    result = run("--out_dir", tmp_path)
    assert result.code == 2 and result.err.startswith("error: TF_CONFIG: ") and found in result.err, result
    assert len(result.err.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_chief_is_worker_0(monkeypatch):
    jobs = {"chief": ["a:1"], "worker": ["b:2", "[::1]:3"]}
    for kind, index, worker in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}}))
        assert read_task() == Task(("a:1", "b:2", "[::1]:3"), worker)
    monkeypatch.setenv("TF_CONFIG", write_task(Task(("a:1", "b:2"), 1)))
    assert read_task() == Task(("a:1", "b:2"), 1)
    monkeypatch.setenv("TF_CONFIG", write_task(Task(("a:1",), 0)))
    assert read_task() is None  # alone
    monkeypatch.setenv("TF_CONFIG", "")
    assert read_task() is None


@pytest.mark.parametrize("address", ["192.0.2.77:2222", "taken"])
def test_an_address_where_a_worker_cannot_listen(address, monkeypatch, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        if address == "taken":
            address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setenv("TF_CONFIG", write_task(Task(("127.0.0.1:9", address), 1)))
        result = run("--out_dir", tmp_path)
    assert result.code == 2 and f"error: TF_CONFIG: worker 1 cannot listen at {address} (" in result.err, result
    assert not list(tmp_path.iterdir())  # only the chief writes


def test_a_batch_that_cannot_be_shared():
    each = object.__new__(cluster.Cluster)
    each.count = 3
    assert each.own_config(Config(batch_size=12)).batch_size == 4
    for size in (64, 3):
        with pytest.raises(UsageError, match=f"--batch_size: found {size}, expected a multiple of 3"):
            each.own_config(Config(batch_size=size))


def test_a_variable_that_differs_is_named(monkeypatch):
    each = object.__new__(cluster.Cluster)
    each.count, each._task = 2, Task(("a:1", "b:1"), 0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        variables = [tf.compat.v1.get_variable(name, [3]) for name in ("same", "other")]
        sess.run(tf.compat.v1.global_variables_initializer())
        monkeypatch.setattr(each, "_share_rows", lambda row: np.stack([row, row]))
        each.compare_variables(sess, variables)
        monkeypatch.setattr(each, "_share_rows", lambda row: np.stack([row, np.append(row[:-1], row[-1] + 1)]))
        with pytest.raises(ClusterError, match=r"other differs between worker 0 and worker 1 \(b:1\)"):
            each.compare_variables(sess, variables)


def test_launch_refuses_what_train_refuses():
    for arguments, found in ((["--", "--lr_g", "x"], "--lr_g"), (["--workers", 0], "--workers"), (["--", "-x"], "-x")):
        result = run("launch", *arguments)
        assert result.code == 2 and found in result.err, result


# Who is there


@contextlib.contextmanager
def listener(greeting):
    """The address of a server that answers with `greeting`; None: it accepts nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        if greeting is not None:
            threading.Thread(target=lambda: server.accept()[0].sendall(greeting), daemon=True).start()
        yield socket.AF_INET, server.getsockname()


def test_who_does_not_greet_is_absent():
    with listener(b"hello") as there, listener(None) as silent:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            gone = socket.AF_INET, closed.getsockname()
        found = cluster._find_absent({1: there, 2: silent, 3: gone}, 0.5)
    assert found == {2: "has not answered for 0 s: it hangs or is cut off", 3: "has ended"}
    assert cluster._find_absent({}, 0.5) == {}


def test_who_does_not_come_is_named():
    with listener(b"hello") as there:
        addresses = ("127.0.0.1:1", f"127.0.0.1:{there[1][1]}", *free_addresses(1))
        with pytest.raises(UsageError, match=r"worker 1 \(.*\) left before|worker 2 \(.*\) did not come within 1 s"):
            cluster._wait_for_others(Task(addresses, 0), 1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a socket filter of Linux")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_server_is_deaf_at_other_addresses(family):
    with socket.socket(family) as server:
        server.bind(("", 0))  # all addresses, as TensorFlow's server does
        server.listen()
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.2", port), 2).close()
        cluster._listen_at("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port), 2).close()
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.2", port), 0.3)


# The same steps


def compare_steps(folder, settings, steps):
    """How far each step of the workers is from one process's step from the same weights, relative to the step."""
    config = Config(**settings)
    dataset = sources.load("digits", "")
    gan = build_gan(config, dataset.images.shape[1])
    variables = gan.d_variables + gan.g_variables
    errors = []
    with open_session(gan, config) as sess:
        prefix = folder / "checkpoints" / "model-0"
        restore(sess, gan, prefix)
        after = sess.run(variables)
        for step in range(steps):
            before = after
            chosen = draws.batch_indices(len(dataset.images), config.batch_size, config.seed, step)
            z = draws.latent(config.seed, draws.Stream.TRAIN, step, (config.batch_size, config.z_dim))
            sess.run(gan.train_op, {gan.images: dataset.images[chosen], gan.z: z})
            alone = sess.run(variables)
            restore(sess, gan, prefix.with_name(f"model-{step + 1}"))
            after = sess.run(variables)
            distance, moved = (
                np.sqrt(sum(np.sum(np.square(x - y, dtype=np.float64)) for x, y in zip(each, after, strict=True)))
                for each in (alone, before)
            )
            errors.append(distance / moved)
    return np.array(errors)


def assert_same_steps(folder, preset, workers, steps):
    settings = {**NARROW[preset], "batch_size": 16, "precision": "float32", "dataset": "digits"}
    often = {"checkpoint_every": 1, "max_to_keep": 99, "iterations": steps}
    launch(folder, workers, *flags_of({**settings, **often}), "--sync_batch_norm")
    errors = compare_steps(folder, settings, steps)
    print(preset, workers, np.sort(errors)[[0, steps // 2, -2, -1]])
    # Rounding moves an input of a ReLU across zero now and then, and with it a whole summand of a gradient.
    assert np.median(errors) < 1e-5 and np.max(errors) < 0.1, errors


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("preset", NARROW)
def test_workers_take_the_steps_of_one_process(preset, workers, tmp_path):
    assert_same_steps(tmp_path, preset, workers, 50)


# Stops and faults


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def read_until(process, text, seconds=120):
    """The lines that `process` prints up to the first one that has `text` in it."""
    lines, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        lines.append(process.stdout.readline())
        if text in lines[-1] or not lines[-1]:
            break
    assert lines and text in lines[-1], lines
    return lines


def test_ctrl_c_stops_all_and_commits_once(tmp_path):
    process = start("launch", "--", *SMALL, "--iterations", 10**6, "--out_dir", tmp_path)
    with running([process]):
        lines = read_until(process, "[0] committed 20")
        pids = children(process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert any("[1] worker 1 of 2, at 127.0.0.1:" in line for line in lines)
    committed = re.findall(r"\[(\d)\] committed (\d+)", "".join(lines) + output)
    assert {worker for worker, _ in committed} == {"0"}
    steps = [int(step) for _, step in committed]
    assert steps == [*range(0, steps[-2] + 1, 20), steps[-1]] and "error" not in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert json.loads((tmp_path / "checkpoints" / f"model-{steps[-1]}.json").read_text())["machine"]["workers"] == 2


@pytest.mark.slow
def test_a_resume_is_exact_with_as_many_workers(tmp_path):
    launch(tmp_path / "whole", 2, *SMALL, "--iterations", 50)
    for iterations in (30, 50):
        output = launch(tmp_path / "parts", 2, *SMALL, "--iterations", iterations)
    assert "[0] resumed at step 30" in output and "note:" not in output
    assert weights(tmp_path / "parts", 50) == weights(tmp_path / "whole", 50)
    assert contents(tmp_path / "parts")["logs/metrics.csv"] == contents(tmp_path / "whole")["logs/metrics.csv"]
    assert "already trained" in launch(tmp_path / "parts", 2, *SMALL, "--iterations", 50)
    output = launch(tmp_path / "parts", 3, *SMALL, "--iterations", 55)
    assert "[0] note: not as the checkpoint was written, so not bit for bit the same run: workers 2 -> 3" in output
    result = run(*SMALL, "--iterations", 60, "--out_dir", tmp_path / "parts")
    assert result.code == 0 and "resumed at step 55" in result.out and "workers 3 -> 1" in result.out


@pytest.mark.slow
def test_launch_starts_again_when_a_worker_was_killed(tmp_path):
    flags = [*SMALL, "--iterations", "60"]
    launch(tmp_path / "whole", 3, *flags)
    process = start("launch", "--workers", 3, "--restarts", 1, "--", *flags, "--out_dir", tmp_path / "killed")
    with running([process]):
        read_until(process, "[0] committed 20")
        os.kill(children(process)[2], signal.SIGKILL)
        at = time.monotonic()
        lines = read_until(process, "error: ")
        assert time.monotonic() - at < 5
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "error: worker 2 (127.0.0.1:" in lines[-1] and ") has ended; start all workers again" in lines[-1]
    assert "launch: starting again from the last commit" in output and "[0] resumed at step" in output
    assert weights(tmp_path / "killed", 60) == weights(tmp_path / "whole", 60)


@pytest.mark.slow
def test_a_worker_that_hangs_is_named(tmp_path):
    addresses = free_addresses(2)
    tasks = [Task(addresses, 0), Task(addresses, 1)]
    with running(start_workers(tmp_path, tasks, *SMALL, "--iterations", "1000000")) as (chief, other):
        read_until(chief, "committed 20")
        other.send_signal(signal.SIGSTOP)
        at = time.monotonic()
        error = read_until(chief, "error: ")[-1]
        assert time.monotonic() - at < 15
        assert f"worker 1 ({addresses[1]}) has not answered for 6 s" in error
        assert chief.communicate(timeout=20)[0] == "" and chief.returncode == 76
    assert not (tmp_path / "1").exists()  # only the chief writes


@pytest.fixture
def two_hosts():
    """Two network namespaces on one cable, and a function that cuts it."""
    names = [f"dcgan{os.getpid()}{side}" for side in "ab"]

    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", names[0], "type", "veth", "peer", "name", "cable", "netns", names[1])
        for i, name in enumerate(names, start=1):
            ip("-n", name, "addr", "add", f"10.77.0.{i}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs network namespaces: {error}")

    def cut():
        for i, name in enumerate(names, start=1):  # what is sent to an address that nobody has is dropped
            nowhere = ["lladdr", "02:00:00:00:00:99", "dev", "cable", "nud", "permanent"]
            ip("-n", name, "neigh", "replace", f"10.77.0.{3 - i}", *nowhere)

    yield names, cut
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.slow
def test_a_worker_that_is_cut_off_is_named(two_hosts, tmp_path):
    names, cut = two_hosts
    addresses = ("10.77.0.1:2222", "10.77.0.2:2222")
    processes = []
    for worker, name in enumerate(names):
        command = ["ip", "netns", "exec", name, sys.executable, "-u", ROOT / "run.py", *SMALL]
        command += ["--iterations", "1000000", "--out_dir", tmp_path / str(worker)]
        env = {**environment(), "TF_CONFIG": write_task(Task(addresses, worker))}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(list(map(str, command)), env=env, **pipes))
    with running(processes):
        read_until(processes[0], "committed 20")
        cut()
        at = time.monotonic()
        for process, other in zip(processes, (1, 0), strict=True):
            error = read_until(process, "error: ")[-1]
            assert f"error: worker {other} ({addresses[other]}) has not answered for 6 s" in error
            assert time.monotonic() - at < 15
        assert [process.wait(timeout=20) for process in processes] == [76, 76]


# Agreement


@pytest.mark.slow
def test_other_flags_or_data_stop_every_worker(tmp_path):
    images = sources.load("digits", "").images
    np.savez(tmp_path / "other.npz", images=images[::-1])
    cases = {
        "--lr_g: found 0.1 on worker 1": ["--lr_g", "0.1"],
        "--dataset: found ": ["--dataset", str(tmp_path / "other.npz")],
    }
    for expected, flags in cases.items():
        addresses = free_addresses(2)
        tasks = [Task(addresses, 0), Task(addresses, 1)]
        flags = [[*SMALL, "--iterations", "20"], [*SMALL, "--iterations", "20", *flags]]
        with running(start_workers(tmp_path, tasks, *flags)) as processes:
            outputs = [process.communicate(timeout=90)[0] for process in processes]
        assert [process.returncode for process in processes] == [2, 2], outputs
        for output in outputs:
            errors = [line for line in output.splitlines() if line.startswith("error:")]
            assert len(errors) == 1 and expected in errors[0] and "committed" not in output, outputs


@pytest.mark.slow
def test_lists_that_contradict_each_other_stop_every_worker(tmp_path):
    first, second, third = free_addresses(3)
    tasks = [Task((first, second, third), 0), Task((first, second), 1), Task((first, second, third), 2)]
    with running(start_workers(tmp_path, tasks, *SMALL, "--iterations", "20")) as processes:
        outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2, 2], outputs
    assert all(output.count("error: ") == 1 for output in outputs), outputs
