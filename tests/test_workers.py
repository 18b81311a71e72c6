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

from dcgan_tf1.commands import launch as launching
from dcgan_tf1.commands.launch import free_addresses
from dcgan_tf1.config import Config
from dcgan_tf1.data import sources
from dcgan_tf1.errors import UsageError
from dcgan_tf1.networks import frozen
from dcgan_tf1.runs.folder import Run
from dcgan_tf1.tf_config import Task, split_address, write_task
from dcgan_tf1.training import session
from dcgan_tf1.training.loop import next_batch, open_training
from dcgan_tf1.training.server import listen_at
from dcgan_tf1.training.workers import Workers

pytestmark = POSIX

SMALL = ["--dataset", "digits", "--g_channels", "16,8", "--d_channels", "4,8", "--batch_size", "12", "--z_dim", "8"]
SMALL += ["--precision", "float32", "--log_every", "1", "--sample_every", "1000", "--checkpoint_every", "20"]
NARROW = {
    "default": {"preset": "default", "g_channels": (32, 16, 8), "d_channels": (8, 16, 16, 32), "d_jitter": 1.0},
    "reference": {"preset": "reference", "g_channels": (32, 16, 8, 8), "d_channels": (8, 8, 16)},
}


def start(*arguments, program=(ROOT / "run.py",), prefix=(), cwd=ROOT, stderr=subprocess.STDOUT, **variables):
    command = [*prefix, sys.executable, "-u", *program, *arguments]
    options = {"env": {**environment(), "CUDA_VISIBLE_DEVICES": "", **variables}, "cwd": cwd, "text": True}
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=stderr, **options)


def launch(folder, workers, *flags):
    """What several workers print that train in `folder` until they end."""
    process = start("launch", "--workers", workers, "--", *flags, "--out_dir", folder)
    try:
        output, _ = process.communicate(timeout=220)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    assert process.returncode == 0, output
    return output


def two_tasks():
    addresses = free_addresses(2)
    return [Task(addresses, 0), Task(addresses, 1)]


FAULTY = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from dcgan_tf1.cli import main
from dcgan_tf1.data import sources
from dcgan_tf1.training import loop, session
from dcgan_tf1.training.recorder import Recorder

load, read, step = sources.load_for, Path.read_bytes, session.TrainingSession.step

def spoil(training, *batch, **options):
    result = step(training, *batch, **options)
    training.gan.load(training.session, {"discriminator/dense/bias": np.ones(1, np.float32)})
    return result

match sys.argv.pop(1):
    case "changed":
        Path.read_bytes = lambda path: read(path) + (b"# a comment" if path.name == "losses.py" else b"")
    case "doomed":
        loop.build_gan = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
    case "reads for long":
        sources.load_for = lambda config, **options: time.sleep(5) or load(config, **options)
    case "records for long":
        Recorder.grid = lambda recorder, step: time.sleep(5)
    case "spoilt":
        session.TrainingSession.step = spoil
