"""Several processes that train one GAN: what they exchange, and what ends them together.

Tensors travel by TensorFlow's collectives alone, between one `tf.compat.v1.train.Server` a process. All workers make
the same collectives in the same order, so that each has the same key everywhere.

A collective waits as long as it takes, since the chief may be committing or measuring meanwhile. Whether the others are
still there is asked beside it: a gRPC server greets whoever connects to it, however busy its worker is. A process that
has ended refuses the connection, and one that is stopped or cut off does not greet.
"""

import atexit
import contextlib
import ctypes
import hashlib
import importlib.metadata
import itertools
import json
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.errors import ClusterError, DcganError, UsageError, one_line
from dcgan_tf1.tf_config import Task, split_address
from dcgan_tf1.training.stopping import Signals

v1 = tf.compat.v1

_JOIN_SECONDS = 300.0
"""How long workers wait for each other at the start."""
_AGREEMENT_SECONDS = 30.0
"""How long the first exchange may take when all are there. It takes longer only where their lists of workers differ."""
_PATIENCE = 6.0
"""A worker that does not greet for so many seconds hangs, or is cut off."""
_INTERVAL = 1.0
"""Seconds between two questions whether the others are there."""
_RETURN_SECONDS = 2.0
"""How long what waits for a lost worker may take to come back. Then the process ends without it."""
_LINGER = 2.0
"""Seconds for which a process stays after an error, so that the others do not take it for the one that was lost."""
_FAREWELL = 0.3
"""Seconds for which it stays at the end of the run, until the others have its last message."""
_START_AGAIN = "start all workers again to go on from the last commit"
_FROM_OTHERS = (tf.errors.OpError, RuntimeError)  # the latter of a session that was closed meanwhile
"""What a session raises when another worker is lost: errors of many kinds, as it depends on where that is noticed."""
_UNREACHED = (tf.errors.UnavailableError, tf.errors.CancelledError, tf.errors.AbortedError)
"""What comes from other workers even where none is found lost."""


