"""The run directory: a checkpoint is a commit. One process writes; restore trusts hashes alone.

A commit of step N is three files: `model-N.data-00000-of-00001` and `model-N.index` (TensorFlow's Saver format)
and `model-N.json`, the manifest, renamed into place last. A checkpoint exists when its manifest does and every
hash in it holds.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from dcgan_tf1.config import Config
from dcgan_tf1.errors import BusyError, CheckpointError, OutputError, UsageError, VersionError
from dcgan_tf1.files import make_folder, write_whole

FORMAT = 1
_LARGEST_MANIFEST = 1 << 20
_MODEL_FILE = re.compile(r"model-(\d{1,12})\.(data-00000-of-00001|index|json)")
_SETTINGS = ("OMP_", "OPENBLAS_", "MKL_", "ONEDNN_", "DNNL_", "XLA_", "TF_ENABLE_", "TF_NUM_", "TF_XLA_", "TF_CUDNN_")
"""Environment variables that choose kernels and threads, and with them the last bits of a sum."""
_SUFFIXES = ("data-00000-of-00001", "index")


class Checkpoint(NamedTuple):
    """A commit whose hashes hold."""

    step: int
    prefix: Path
    """What `Saver.restore` takes."""
    config: Config
    dataset: dict[str, Any]
    """`name` and `digest` of the data trained on."""
    machine: dict[str, Any]
    """What exact resume rests on: versions, CPU, threads."""


def lock(folder: Path) -> IO[str]:
    """Take the run for this process, until the file returned is closed or the process ends.

    Raises:
        BusyError: another process holds it.
        OutputError: the folder cannot be written.
    """
    try:
        file = (make_folder(folder) / ".lock").open("a+")
    except OSError as error:
        raise OutputError(f"{folder / '.lock'}: {error.strerror}; expected a file that can be written") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(20).strip() or "unknown"
        raise BusyError(f"{folder}: held by process {holder}; wait for it, or use another --out_dir") from error
    try:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except OSError:
        pass  # the pid is a courtesy: on a full disk the lock holds without it
    return file


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest good checkpoint of the run in `folder`, or None where there is no run yet.

    Each damaged one that is passed over is told to `warn`, once. One of another version is not passed over: a commit
    of an older step would remove it.

    Raises:
        CheckpointError: there is a run, but no good checkpoint of it.
        VersionError: the newest that is not damaged is of another version.
    """
    steps = _steps(folder)
    problem = None
    for step in steps:
        try:
            return load(folder, step)
        except VersionError:
            raise
        except CheckpointError as error:
            problem = problem or error
            warn(f"{error}; trying the one before it")
    # A first commit that was cut short leaves files of step 0 alone: nothing is lost by starting again.
    if any(step > 0 for step in steps):
        raise CheckpointError(f"{folder}: no good checkpoint left; restore its files or use --out_dir ({problem})")
    return None


