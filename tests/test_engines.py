"""The program in any thread, and under Slurm and Ray Train, by the scripts of docs/engines.md, on a host of its own."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import ROOT, TINY, environment, run

FLAGS = [*TINY, "--sample_every", "1000", "--checkpoint_every", "20"]
SLURM = r"""
set -e
mount -t tmpfs tmpfs /run
mkdir /run/netns state
printf '127.0.0.1 localhost\n10.77.0.1 n1\n10.77.0.2 n2\n' > hosts
mount --bind hosts /etc/hosts
(umask 077; head -c 128 /dev/urandom > munge.key)
cat > slurm.conf <<END
ClusterName=test
SlurmctldHost=n1
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
StateSaveLocation=$PWD/state
SlurmdSpoolDir=$PWD/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/%n.pid
SlurmctldLogFile=$PWD/slurmctld.log
SlurmdLogFile=$PWD/%n.log
NodeName=n[1-2] CPUs=1
PartitionName=all Nodes=ALL Default=YES
END
ip netns add n2
ip link add cable type veth peer name cable netns n2
ip addr add 10.77.0.1/24 dev cable
ip link set cable up
ip -n n2 addr add 10.77.0.2/24 dev cable
ip -n n2 link set cable up
hostname n1
munged --key-file=munge.key --socket=/run/munge --pid-file=/run/munged.pid --seed-file=munge.seed --log-file=munge.log
slurmctld
slurmd -N n1
nsenter --net=/run/netns/n2 unshare --uts sh -c 'hostname n2; exec slurmd -N n2'
"""
"""Starts a cluster of two nodes, n1 and n2, in the working directory. Each has a network and a name of its own."""
RAY = {
    "RAY_AUTH_MODE": "disabled",  # otherwise a token is written to the home folder
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # by default 60, which a busy machine may take
}


class Host:
    """A host whose processes, network, name and mounts are its own, on the disk of this machine."""

    def __init__(self, first: int) -> None:
        """The host whose first process is `first`. It ends with it."""
        self._first = first

    def start(self, *command, **options):
        """A process on this host."""
        enter = ["nsenter", f"--target={self._first}", "--all", f"--wd={options['cwd']}", "--", *map(str, command)]
        return subprocess.Popen(enter, **{"stdout": subprocess.PIPE, **options}, stderr=subprocess.STDOUT, text=True)

    def run(self, *command, **options):
        """What a command prints, which must end well."""
        process = self.start(*command, **options)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    def processes(self, title=""):
        """Numbers of the processes whose command line begins with `title`."""
        found, own = [], os.readlink(f"/proc/{self._first}/ns/pid")
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # those that end meanwhile
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if os.readlink(folder / "ns" / "pid") == own and line.startswith(title):
                    found.append(int(folder.name))
        return found


@pytest.fixture
def host():
    """A host that ends with the test, and everything that runs on it."""
    if missing := [name for name in ("unshare", "nsenter", "ip") if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)}")
    namespaces = ["unshare", "--pid", "--mount-proc", "--net", "--uts", "--fork", "--kill-child"]
    begin = "ip link set lo up && ip addr add 10.77.0.3/32 dev lo && ip route add default dev lo src 10.77.0.3"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*namespaces, "sh", "-c", f"{begin} && echo ready && cat; true"], **pipes) as process:
        answer = process.stdout.readline()
        if answer != "ready\n":
            pytest.skip(f"needs root and namespaces: {answer}")
        yield Host(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()))
        process.kill()


def wait_until(condition, what):
    """Wait until `condition()` holds, and return its value."""
    end = time.monotonic() + 600
    while not (value := condition()):
        assert time.monotonic() < end, what()
        time.sleep(0.1)
    return value


def script(language):
    """The script of docs/engines.md in `language`."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / "engines.md").read_text(), re.M | re.S)
    return text


