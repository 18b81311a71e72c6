"""`run.py launch`: several workers on this machine, started and stopped together."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click

from dcgan_tf1.commands.options import integer, option
from dcgan_tf1.errors import SIGNAL_BASE, ClusterError, UsageError
from dcgan_tf1.tf_config import Task, write_task
from dcgan_tf1.training.stopping import Signals

_GRACE = 4.0  # seconds that the workers have to end by themselves after one of them has failed; then they are told to
_LAST_GRACE = 8.0  # seconds after that failure those that still run are killed


@click.command(context_settings={"ignore_unknown_options": True})
@option("--workers", integer(1, 256), "how many workers share each batch", default=2)
@option("--restarts", integer(0, 10**6), "how many times to start again after the loss of a worker", default=0)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED, metavar="-- [flags of train]")
def launch(workers: int, restarts: int, flags: tuple[str, ...]) -> int:
    """Train with several workers on this machine."""
    from dcgan_tf1.commands.train import read_config

    read_config(flags)  # a wrong flag is told once
    settings = _shares(workers)
    with _Launcher() as launcher:
        while True:
            code = launcher.run(flags, settings)
            if code != ClusterError.exit_code or restarts == 0 or launcher.signals.number:
                return code
            restarts -= 1
            print("launch: starting again from the last commit", flush=True)


class _Launcher:
    """Starts workers, prints their lines, and passes on the signals that it gets itself."""

    def __init__(self) -> None:
        self.signals = Signals(self._signal)
        self._processes: list[subprocess.Popen] = []
        self._unheard: OSError | None = None  # why what is printed reaches nobody

    def __enter__(self) -> "_Launcher":
        self.signals.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._kill()
        self.signals.__exit__()

    def run(self, flags: tuple[str, ...], settings: list[dict[str, Any]]) -> int:
        """Run a worker for each of `settings` until all have ended.

        Returns the exit code of the one that failed first, or 0. For a signal that ended it that is the signal's, if it
        was passed on, and ClusterError's otherwise. Raises OSError: nobody reads what is printed, so all have ended.
        """
        addresses = free_addresses(len(settings))
        self._processes = [_start(Task(addresses, index), flags, setting) for index, setting in enumerate(settings)]
        enumerated = enumerate(self._processes)
        threads = [threading.Thread(target=self._print_lines, args=each, daemon=True) for each in enumerated]
        for thread in threads:
            thread.start()
        failed_at, failed, told = 0.0, 0, False
        while None in (ended := [process.poll() for process in self._processes]):  # of all: the first may be stopped
            codes = list(filter(None, ended))
            if (codes or self._unheard) and not failed_at:
                failed_at, failed = time.monotonic(), next(iter(codes), 0)
            since = time.monotonic() - failed_at if failed_at else 0.0
            if since > _LAST_GRACE:
                self._kill()
            elif (self._unheard or since > _GRACE) and not told:
                self._signal(signal.SIGTERM)
                told = True
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        if self._unheard:
            raise self._unheard
        code = failed or next((process.returncode for process in self._processes if process.returncode), 0)
        if code < 0 or code == ClusterError.exit_code:  # of a signal to all, one may see another go
            return SIGNAL_BASE + self.signals.number if self.signals.number else ClusterError.exit_code
        return code

    def _print_lines(self, index: int, process: subprocess.Popen) -> None:
        for line in process.stdout or ():  # to the end, or the worker would wait for a reader
            try:
                sys.stdout.write(f"[{index}] {line.decode(errors='backslashreplace').rstrip()}\n")
                sys.stdout.flush()
            except OSError as error:
                self._unheard = error

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _signal(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def _start(task: Task, flags: tuple[str, ...], setting: dict[str, Any]) -> subprocess.Popen:
    """A worker in a session of its own, so that a Ctrl-C at the terminal reaches it through the launcher alone."""
    command = [sys.executable, "-u", "-P", "-m", "dcgan_tf1", "train", *flags]  # -P: nothing of the current folder
    environment = {**os.environ, "TF_CONFIG": write_task(task), **setting["environment"]}
    package = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    if setting["cores"] and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process.pid, setting["cores"])
    return process


def _end_with_parent() -> None:
    """Let the system kill this process when its parent has ended, however that was (`man 2 prctl`)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _shares(workers: int) -> list[dict[str, Any]]:
    """What each worker has for itself: its GPU, and an equal share of the cores where there are enough of them."""
    gpus = _gpus()
    if gpus and workers > len(gpus):
        fault = f"--workers: found {workers}, expected at most {len(gpus)}, the number of GPUs"
        raise UsageError(f"{fault}; with CUDA_VISIBLE_DEVICES= they train on the CPU")
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    share = len(cores) // workers
    own_gpus = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * workers
    return [{"environment": own_gpus[i], "cores": set(cores[i * share :][:share])} for i in range(workers)]


def _gpus() -> list[str]:
    """The GPUs that CUDA would show to a program here."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(folder.iterdir())))] if folder.is_dir() else []


def free_addresses(count: int) -> tuple[str, ...]:
    """Addresses of this machine with ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
