"""The checkpoints of a run. Each is a commit: all of it is there, or nothing.

A commit of step N is three files: `model-N.data-00000-of-00001` and `model-N.index`, in the format of TensorFlow's
Saver, and `model-N.json`, the manifest, which is renamed into place last. A checkpoint exists when its manifest does
and every hash in it holds. One process writes at a time, and restoring trusts the hashes alone. Nothing here needs
TensorFlow.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from dcgan_tf1.config import Config
from dcgan_tf1.data.sources import check_dataset_record
from dcgan_tf1.errors import BusyError, CheckpointError, OutputError, UsageError, VersionError, reason
from dcgan_tf1.files import clean as clean_temporaries
from dcgan_tf1.files import make_folder, sync, write_whole
from dcgan_tf1.machine import cpu_model, usable_cores

FORMAT = 2  # since 2 a variable is the weight itself; before that it was a share of it
_MAX_MANIFEST_BYTES = 1 << 20
_MODEL_FILE = re.compile(r"model-(\d{1,12})\.(data-00000-of-00001|index|json)")
_SAVER_SUFFIXES = ("data-00000-of-00001", "index")
_LIBRARIES = ("OMP_", "OPENBLAS_", "MKL_", "ONEDNN_", "DNNL_")
KERNEL_SETTINGS = (*_LIBRARIES, "XLA_", "TF_ENABLE_", "TF_NUM_", "TF_XLA_", "TF_CUDNN_")
"""Prefixes of the environment variables that choose kernels and threads, and with them the last bits of a sum."""


class Checkpoint(NamedTuple):
    """A checkpoint whose hashes hold."""

    step: int
    prefix: Path  # the path of its files without their suffixes, as `Saver.restore` takes it
    config: Config
    dataset: dict[str, Any]  # what it was trained on, as `sources.Dataset.record` describes it
    machine: dict[str, Any]  # the machine that wrote it, as `machine_record` describes it


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the run in `folder` for this process until the block ends. The end of the process, too, ends the hold.

    Raises:
        BusyError: another process holds the run.
        OutputError: the folder cannot be written.
    """
    path = make_folder(folder) / ".lock"
    holder = folder / ".holder"  # its process id has a file of its own, as a locked file cannot be read on Windows
    if path.is_symlink() or path.is_file() and path.stat().st_nlink > 1 and path.stat().st_size:  # it would be emptied
        raise OutputError(f"{path}: found a link, expected a file that can be locked")
    held = FileLock(path, timeout=0)
    try:
        held.acquire()
    except Timeout as error:
        known = _read_holder(holder)
        raise BusyError(f"{folder}: held by process {known}; wait for it, or use another --out_dir") from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{path}: {reason(error)}; expected a file that can be written and locked") from error
    try:
        with contextlib.suppress(OutputError):  # the process id is a courtesy: on a full disk the lock holds without it
            write_whole(holder, f"{os.getpid()}\n".encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
            if os.listdir(folder) == [path.name]:  # nothing was begun
                path.unlink()
        held.release()


def _read_holder(path: Path) -> str:
    """The process id in `path`, or `unknown`."""
    with contextlib.suppress(OSError, ValueError), _open(path) as file:
        text = file.read(20).decode(errors="replace").strip()
        if text.isdecimal():
            return text
    return "unknown"


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest good checkpoint of the run in `folder`, or None where there is no run yet.

    Damaged checkpoints are passed over, and `warn` is told of each. A checkpoint of another version is not passed over,
    since the commit of an older step would remove it.

    Raises:
        CheckpointError: there is a run, but none of its checkpoints is good.
        VersionError: the newest checkpoint that is not damaged is of another version.
    """
    found = steps(folder)
    problem = None
    for step in found:
        try:
            return load(folder, step)
        except VersionError:
            raise
        except CheckpointError as error:
            problem = problem or error
            warn(f"{error}; {'starting again' if found == [0] else 'trying the one before it'}")
    # A first commit that was cut short leaves files of step 0 alone: nothing is lost by starting again.
    if any(step > 0 for step in found):
        raise CheckpointError(f"{folder}: no good checkpoint left; restore its files or use --out_dir ({problem})")
    return None


def load(folder: Path, step: int) -> Checkpoint:
    """The verified checkpoint of `step`.

    Raises CheckpointError if it is missing or damaged, and VersionError if it is whole, but has a format or a setting
    that this version does not know.
    """
    path = folder / f"model-{step}.json"
    try:
        with _open(path) as file:
            manifest = json.loads(file.read(_MAX_MANIFEST_BYTES))
        sealed = manifest.pop("sha256")
        if sealed != _seal(manifest):
            raise ValueError("its own sha256 does not hold")
        if manifest["format"] != FORMAT:
            raise UsageError(f"format {manifest['format']!r}, expected {FORMAT}")
        if manifest["step"] != step:
            raise ValueError(f"step {manifest['step']!r}")
        for suffix in _SAVER_SUFFIXES:
            name = f"model-{step}.{suffix}"
            found, recorded = {"bytes": (folder / name).stat().st_size}, manifest["files"][name]
            if found["bytes"] == recorded["bytes"]:  # otherwise it need not be read, however large it is
                found = _describe(folder / name)
            if found != recorded:
                kind = "bytes" if found["bytes"] != recorded["bytes"] else "sha256"
                raise ValueError(f"{name} has {kind} {found[kind]!s:.16}, expected {recorded[kind]!s:.16}")
        config, dataset, machine = Config.from_json(manifest["config"]), manifest["dataset"], manifest["machine"]
        if not isinstance(machine, dict):
            raise ValueError("machine is no record")
        check_dataset_record(dataset, config.conditional)
        return Checkpoint(step, folder / f"model-{step}", config, dataset, machine)
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: {error.strerror}") from error
    except UsageError as error:
        raise VersionError(f"{path}: of another version ({error!s:.70}); use that or another --out_dir") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({reason(error):.100})") from error


def commit(
    folder: Path,
    step: int,
    save: Callable[[str], object],
    config: Config,
    dataset: dict[str, Any],
    machine: dict[str, Any],
) -> None:
    """Make `step` the newest checkpoint, wholly or not at all. `save` writes the Saver's two files to a prefix.

    Raises OutputError if it cannot be written. The checkpoints before it are intact then, and nothing is left behind.
    """
    name = f"model-{step}"
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".commit-", dir=folder))
        save(str(temporary / name))
        files = {}
        for suffix in _SAVER_SUFFIXES:
            path = temporary / f"{name}.{suffix}"
            sync(path)
            files[path.name] = _describe(path)
        for file in files:
            (temporary / file).replace(folder / file)
        manifest = {"format": FORMAT, "step": step, "files": files, "config": config.to_json()}
        manifest |= {"dataset": dataset, "machine": machine}
        manifest["sha256"] = _seal(manifest)
        write_whole(folder / f"{name}.json", json.dumps(manifest, indent=1).encode())  # and syncs the folder
        load(folder, step)
        state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'.encode()
        write_whole(folder / "checkpoint", state)
        for later in steps(folder):
            if later > step:  # it is damaged, since restoring passed it over
                with contextlib.suppress(OSError):
                    _remove(folder, later)
        rotate(folder, step, config.max_to_keep)
    except Exception as error:  # the Saver raises types of TensorFlow's
        raise OutputError(f"{folder}: cannot commit step {step}: {reason(error)}") from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        if not (folder / f"{name}.json").exists():
            with contextlib.suppress(OSError):
                _remove(folder, step)


def rotate(folder: Path, newest: int, keep: int) -> None:
    """Where more than `keep` steps up to `newest` have a manifest, remove all files that are older than these `keep`.

    On Windows, files that another process reads cannot be removed. They stay until the next rotation.
    """
    known = [step for step in steps(folder) if step <= newest]
    complete = [step for step in known if (folder / f"model-{step}.json").exists()]
    for step in known:
        if len(complete) > keep and step < complete[keep - 1]:
            with contextlib.suppress(OSError):
                _remove(folder, step)


def clean(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder of the run. Only the lock's holder may call it."""
    for path in folder.glob(".commit-*"):
        shutil.rmtree(path, ignore_errors=True)
    clean_temporaries(folder)


def machine_record() -> dict[str, Any]:
    """What a bit-exact resume depends on: versions, processor, cores, and settings of the environment."""
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "numpy": importlib.metadata.version("numpy"),
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(KERNEL_SETTINGS)},
    }


def steps(folder: Path) -> list[int]:
    """The steps that have any file in `folder`, newest first."""
    matches = (_MODEL_FILE.fullmatch(name) for name in os.listdir(folder))
    return sorted({int(match[1]) for match in matches if match}, reverse=True)


def step_of(path: Path) -> int | None:
    """The step of a checkpoint of which `path` is a file, or the prefix of its files; None: it is none by its name."""
    match = _MODEL_FILE.fullmatch(path.name) or _MODEL_FILE.fullmatch(f"{path.name}.json")
    return int(match[1]) if match else None


def _remove(folder: Path, step: int) -> None:
    """Remove all files of `step`. The manifest goes first: without it, the others are no checkpoint."""
    for suffix in ("json", *_SAVER_SUFFIXES):
        (folder / f"model-{step}.{suffix}").unlink(missing_ok=True)


def _open(path: Path) -> BufferedReader:
    """Open a regular file to read. Others are refused, since opening a pipe would wait for its writer."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path.name} is no regular file")
    return path.open("rb")


def _describe(path: Path) -> dict[str, Any]:
    """The size and the sha256 of a file, as the manifest has them."""
    with _open(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _seal(manifest: dict[str, Any]) -> str:
    """The sha256 of a manifest without its own."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
