"""TF_CONFIG, TensorFlow's own way to tell a process which cluster it is part of.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 1}}'

A `chief`, where there is one, is worker 0, and those of `worker` follow it. Nothing here needs TensorFlow.
"""

import ipaddress
import json
import os
import re
import reprlib
from typing import Any, NamedTuple

from dcgan_tf1.errors import UsageError

_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
_ADDRESS = re.compile(r"(?:\[([^%\[\]]+)\]|([^:\[\]]+)):([1-9][0-9]{0,4})")
_LABEL = re.compile("[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class Task(NamedTuple):
    """The place of this process in a cluster."""

    addresses: tuple[str, ...]  # HOST:PORT of every worker; the chief is the first
    worker: int  # the number of this worker


def read_task() -> Task | None:
    """What TF_CONFIG says, or None where it is not set or names this process alone.

    Raises UsageError if it contradicts itself, or has something that this program does not know.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    match config:
        case {"cluster": dict(jobs), "task": {"type": str(kind), "index": index}} if jobs:
            pass
        case _:
            raise _error(f"found {text[:60]!r}", _EXAMPLE)
    for job, addresses in jobs.items():
        if job not in ("chief", "worker"):
            raise _error(f"found a job {reprlib.repr(job)}", "chief and worker alone")
        if not isinstance(addresses, list) or not addresses:
            raise _error(f"found {reprlib.repr(addresses)} for {job}", 'a list of "HOST:PORT"')
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if len(chiefs) > 1:
        raise _error(f"found {len(chiefs)} chiefs", "one at most")
    if kind not in jobs:
        raise _error(f"found a task of type {reprlib.repr(kind)}", f"one of {', '.join(jobs)}, which the cluster has")
    if type(index) is not int or not 0 <= index < len(jobs[kind]):
        raise _error(f"found {kind} {reprlib.repr(index)}", f"an index from 0 to {len(jobs[kind]) - 1}")
    spellings: dict[tuple[str, int], str] = {}
    for address in (*chiefs, *workers):
        endpoint = _endpoint(address)
        if endpoint in spellings:
            raise _error(f"found {spellings[endpoint]} and {address}", "an address of its own for each worker")
        spellings[endpoint] = address
    every = tuple(spellings.values())
    return Task(every, index + (len(chiefs) if kind == "worker" else 0)) if len(every) > 1 else None


def write_task(task: Task) -> str:
    """The text of TF_CONFIG that `read_task` makes `task` of."""
    return json.dumps({"cluster": {"worker": task.addresses}, "task": {"type": "worker", "index": task.worker}})


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _endpoint(address: Any) -> tuple[str, int]:
    """The host and the port of a worker's address, the same for each way to spell them; a UsageError if it is none."""
    found = f"found {reprlib.repr(address)}"
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if not match or int(match[3]) > 65535:
        raise _error(found, '"HOST:PORT" with a port from 1 to 65535 and no zero before it')
    host = (match[2] or "").removesuffix(".")
    if _is_name(host):
        return host.lower(), int(match[3])
    try:
        ip = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(host)
    except ValueError:
        raise _error(found, "a host of letters, digits, - and _ between dots, or an IP address") from None
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_unspecified:
        raise _error(found, "an address at which the other workers reach it")
    return "localhost" if str(ip) in ("127.0.0.1", "::1") else str(ip), int(match[3])


def _is_name(host: str) -> bool:
    """Whether `host` is a name in the DNS: not what ends in a number, since systems take 127.1 for an address too."""
    labels = host.split(".")
    number = re.fullmatch("[0-9]+|0[Xx][0-9A-Fa-f]*", labels[-1])
    return len(host) <= 253 and all(map(_LABEL.fullmatch, labels)) and not number


def _error(found: str, expected: str) -> UsageError:
    return UsageError(f"TF_CONFIG: {found}, expected {expected}")
