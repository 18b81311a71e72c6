"""TF_CONFIG, TensorFlow's own way to tell a process which cluster it is part of.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 1}}'

A `chief`, where there is one, is worker 0, and those of `worker` follow it. Nothing here needs TensorFlow.
"""

import json
import os
import re
from typing import Any, NamedTuple

from dcgan_tf1.errors import UsageError

_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


class Task(NamedTuple):
    """The place of this process in a cluster."""

    addresses: tuple[str, ...]
    """HOST:PORT of every worker; the chief is the first."""
    worker: int
    """The number of this worker."""


def read_task() -> Task | None:
    """What TF_CONFIG says, or None where it is not set or names this process alone.

    Raises:
        UsageError: it contradicts itself, or has something that this program does not know.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], task["index"]
        assert isinstance(jobs, dict) and isinstance(kind, str)
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        raise _error(f"found {text[:60]!r}", _EXAMPLE) from None
    for job, addresses in jobs.items():
        if job not in ("chief", "worker"):
            raise _error(f"found a job {job!r:.60}", "chief and worker alone")
        if not isinstance(addresses, list) or not addresses or not all(map(_is_address, addresses)):
            raise _error(f"found {addresses!r:.60} for {job}", 'a list of "HOST:PORT"')
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1:
        raise _error(f"found {len(chiefs)} chiefs", "one at most")
    if kind not in jobs:
        raise _error(f"found a task of type {kind!r:.60}", f"one of {', '.join(jobs)}, which the cluster has")
    if type(index) is not int or not 0 <= index < len(jobs[kind]):
        raise _error(f"found {kind} {index!r:.60}", f"an index from 0 to {len(jobs[kind]) - 1}")
    every = (*chiefs, *workers)
    for address in every:
        if every.count(address) > 1:
            raise _error(f"found {address} twice", "an address of its own for each worker")
    return Task(every, index + (len(chiefs) if kind == "worker" else 0)) if len(every) > 1 else None


def write_task(task: Task) -> str:
    """The text of TF_CONFIG that `read_task` makes `task` of."""
    return json.dumps(
        {"cluster": {"worker": list(task.addresses)}, "task": {"type": "worker", "index": task.worker}},
    )


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_address(value: Any) -> bool:
    match = (
        re.fullmatch(r"[^\s:\[\]/]+:(\d{1,5})|\[[0-9a-fA-F:.]+\]:(\d{1,5})", value) if isinstance(value, str) else None
    )
    return bool(match) and 1 <= int(match[1] or match[2]) <= 65535  # type: ignore[index]


def _error(found: str, expected: str) -> UsageError:
    return UsageError(f"TF_CONFIG: {found}, expected {expected}")