sys.exit(main())
"""


@contextlib.contextmanager
def running(processes):
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            if process.stdout:
                process.communicate()


def end_workers(folder, tasks, *flags, extra=(), faults=()):
    """What workers print that end by themselves, each with a folder of its own, and their exit codes.

    The last one has `extra` flags. `faults` are those of FAULTY, by the numbers of the workers.
    """
    processes, faults = [], dict(faults)
    for i, task in enumerate(tasks):
        program = ("-c", FAULTY, faults[i]) if i in faults else (ROOT / "run.py",)
        more = ["--out_dir", folder / str(i), *extra * (task is tasks[-1])]
        processes.append(start(*flags, *more, program=program, TF_CONFIG=write_task(task)))
    with running(processes):
        outputs = [process.communicate(timeout=220)[0] for process in processes]
    return outputs, [process.returncode for process in processes]


# What is refused


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


def test_a_batch_that_cannot_be_shared(monkeypatch):
    three = Workers(devices=["/cpu:0", "/cpu:1", "/cpu:2"])
    three.check_batch(Config(batch_size=12))
    for size in (64, 3):
        with pytest.raises(UsageError, match=f"--batch_size: found {size}, expected a multiple of 3, the number of"):
            three.check_batch(Config(batch_size=size))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 2)
    with pytest.raises(UsageError, match="--batch_size: found 63, expected a multiple of 2, the number of devices"):
        Workers().check_batch(Config(batch_size=63))


def test_launch_refuses_what_train_refuses():
    for arguments, found in ((["--", "--lr_g", "x"], "--lr_g"), (["--workers", 0], "--workers"), (["--", "-x"], "-x")):
        result = run("launch", *arguments)
        assert result.code == 2 and found in result.err, result


@pytest.mark.parametrize(("code", "runs"), [(76, 3), (2, 1), (0, 1), (143, 1)])
def test_launch_starts_again_as_often_as_asked_after_a_loss_alone(code, runs, monkeypatch):
    ran = []
    monkeypatch.setattr(launching._Launcher, "run", lambda *arguments: ran.append(arguments) or code)
    result = run("launch", "--restarts", 2, "--", *SMALL)
    assert (result.code, len(ran)) == (code, runs) and result.out.count("starting again") == runs - 1


def test_each_worker_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    gpus = [share["environment"]["CUDA_VISIBLE_DEVICES"] for share in launching._shares(2)]
    assert gpus == ["3", "5"]
    result = run("launch", "--workers", 3, "--", *SMALL)
    assert result.code == 2 and "--workers: found 3, expected at most 2, the number of GPUs" in result.err, result


# Who is there


def test_who_does_not_come_is_named(tmp_path, monkeypatch):
    """One that answers nothing, one that greets, and one that is not there."""
    own, silent, greeting, absent = free_addresses(4)
    with contextlib.ExitStack() as stack:
        for address, answer in ((silent, None), (greeting, b"hello")):
            server = stack.enter_context(socket.create_server(split_address(address)))
            if answer:
                threading.Thread(target=greet, args=(server, answer), daemon=True).start()
        task = Task((own, silent, greeting, absent), 0)
        monkeypatch.setenv("TF_CONFIG", write_task(task))
        with pytest.raises(UsageError, match=r"TF_CONFIG: worker 1 \(.*\) did not come within 1 s") as error:
            Workers(task, join_seconds=1)
    assert "expected one process for each worker" in str(error.value)
    if sys.platform == "linux":  # its server, which the error still holds, hears what is for its own address alone
        _, port = split_address(own)
        socket.create_connection(("127.0.0.1", port), 2).close()
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.2", port), 0.3)


def greet(server, answer):
    """Send `answer` to whoever connects."""
    with contextlib.suppress(OSError):
        while True:
            server.accept()[0].sendall(answer)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a socket filter of Linux")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_server_is_deaf_at_other_addresses(family):
    with socket.socket(family) as server:
        server.bind(("", 0))  # all addresses, as TensorFlow's server does
        server.listen()
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.2", port), 2).close()
        listen_at("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port), 2).close()
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.2", port), 0.3)


# The same steps


def compare_steps(folder, settings, steps):
    """How far each step of the workers is from one process's step from the same weights, relative to the step."""
    config = Config(**settings)
    dataset = sources.load("digits", "")
    errors = []
    prefix = folder / "checkpoints" / "model-0"
    with open_training(Run(None, config, None), dataset) as training:

        def weights():
            return training.session.run(training.gan.d_variables + training.gan.g_variables)

        training.restore(prefix)
        after = weights()
        for step in range(steps):
            before = after
            training.step(next_batch(config, dataset, None, step))
            alone = weights()
            training.restore(prefix.with_name(f"model-{step + 1}"))
            after = weights()
            distance, moved = (
                np.sqrt(sum(np.sum(np.square(x - y, dtype=np.float64)) for x, y in zip(each, after, strict=True)))
                for each in (alone, before)
            )
            errors.append(distance / moved)
    return np.array(errors)


def test_devices_of_one_process_share_its_steps(monkeypatch):
    """Where nothing looks at the whole batch, the steps of two logical devices are one device's to rounding."""
    config = Config(model="mlp", precision="float32", batch_size=16)
    dataset = sources.load("digits", "")
    options, losses = frozen.session_options, {}
    monkeypatch.setattr(session, "session_options", lambda: with_two_devices(options()))
    for devices in (["/cpu:0"], ["/cpu:0", "/cpu:1"]):
        with open_training(Run(None, config, None), dataset, Workers(devices=devices)) as training:
            training.initialize()
            steps = [training.step(next_batch(config, dataset, None, step)) for step in range(20)]
            losses[len(devices)] = [metrics["d_loss"] for _, metrics in steps]
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)
    with pytest.raises(UsageError, match="--sync_batch_norm: found several devices"):
        Workers(devices=devices).check_batch(config.replace(sync_batch_norm=True))