def run_in_a_thread(*arguments):
    """`conftest.run` in a thread that is not the main one."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(run, *arguments).result()
    assert (result.code, result.err) == (0, ""), result
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    return result.out


def test_any_thread_can_train_and_generate(tmp_path):
    assert "committed 2" in run_in_a_thread(*TINY, "--iterations", 2, "--out_dir", tmp_path)
    run_in_a_thread("generate", "--out_dir", tmp_path, "--num_digits", 1, "--out", tmp_path / "digits")


@pytest.mark.slow
def test_any_thread_can_launch(tmp_path):
    assert "[0] committed 2" in run_in_a_thread("launch", "--", *TINY, "--iterations", 2, "--out_dir", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes long to start so many processes
def test_slurm(host, tmp_path):
    """After a worker was killed the job goes on to its end, and a job that is cancelled leaves no process."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name, path=path)]:
        pytest.skip(f"needs {', '.join(missing)}")
    place = {"cwd": tmp_path, "env": {**environment(), "PATH": path, "SLURM_CONF": str(tmp_path / "slurm.conf")}}
    host.run("bash", "-c", SLURM, **place)
    daemons = set(host.processes())
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "run.py").symlink_to(ROOT / "run.py")
    (tmp_path / "train.sh").write_text(script("bash"))

    def submit(iterations):
        host.run("sbatch", "--nodes=2", "--output=%j.txt", "train.sh", *FLAGS, "--iterations", iterations, **place)

    def workers():
        """Numbers of both workers' processes, when they are there."""
        found = host.processes(".venv/bin/python run.py")
        return found if len(found) == 2 else None

    def listing():
        return host.run("ps", "-ef", **place)

    def wait_for_state(job, state):
        output, show = tmp_path / f"{job}.txt", ("scontrol", "show", "job", job)
        wait_until(lambda: f"JobState={state} " in host.run(*show, **place), output.read_text)
        wait_until(lambda: set(host.processes()) <= daemons, listing)
        return output.read_text()

    submit(200)
    commits = tmp_path / "runs" / "cluster" / "checkpoints"
    wait_until((commits / "model-20.json").exists, (tmp_path / "1.txt").read_text)
    os.kill(wait_until(workers, listing)[0], signal.SIGKILL)
    output = wait_for_state(1, "COMPLETED")
    assert ": Killed\n" in output and "\nresumed at step " in output and (commits / "model-200.json").exists(), output
    submit(10**6)
    wait_until(workers, listing)
    host.run("scancel", 2, **place)
    wait_for_state(2, "CANCELLED")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes long to start so many processes
def test_ray(host, tmp_path):
    """A killed worker is started again, the run goes on to its end, and no process is left."""
    pytest.importorskip("ray.train", reason="needs ray[train]")
    (tmp_path / "train_on_ray.py").write_text(script("python"))
    first, log = host.processes(), tmp_path / "driver.txt"
    with tempfile.TemporaryDirectory(prefix="ray") as short, log.open("w") as output:  # sockets have short paths
        place = {"cwd": tmp_path, "env": {**environment(), **RAY, "RAY_TMPDIR": short}, "stdout": output}
        driver = host.start(sys.executable, "train_on_ray.py", *FLAGS, "--iterations", "200", **place)
        commits = tmp_path / "runs" / "cluster" / "checkpoints"
        wait_until(lambda: (commits / "model-20.json").exists() or driver.poll() is not None, log.read_text)
        workers = host.processes("ray::RayTrainWorker")
        assert len(workers) == 2, log.read_text()
        os.kill(workers[0], signal.SIGKILL)
        assert driver.wait(timeout=300) == 0, log.read_text()
        printed = "".join(path.read_text() for path in Path(short).glob("ray/session_2*/logs/worker-*.out"))
    assert "\nresumed at step " in printed and (commits / "model-200.json").exists(), printed
    wait_until(lambda: host.processes() == first, lambda: host.run("ps", "-ef", cwd=tmp_path))