class Cluster:
    """The workers that train one GAN, as one of them sees them. It is a context, which all of them leave together.

    In the context, the loss of another worker ends whatever waits for it, and becomes a ClusterError that names it.
    """

    def __init__(self, task: Task, join_seconds: float = _JOIN_SECONDS) -> None:
        """Start the server of this worker, and wait for those of the others.

        Raises:
            UsageError: this worker cannot listen at its address, or another one does not come in time.
        """
        self.index, self.count = task.worker, len(task.addresses)
        self.chief = task.worker == 0
        """Whether this worker commits, samples and logs."""
        self.sync_batch_norm = False
        self.number = 0
        """The number of the signal for which all workers stop after the last step; 0: they go on."""
        self._signals = Signals()
        self._task = task
        self._agreed = False
        self._keys = itertools.count(1)
        self._options = v1.ConfigProto(device_filters=[f"/job:worker/task:{task.worker}"])
        self._options.gpu_options.allow_growth = True  # the server's devices, as `session_options` has them
        self._options.experimental.collective_group_leader = "/job:worker/replica:0/task:0"
        self._options.experimental.recv_buf_max_chunk = 1 << 20  # by default tensors travel in pieces of 4 KiB
        self._sessions: list[tf.compat.v1.Session] = []
        self._sums: dict[tuple[int, float], Callable[[np.ndarray], np.ndarray]] = {}
        self._server = _start_server(task, self._options)
        self._left = threading.Event()
        self._watch = _Watch(_wait_for_others(task, join_seconds), self._end)

    def __enter__(self) -> "Cluster":
        self._watch.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:  # all leave together, so that nobody is taken for lost while others still work
            try:
                self._sum(np.zeros(1, np.int32))
            except _FROM_OTHERS as problem:
                error = problem
        lost = self._find_lost(error)
        self._watch.end()
        self._left.set()
        atexit.register(time.sleep, _LINGER if error else _FAREWELL)
        if lost:
            raise ClusterError(f"{lost}; {_START_AGAIN}") from error
        if isinstance(error, _UNREACHED):
            reason = str(error).strip().rpartition("\n")[2]
            raise ClusterError(f"the workers cannot reach each other ({reason:.60}); {_START_AGAIN}") from error

    # The graph

    def average(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The means of float32 tensors over all workers, which travel as one flat tensor.

        One that is large takes little longer than one that is small, and each takes a round of messages.
        """
        flat = self._reduce(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0), "Add", "Div")
        parts = tf.split(flat, [tensor.shape.num_elements() for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def make_step(self) -> None:
        """Add what lets all workers stop after the same step. It waits for nothing else of the step."""
        self._stop = v1.placeholder(tf.int32, [], "stop")
        self._stopped = self._reduce(self._stop, "Max", "Id")

    def _reduce(self, value: tf.Tensor, merge: str, final: str, timeout: float = 0.0) -> tf.Tensor:
        with tf.device("/cpu:0"):
            return tf.raw_ops.CollectiveReduceV2(
                input=value,
                group_size=self.count,
                group_key=1,
                instance_key=next(self._keys),
                ordering_token=[],
                merge_op=merge,
                final_op=final,
                timeout_seconds=timeout,
            )

    # Training

    def own_config(self, config: Config) -> Config:
        """The settings of this worker's graph: its batch is a share of the whole one.

        Raises:
            UsageError: the batch cannot be shared evenly.
        """
        self.sync_batch_norm = config.sync_batch_norm
        share, rest = divmod(config.batch_size, self.count)
        if rest or share < 2:
            raise UsageError(
                f"--batch_size: found {config.batch_size}, expected a multiple of {self.count}, the number of workers, "
                f"and at least {2 * self.count}"
            )
        return config.replace(batch_size=share)

    def own_share(self, batch: np.ndarray) -> np.ndarray:
        """This worker's slice of a whole batch."""
        share = len(batch) // self.count
        return batch[self.index * share :][:share]

    def open_session(self, graph: tf.Graph, options: tf.compat.v1.ConfigProto) -> tf.compat.v1.Session:
        """A session on `graph` that reaches the other workers."""
        options.MergeFrom(self._options)
        options.use_per_session_threads = False  # a session of a server has the server's threads
        # The pass that fuses ops makes some in bfloat16 for which such a session finds no kernel.
        if options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16:
            options.graph_options.rewrite_options.remapping = 2  # off
        session = v1.Session(self._server.target, graph=graph, config=options)
        self._sessions.append(session)
        return session

    def heed(self, signals: Signals) -> "Cluster":
        """Stop all workers after the same step when `signals` of one of them have noted something.

        Returns:
            This object, whose `number` takes the place of that of `signals`.
        """
        self._signals = signals
        return self

    def make_callable(self, sess: tf.compat.v1.Session, fetches: Any, feeds: Sequence[tf.Tensor]) -> Callable[..., Any]:
        """`sess.make_callable` for a step, with which the workers also tell each other of their signals."""
        call = sess.make_callable((fetches, self._stopped), [*feeds, self._stop])

        def step(*values: np.ndarray) -> Any:
            result, stopped = call(*values, self._signals.number)
            self.number = int(stopped)
            return result

        return step

    def copy_variables(self, sess: tf.compat.v1.Session, variables: Sequence[tf.Variable]) -> None:
        """Give every worker the chief's values of `variables`."""
        values = sess.run(list(variables))
        flat = np.frombuffer(b"".join(value.tobytes() for value in values), np.int32)
        received = self._sum(flat if self.chief else np.zeros_like(flat)).tobytes()  # sums of integers keep every bit
        if self.chief:
            return
        begin, feeds = 0, {}
        for variable, value in zip(variables, values, strict=True):
            copy = np.frombuffer(received, value.dtype, value.size, begin)
            feeds[variable.initializer.inputs[1]] = copy.reshape(value.shape)
            begin += value.nbytes
        sess.run([variable.initializer for variable in variables], feeds)

    def compare_variables(self, sess: tf.compat.v1.Session, variables: Sequence[tf.Variable]) -> None:
        """Make sure that `variables` have the same bytes on every worker.

        Raises:
            ClusterError: one has not. All workers raise it.
        """
        digests = [hashlib.sha256(value.tobytes()).digest() for value in sess.run(list(variables))]
        rows = self._share_rows(np.frombuffer(b"".join(digests), np.int32)).reshape(self.count, len(digests), -1)
        for worker, row in enumerate(rows):
            for variable, found, expected in zip(variables, row, rows[0], strict=True):
                if (found != expected).any():
                    raise ClusterError(
                        f"{variable.op.name} differs between worker 0 and {self._name(worker)}; {_START_AGAIN}"
                    )

    # Agreement

    def agree(self, same: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Compare what must be the same everywhere, by the names under which users know it.

        Args:
            same: has to be equal on all workers.
            told: what the chief tells the others.

        Returns:
            What the chief told.

        Raises:
            UsageError: something differs, or a worker has left. All workers raise it.
        """
        timeout = 0.0 if self._agreed else _AGREEMENT_SECONDS
        try:
            records = [json.loads(record) for record in self._gather(json.dumps([same, told]).encode(), timeout)]
        except (tf.errors.OpError, RuntimeError) as error:
            lost = self._find_lost(error)
            if lost:
                raise UsageError(f"{lost} before the training began; its own message says why") from error
            reason = str(error).strip().rpartition("\n")[2]
            raise UsageError(
                f"TF_CONFIG: found no cluster ({reason:.60}), expected the same list on all workers"
            ) from error
        self._agreed = True
        expected, chief_told = records[0]
        for worker, (found, _) in enumerate(records):
            for name in expected | found:
                if found.get(name) != expected.get(name):
                    values = [f"{record.get(name)!s:.40}" for record in (found, expected)]
                    raise UsageError(
                        f"{name}: found {values[0]} on {self._name(worker)}, expected {values[1]} as on worker 0"
                    )
        return chief_told

    # Messages

    def _gather(self, message: bytes, timeout: float = 0.0) -> list[bytes]:
        """The messages of all workers."""
        lengths = self._share_rows(np.array([len(message)], np.int32), timeout)[:, 0]
        row = np.frombuffer(message.ljust(-(-max(lengths) // 4) * 4, b"\0"), np.int32)
        rows = self._share_rows(row, timeout)
        return [row.tobytes()[:length] for row, length in zip(rows, lengths, strict=True)]

    def _share_rows(self, row: np.ndarray, timeout: float = 0.0) -> np.ndarray:
        """The rows of all workers, int32 [count, n]: each adds its own to zeros."""
        rows = np.zeros([self.count, len(row)], np.int32)
        rows[self.index] = row
        return self._sum(rows.ravel(), timeout).reshape(rows.shape)

    def _sum(self, values: np.ndarray, timeout: float = 0.0) -> np.ndarray:
        """The sum of int32 vectors over all workers. Sums with zeros keep every bit."""
        key = len(values), timeout
        if key not in self._sums:
            with tf.Graph().as_default() as graph:
                x = v1.placeholder(tf.int32, [len(values)])
                total = self._reduce(x, "Add", "Id", timeout)
            self._sums[key] = self.open_session(graph, v1.ConfigProto()).make_callable(total, [x])
        return self._sums[key](values)

    # Loss

    def _find_lost(self, error: BaseException | None) -> str | None:
        """Which worker is lost, and why, if that is what `error` came from."""
        if isinstance(error, _FROM_OTHERS):
            self._watch.look()
        return None if error is None or isinstance(error, DcganError) else self._lost()

    def _lost(self) -> str | None:
        return f"{self._name(self._watch.lost[0])} {self._watch.lost[1]}" if self._watch.lost else None

    def _name(self, worker: int) -> str:
        return f"worker {worker} ({self._task.addresses[worker]})"

    def _end(self) -> None:
        """End whatever waits for the worker that is lost. Where that does not help, end the process."""
        for session in self._sessions:
            session.close()
        if not self._left.wait(_RETURN_SECONDS):
            error = ClusterError if self._agreed else UsageError
            print(one_line(f"error: {self._lost()}; {_START_AGAIN}"), file=sys.stderr, flush=True)
            time.sleep(_LINGER)
            os._exit(error.exit_code)


class _Watch(threading.Thread):
    """Looks every second whether the other workers are there, until one is lost."""

    def __init__(self, others: Mapping[int, Any], when_lost: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.lost: tuple[int, str] | None = None
        """The number of the worker that is lost, and why."""
        self._others, self._when_lost = others, when_lost
        self._due, self._judged, self._ended = threading.Event(), threading.Event(), False

    def run(self) -> None:
        while not self._ended:
            self._due.wait(_INTERVAL)
            self._due.clear()
            absent = _find_absent(self._others, _PATIENCE)
            if absent and not self._ended:
                self.lost = min(absent.items())
                self._judged.set()
                self._when_lost()
                return

    def look(self) -> None:
        """Look at once, and wait until one is lost, but no longer than that can take."""
        self._due.set()
        self._judged.wait(_PATIENCE + 2 * _INTERVAL)

    def end(self) -> None:
        self._ended = True
        self._due.set()


def _find_absent(addresses: Mapping[int, Any], patience: float) -> dict[int, str]:
    """The workers that do not greet within `patience` seconds, and why not.

    Args:
        addresses: what `socket.getaddrinfo` found, by the number of the worker.
    """
    absent: dict[int, str] = {}
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for worker, (family, address) in addresses.items():
            connection = stack.enter_context(socket.socket(family))
            connection.setblocking(False)
            connection.connect_ex(address)  # what comes of it is seen in reading
            selector.register(connection, selectors.EVENT_READ, worker)
        end = time.monotonic() + patience
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                late = f"has not answered for {patience:.0f} s: it hangs or is cut off"
                return absent | {key.data: late for key in selector.get_map().values()}
            for key, _ in ready:
                selector.unregister(key.fileobj)
                try:
                    if not key.fileobj.recv(1):  # type: ignore[union-attr]
                        absent[key.data] = "has ended"
                except ConnectionError:
                    absent[key.data] = "has ended"
                except OSError as error:
                    absent[key.data] = f"cannot be reached ({error.strerror})"
    return absent


def _wait_for_others(task: Task, seconds: float) -> dict[int, Any]:
    """Wait until all other workers greet.

    Returns:
        Where they are, as `_find_absent` takes it.

    Raises:
        UsageError: one does not come within `seconds`, or leaves again.
    """
    missing = {worker for worker in range(len(task.addresses)) if worker != task.worker}
    found: dict[int, Any] = {}
    begin, told = time.monotonic(), False
    while True:
        for worker in missing - found.keys():
            with contextlib.suppress(OSError):  # a name may become known later
                found[worker] = _resolve(task.addresses[worker])
        absent = _find_absent(found, 2 * _INTERVAL)
        left = found.keys() - missing & absent.keys()
        missing = missing - found.keys() | absent.keys()
        if not missing:
            return found
        waited = time.monotonic() - begin
        if left or waited > seconds:
            worker = min(left or missing)
            what = "left before the training began" if left else f"did not come within {seconds:.0f} s"
            raise UsageError(
                f"TF_CONFIG: worker {worker} ({task.addresses[worker]}) {what}, expected one process for each worker"
            )
        if waited > 5 and not told:
            names = ", ".join(f"{worker} ({task.addresses[worker]})" for worker in sorted(missing))
            print(one_line(f"waiting for worker {names}"), flush=True)
            told = True
        time.sleep(0.2)


def _start_server(task: Task, options: tf.compat.v1.ConfigProto) -> tf.compat.v1.train.Server:
    """The server of this worker, which answers at its own address alone.

    Raises:
        UsageError: the address is not of this machine, or its port is taken.
    """
    try:
        family, address = _resolve(task.addresses[task.worker])
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
        jobs = {"worker": list(task.addresses)}
        server = v1.train.Server(jobs, "worker", task.worker, config=options, start=False)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or "its port is taken"
        raise UsageError(
            f"TF_CONFIG: worker {task.worker} cannot listen at {task.addresses[task.worker]} ({reason}), "
            "expected a free port of an address of this machine"
        ) from error
    if sys.platform == "linux":
        _listen_at(address[0], address[1])
    server.start()
    return server


def _resolve(address: str) -> tuple[socket.AddressFamily, Any]:
    """The family and the address that the first entry of `socket.getaddrinfo` has."""
    host, port = split_address(address)
    family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, found


def _listen_at(host: str, port: int) -> None:
    """Let the kernel drop what comes to `port` of this process for any address but `host`.

    TensorFlow's server listens at all addresses of a machine, whichever it is given. A filter on the listening socket,
    which every connection inherits, makes it deaf to all others (`man 7 socket`, SO_ATTACH_FILTER).
    """
    version = 6 if ":" in host else 4
    packed = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, host)
    words = struct.unpack(f"!{len(packed) // 4}I", packed)
    network, destination = 0xFFF00000, 24 if version == 6 else 16  # SKF_NET_OFF; where the header has the address
    tests = [(network, 0xF0000000, version << 28)]
    tests += [(network + destination + 4 * i, 0xFFFFFFFF, word) for i, word in enumerate(words)]
    program = []  # instructions of classic BPF: operation, jump if true, jump if false, operand
    for i, (offset, mask, value) in enumerate(tests):
        to_drop = 3 * (len(tests) - 1 - i) + 1
        program += [(0x20, 0, 0, offset), (0x54, 0, 0, mask), (0x15, 0, to_drop, value)]  # load, and, equal?
    program += [(0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]  # keep; drop
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    filter_ = struct.pack("HL", len(program), ctypes.addressof(code))
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as found:
            if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()[1] == port:
                found.setsockopt(socket.SOL_SOCKET, 26, filter_)  # SO_ATTACH_FILTER


def versions() -> dict[str, str]:
    """What of the program must be the same on all workers: versions, and the code itself."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return {
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "numpy")},
        "the program's code": digest.hexdigest(),
    }