def with_two_devices(options):
    options.device_count["CPU"] = 2
    return options


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "workers"), [("default", 4), ("reference", 2)])
def test_workers_take_the_steps_of_one_process(preset, workers, tmp_path):
    steps = 50
    settings = {**NARROW[preset], "batch_size": 16, "precision": "float32", "dataset": "digits"}
    flags = ["--checkpoint_every", 1, "--max_to_keep", 99, "--iterations", steps, "--sync_batch_norm"]
    for name, value in settings.items():
        flags += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else value]
    launch(tmp_path, workers, *flags)
    errors = compare_steps(tmp_path, settings, steps)
    # Rounding moves an input of a ReLU across zero now and then, and with it a whole summand of a gradient.
    assert np.median(errors) < 1e-5 and np.max(errors) < 0.1, errors


@pytest.mark.slow
def test_a_chief_that_records_for_long_is_not_lost(tmp_path):
    """Two workers in bfloat16, whose data lies elsewhere. The chief waits while the other reads it."""
    np.savez(tmp_path / "same.npz", images=sources.load("digits", "").images)
    flags = [*SMALL, "--iterations", 2, "--precision", "bfloat16", "--worker_timeout", 3]
    faults, extra = {0: "records for long", 1: "reads for long"}, ["--dataset", tmp_path / "same.npz"]
    outputs, codes = end_workers(tmp_path, two_tasks(), *flags, extra=extra, faults=faults)
    assert codes == [0, 0] and "committed 2" in outputs[0], outputs


@pytest.mark.slow
def test_a_variable_that_differs_is_named(tmp_path):
    tasks, flags = two_tasks(), [*SMALL, "--checkpoint_every", 1, "--iterations", 9]
    outputs, codes = end_workers(tmp_path, tasks, *flags, faults={1: "spoilt"})
    other = tasks[0].addresses[1]
    expected = f"error: discriminator/dense/bias differs between worker 0 and worker 1 ({other}); start all"
    assert all(expected in output for output in outputs) and codes == [76, 76], outputs
    assert not (tmp_path / "0" / "checkpoints" / "model-1.json").exists()


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


@pytest.mark.slow
def test_ctrl_c_stops_all_and_commits_once(tmp_path):
    process = start("launch", "--", *SMALL, "--iterations", 10**6, "--out_dir", tmp_path)
    with running([process]):
        lines = read_until(process, "[0] committed 20")
        pids = children(process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert any("[1] worker 1 of 2, at 127.0.0.1:" in line for line in lines)
    assert all(re.match(r"\[[01]\] ", line) for line in (*lines, *output.splitlines()))
    committed = re.findall(r"\[(\d)\] committed (\d+)", "".join(lines) + output)
    assert {worker for worker, _ in committed} == {"0"}
    steps = [int(step) for _, step in committed]
    assert steps == [*range(0, steps[-2] + 1, 20), steps[-1]] and "error" not in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert json.loads((tmp_path / "checkpoints" / f"model-{steps[-1]}.json").read_text())["machine"]["workers"] == 2


def gone(pids, seconds):
    """Whether all processes end within so many `seconds`."""
    end = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids):
        if time.monotonic() > end:
            return False
    return True


@pytest.mark.slow
def test_launch_ends_when_the_chief_hangs(tmp_path):
    process = start("launch", "--", *SMALL, "--iterations", 10**6, "--worker_timeout", 3, "--out_dir", tmp_path)
    with running([process]):
        read_until(process, "[0] committed 20")
        pids = children(process)
        os.kill(pids[0], signal.SIGSTOP)
        assert process.wait(timeout=60) == 76 and gone(pids, 5)
        assert re.search(r"\[1\] error: worker 0 \(.*\) does not answer: it hangs or is cut off", process.stdout.read())


ENDS = {  # of a launcher, and how it ends then
    "it is terminated": (lambda process: process.terminate(), 143),
    "it is killed": (lambda process: process.kill(), -signal.SIGKILL),
    "nobody reads": (lambda process: process.stdout.close(), 5),
}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and a parent's death signal")
@pytest.mark.parametrize("how", ENDS)
def test_workers_end_with_their_launcher_and_nothing_of_the_current_folder_is_run(how, tmp_path):
    (tmp_path / "numpy.py").write_text("open('it was run', 'w')")
    flags = [*SMALL, "--iterations", 10**6, "--out_dir", "run"]
    with (tmp_path / "stderr").open("w") as errors:
        process = start("launch", "--", *flags, program=("-P", ROOT / "run.py"), cwd=tmp_path, stderr=errors)
    with running([process]):
        while len(children(process)) < 2:
            time.sleep(0.01)
        pids = children(process)
        process.stdout.readline()  # a worker has come to its first line
        end, code = ENDS[how]
        end(process)
        assert process.wait(timeout=60) == code and gone(pids, 5)
        process.stdout = None
    told = "error: standard output: Broken pipe\n" if how == "nobody reads" else ""
    assert (tmp_path / "stderr").read_text() == told and not (tmp_path / "it was run").exists()