def load(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of `step`, verified.

    Raises:
        CheckpointError: it is missing or damaged.
        VersionError: it is whole, of a format or with a setting that this version does not know.
    """
    path = folder / f"model-{step}.json"
    try:
        with _open(path) as file:
            manifest = json.loads(file.read(_LARGEST_MANIFEST))
        sealed = manifest.pop("sha256")
        if sealed != _seal(manifest):
            raise ValueError("its own sha256 does not hold")
        if manifest["format"] != FORMAT:
            raise UsageError(f"format {manifest['format']!r}, expected {FORMAT}")
        if manifest["step"] != step:
            raise ValueError(f"step {manifest['step']!r}")
        for suffix in _SUFFIXES:
            name = f"model-{step}.{suffix}"
            recorded = manifest["files"][name]
            found = {"bytes": (folder / name).stat().st_size}
            if found["bytes"] == recorded["bytes"]:  # or else it need not be read, however large it is
                found = _describe(folder / name)
            if found != recorded:
                kind = "bytes" if found["bytes"] != recorded["bytes"] else "sha256"
                raise ValueError(f"{name} has {kind} {found[kind]}, expected {recorded[kind]}"[:120])
        config, dataset, machine = Config.from_json(manifest["config"]), manifest["dataset"], manifest["machine"]
        if not isinstance(machine, dict) or not all(isinstance(dataset[key], str) for key in ("name", "digest")):
            raise ValueError("dataset or machine is no record")
        return Checkpoint(step, folder / f"model-{step}", config, dataset, machine)
    except OSError as error:
        raise CheckpointError(f"{error.filename or path}: {error.strerror}") from error
    except UsageError as error:
        raise VersionError(f"{path}: of another version ({error!s:.70}); use that or another --out_dir") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({error!s:.100})") from error


def commit(
    folder: Path,
    step: int,
    save: Callable[[str], object],
    config: Config,
    dataset: dict[str, Any],
    machine: dict[str, Any],
) -> None:
    """Make `step` the newest checkpoint: all of it, or none of it. `save(prefix)` writes the Saver's two files.

    Raises:
        OutputError: it cannot be written; the checkpoints before it are intact and nothing is left behind.
    """
    name = f"model-{step}"
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(prefix=".commit-", dir=folder))
        save(str(temporary / name))
        files = {}
        for suffix in _SUFFIXES:
            path = temporary / f"{name}.{suffix}"
            _sync(path)
            files[path.name] = _describe(path)
        for file in files:
            (temporary / file).replace(folder / file)
        manifest = {
            "format": FORMAT,
            "step": step,
            "files": files,
            "config": config.to_json(),
            "dataset": dataset,
            "machine": machine,
        }
        manifest["sha256"] = _seal(manifest)
        text = json.dumps(manifest, indent=1).encode()
        write_whole(folder / f"{name}.json", lambda file: file.write(text))  # and syncs the folder
        load(folder, step)
        state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'.encode()
        write_whole(folder / "checkpoint", lambda file: file.write(state))
        for later in _steps(folder):
            if later > step:  # damaged: restore passed it over, and it must not count as one of those to keep
                _remove(folder, later)
        rotate(folder, config.max_to_keep)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error} while committing step {step}") from error
    except Exception as error:  # the Saver's, whose types are TensorFlow's
        reason = str(error).partition("\n")[0]
        raise OutputError(f"{folder}: cannot commit step {step}: {reason}") from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
        if not (folder / f"{name}.json").exists():
            with contextlib.suppress(OSError):
                _remove(folder, step)


def rotate(folder: Path, keep: int) -> None:
    """Remove all files of steps older than the newest `keep` that have a manifest, manifests first."""
    complete = [step for step in _steps(folder) if (folder / f"model-{step}.json").exists()]
    for step in _steps(folder):
        if len(complete) > keep and step < complete[keep - 1]:
            _remove(folder, step)


def clean(folder: Path) -> None:
    """Remove the temporary files of a process that was killed from a folder of the run. For the lock's holder alone."""
    for path in folder.glob(".commit-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".*.[0-9]*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def machine_record() -> dict[str, Any]:
    """What bit-exact resume rests on, for the manifest."""
    import numpy
    import tensorflow

    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "tensorflow": tensorflow.__version__,
        "numpy": numpy.__version__,
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_SETTINGS)},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


def _steps(folder: Path) -> list[int]:
    """Steps that have any file in `folder`, newest first."""
    matches = (_MODEL_FILE.fullmatch(name) for name in os.listdir(folder))
    return sorted({int(match[1]) for match in matches if match}, reverse=True)


def _remove(folder: Path, step: int) -> None:
    """Remove all files of `step`, the manifest first."""
    for suffix in ("json", *_SUFFIXES):
        (folder / f"model-{step}.{suffix}").unlink(missing_ok=True)


def _open(path: Path) -> IO[bytes]:
    if path.exists() and not path.is_file():  # to open a pipe is to wait for its writer
        raise ValueError(f"{path.name} is no regular file")
    return path.open("rb")


def _describe(path: Path) -> dict[str, Any]:
    with _open(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