@pytest.mark.slow
def test_launch_goes_on_exactly_when_a_worker_was_killed(tmp_path):
    flags = [*SMALL, "--iterations", 60, "--worker_timeout", 600]  # the loss is told long before that
    launch(tmp_path / "whole", 2, *flags)
    process = start("launch", "--restarts", 1, "--", *flags, "--out_dir", tmp_path / "killed")
    with running([process]):
        read_until(process, "[0] committed 20")
        os.kill(children(process)[1], signal.SIGKILL)
        lines = read_until(process, "error: ")
        output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "error: worker 1 (127.0.0.1:" in lines[-1] and ") has ended; start all workers again" in lines[-1]
    again = output.partition("launch: starting again from the last commit")[2]
    assert "[0] resumed at step" in again and "note:" not in again, output
    assert weights(tmp_path / "killed", 60) == weights(tmp_path / "whole", 60)
    assert contents(tmp_path / "killed")["logs/metrics.csv"] == contents(tmp_path / "whole")["logs/metrics.csv"]
    result = run(*SMALL, "--iterations", 65, "--out_dir", tmp_path / "killed")
    note = "note: not as the checkpoint was written, so not bit for bit the same run: "
    assert result.code == 0 and "resumed at step 60" in result.out and note in result.out, result
    assert "workers 2 -> 1" in result.out


@pytest.mark.slow
def test_a_worker_that_is_lost_before_the_first_step_is_named_by_all(tmp_path):
    """It is the one that leads the groups of collectives. They hear of it long before the timeout."""
    tasks = [Task(each, i) for i, each in enumerate([free_addresses(3)] * 3)]
    outputs, codes = end_workers(tmp_path, tasks, *SMALL, "--worker_timeout", 600, faults={0: "doomed"})
    assert codes == [-signal.SIGKILL, 76, 76], outputs
    assert all(f"worker 0 ({tasks[0].addresses[0]}) has ended" in output for output in outputs[1:]), outputs


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
    flags = [*SMALL, "--iterations", 10**6, "--worker_timeout", 5]
    processes = []
    for worker, name in enumerate(names):
        host = {"prefix": ("ip", "netns", "exec", name), "TF_CONFIG": write_task(Task(addresses, worker))}
        processes.append(start(*flags, "--out_dir", tmp_path / str(worker), **host))
    with running(processes):
        read_until(processes[0], "committed 20")
        cut()
        at = time.monotonic()
        for process, other in zip(processes, (1, 0), strict=True):
            error = read_until(process, "error: ")[-1]
            assert f"error: worker {other} ({addresses[other]}) does not answer: it hangs or is cut off" in error
            assert time.monotonic() - at < 15
        assert [process.wait(timeout=20) for process in processes] == [76, 76]


# Agreement


DIFFERENCES = {
    "flags": (["--lr_g", 0.1], {}, "--lr_g: found 0.1 on worker 1"),
    "data": (["--dataset", "OTHER"], {}, "--dataset: found "),
    "program": ([], {1: "changed"}, "the program's code: found "),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DIFFERENCES)
def test_other_flags_or_data_stop_every_worker(what, tmp_path):
    np.savez(tmp_path / "other.npz", images=sources.load("digits", "").images[::-1])
    extra, faults, expected = DIFFERENCES[what]
    extra = [tmp_path / "other.npz" if word == "OTHER" else word for word in extra]
    outputs, codes = end_workers(tmp_path, two_tasks(), *SMALL, "--iterations", 20, extra=extra, faults=faults)
    assert codes == [2, 2], outputs
    for output in outputs:
        (error,) = (line for line in output.splitlines() if line.startswith("error:"))
        assert expected in error and "committed" not in output, outputs


@pytest.mark.slow
def test_lists_that_contradict_each_other_stop_every_worker(tmp_path):
    first, second, third = free_addresses(3)
    tasks = [Task((first, second, third), 0), Task((first, second), 1), Task((first, second, third), 2)]
    outputs, codes = end_workers(tmp_path, tasks, *SMALL, "--iterations", 20)
    assert codes == [2, 2, 2] and all(output.count("error: ") == 1 for output in outputs), outputs
