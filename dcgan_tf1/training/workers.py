"""Several processes that train one run together, by TensorFlow's own MultiWorkerMirroredStrategy.

Each process has a `tf.compat.v1.train.Server`, the same graph and a session of its own. The strategy adds up the
gradients in the graph. What is here is the rest: finding each other, agreeing on what is trained, waiting for each
other without taking the slow for the lost, and telling which worker was lost. It travels by collectives too.
"""

import atexit
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from dcgan_tf1.config import Config
from dcgan_tf1.errors import ClusterError, UsageError, one_line, reason
from dcgan_tf1.tf_config import Task
from dcgan_tf1.training.graph import Gan
from dcgan_tf1.training.server import PATIENCE, start_server, why_absent

v1 = tf.compat.v1

# In seconds:
_JOIN = 300.0  # how long workers wait for each other at the start
_AGREEMENT = 30  # how long the first exchange may take; it takes longer only where the lists of workers differ
_INTERVAL = 1.0  # how often workers that wait are told that the others are still busy
# How long a process stays after an error: longer than the others look for it, which would take it for the lost one.
_LINGER = PATIENCE + 0.5
_FAREWELL = 0.3  # how long it stays at the end of the run, until the others have its last message
_START_AGAIN = "start all workers again to go on from the last commit"
_LEAST = 64  # int32 that a worker sums at least: TensorFlow cuts a vector at multiples of 64 or 128 bytes
_GROUP = 1 << 20  # the key of the group of the collectives below; the strategy counts its own from 1
_Result = TypeVar("_Result")


class Workers:
    """The processes that train one run, as one of them sees them. It is a context, which all of them leave together.

    In the context, the loss of another worker ends whatever waits for it, and becomes a ClusterError that names it.
    """

    def __init__(
        self, task: Task | None = None, timeout: int = 60, devices: Sequence[str] = (), join_seconds: float = _JOIN
    ) -> None:
        """Start the server of this worker, and wait for those of the others.

        Args:
            task: the place of this process among the workers; None: it trains alone.
            timeout: how many seconds a worker may keep the others waiting.
            devices: those that a process that trains alone shares each batch between; by default all GPUs.

        Raises UsageError: this worker cannot listen at its address, or another one does not come in time.
        """
        self.index, self.count = (task.worker, len(task.addresses)) if task else (0, 1)
        self.chief = self.index == 0  # whether this worker commits, samples and logs
        self._addresses = task.addresses if task else ()
        self._timeout, self._keys = timeout, itertools.count(1)
        self.began = False  # whether the training has begun, so that there is something to go on from
        self._devices = devices or [f"/gpu:{i}" for i in range(len(tf.config.list_physical_devices("GPU")))]
        self._sums: dict[tuple[int, int | None], Callable[[np.ndarray], np.ndarray]] = {}
        if task:
            self._options = v1.ConfigProto()
            self._options.gpu_options.allow_growth = True  # the server's devices, as `session_options` has them
            self._options.experimental.recv_buf_max_chunk = 1 << 20  # by default tensors travel in pieces of 4 KiB
            resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
            job = f"/job:{resolver.task_type}/task:{resolver.task_id}"
            leader = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
            self._options.device_filters.append(job)
            self._options.experimental.collective_group_leader = f"/job:{leader}/replica:0/task:0"
            self._server = start_server(resolver, self._addresses[self.index], self._options)
            self._wait_for_others(join_seconds)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if self.count == 1:
            return
        if error is None:  # all leave together, so that nobody is taken for lost while others still work
            try:
                self._sum(np.zeros(1, np.int32))
            except tf.errors.OpError as problem:
                error = problem
        atexit.register(time.sleep, _LINGER if error else _FAREWELL)
        if isinstance(error, tf.errors.OpError):
            lost = self._find_lost(error)
            if self.began:
                raise ClusterError(f"{lost}; {_START_AGAIN}") from error
            raise UsageError(
                f"TF_CONFIG: {lost} before the training began, expected the same list on all workers; "
                "a worker that has ended says why"
            ) from error

    # The graph and its session

    def open_strategy(self) -> tf.distribute.Strategy:
        """TensorFlow's strategy for all devices of all workers, in the present graph."""
        if self.count > 1:
            # A timeout of its own would keep a thread for each collective until the time is over.
            return tf.distribute.MultiWorkerMirroredStrategy(tf.distribute.cluster_resolver.TFConfigClusterResolver())
        return tf.distribute.MirroredStrategy(self._devices) if len(self._devices) > 1 else tf.distribute.get_strategy()

    def open_session(
        self, graph: tf.Graph, options: tf.compat.v1.ConfigProto, timeout: int | None = None
    ) -> tf.compat.v1.Session:
        """A session on `graph` that reaches the other workers.

        Args:
            timeout: how many seconds a call may take; None: as long as a worker may keep the others waiting.
        """
        if self.count == 1:
            return v1.Session(graph=graph, config=options)
        options.MergeFrom(self._options)
        options.operation_timeout_in_ms = 1000 * (timeout or self._timeout)
        options.use_per_session_threads = False  # a session of a server has the server's threads
        # The pass that fuses ops makes some in bfloat16 for which such a session finds no kernel.
        if options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16:
            options.graph_options.rewrite_options.remapping = 2  # off
        return v1.Session(self._server.target, graph=graph, config=options)

    def wait_for(self, seconds: int) -> None:
        """From here on, let a worker keep the others waiting for so many seconds. All workers call this together."""
        self._timeout = seconds
        self._sums.clear()  # their sessions have the time of before

    def check_batch(self, config: Config) -> None:
        """Raise UsageError unless the batch can be shared evenly between all devices, two images or more for each."""
        replicas = self.count * max(1, len(self._devices))
        share, rest = divmod(config.batch_size, replicas)
        if rest or share < 2:
            what = "workers" if self.count == replicas else "devices"
            raise UsageError(
                f"--batch_size: found {config.batch_size}, expected a multiple of {replicas}, the number of {what}, "
                f"and at least {2 * replicas}"
            )
        if config.sync_batch_norm and len(self._devices) > 1:  # the gradients of its exchange take a process a device
            raise UsageError("--sync_batch_norm: found several devices in a process, expected one: see run.py launch")

    def own_share(self, batch: np.ndarray) -> np.ndarray:
        """This worker's slice of a whole batch."""
        share = len(batch) // self.count
        return batch[self.index * share :][:share]

    # Waiting for each other

    def together(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns, when all workers have done theirs, however long any of them takes.

        The work is done in a thread. Meanwhile every worker tells the others that it is there. If one is lost, the work
        is given a moment to end, and is left where it is then: it may be waiting for that worker.
        """
        if self.count == 1:
            return work()
        result: Future[_Result] = Future()
        thread = threading.Thread(target=_do, args=(work, result), daemon=True)
        thread.start()
        busy = True
        while busy:
            wait([result], _INTERVAL)
            if result.done():
                result.result()  # raises what the work has raised
            try:
                busy = bool(self._sum(np.array([not result.done()], np.int32))[0])
            except tf.errors.OpError:
                thread.join(_LINGER)
                raise
        return result.result()

    def copy_variables(self, sess: tf.compat.v1.Session, gan: Gan) -> None:
        """Give every worker the chief's values of all variables."""
        if self.count == 1:
            return
        values = sess.run(gan.variables)
        flat = np.frombuffer(b"".join(value.tobytes() for value in values), np.int32)
        received = self._sum(flat if self.chief else np.zeros_like(flat)).tobytes()  # sums of integers keep every bit
        begin, copies = 0, {}
        for variable, value in zip(gan.variables, values, strict=True):
            copy = np.frombuffer(received, value.dtype, value.size, begin)
            copies[variable.op.name] = copy.reshape(value.shape)
            begin += value.nbytes
        gan.load(sess, copies)

    def compare_variables(self, sess: tf.compat.v1.Session, gan: Gan) -> None:
        """Make sure that what training moves has the same bytes on every worker.

        Raises ClusterError: one has not. All workers raise it.
        """
        if self.count == 1:
            return
        digests = [hashlib.sha256(value.tobytes()).digest() for value in sess.run(gan.replicated)]
        rows = self._share_rows(np.frombuffer(b"".join(digests), np.int32)).reshape(self.count, len(digests), -1)
        for worker, row in enumerate(rows):
            for variable, found, expected in zip(gan.replicated, row, rows[0], strict=True):
                if (found != expected).any():
                    raise ClusterError(
                        f"{variable.op.name} differs between worker 0 and {self._name(worker)}; {_START_AGAIN}"
                    )

    # Agreement

    def agree(self, same: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Compare what must be the same everywhere, by the names under which users know it.

        All workers get what the chief has `told`, or all raise UsageError, if something in `same` differs.
        """
        message = json.dumps([same, told]).encode()
        longest = max(self._share_rows(np.array([len(message)], np.int32), _AGREEMENT)[:, 0])
        rows = self._share_rows(np.frombuffer(message.ljust(-(-longest // 4) * 4), np.int32))
        records = [json.loads(row.tobytes()) for row in rows]
        expected, chief_told = records[0]
        for worker, (found, _) in enumerate(records):
            for name in expected | found:
                if found.get(name) != expected.get(name):
                    values = [f"{record.get(name)!s:.40}" for record in (found, expected)]
                    raise UsageError(
                        f"{name}: found {values[0]} on {self._name(worker)}, expected {values[1]} as on worker 0"
                    )
        return chief_told

    def _share_rows(self, row: np.ndarray, timeout: int | None = None) -> np.ndarray:
        """The rows of all workers, int32 [count, n]: each adds its own to zeros."""
        rows = np.zeros([self.count, len(row)], np.int32)
        rows[self.index] = row
        return self._sum(rows.ravel(), timeout).reshape(rows.shape)

    def _sum(self, values: np.ndarray, timeout: int | None = None) -> np.ndarray:
        """The sum of int32 vectors over all workers. Sums with zeros keep every bit.

        A short vector is filled up, so that each worker has a part of it to sum. One without a part would only wait for
        the next worker to take what it sends, and would not hear that this one is lost.
        """
        length, values = len(values), np.pad(values, (0, max(0, _LEAST * self.count - len(values))))
        key = len(values), timeout
        if key not in self._sums:
            with tf.Graph().as_default() as graph:
                x = v1.placeholder(tf.int32, [len(values)])
                total = tf.raw_ops.CollectiveReduceV2(
                    input=x,
                    group_size=self.count,
                    group_key=_GROUP,
                    instance_key=next(self._keys),
                    ordering_token=[],
                    merge_op="Add",
                    final_op="Id",
                )
            self._sums[key] = self.open_session(graph, v1.ConfigProto(), timeout).make_callable(total, [x])
        return self._sums[key](values)[:length]

    # Loss

    def _wait_for_others(self, seconds: float) -> None:
        """Wait until all other workers greet. Raises UsageError if one does not within `seconds`."""
        began, told = time.monotonic(), False
        while absent := self._absent():
            waited = time.monotonic() - began
            if waited > seconds:
                raise UsageError(
                    f"TF_CONFIG: {self._name(min(absent))} did not come within {seconds:.0f} s, "
                    "expected one process for each worker"
                )
            if waited > 5 and not told:
                print(one_line(f"waiting for {', '.join(map(self._name, absent))}"), flush=True)
                told = True
            time.sleep(0.2)

    def _find_lost(self, error: tf.errors.OpError) -> str:
        """Which worker is lost, and why; or that none is, and what `error` says.

        Who looks late may find several that have ended: the one that was lost, and those that have told so already.
        """
        absent = [f"{self._name(worker)} {why}" for worker, why in self._absent().items()]
        if absent:
            return ", ".join(absent)
        return f"the workers cannot reach each other ({reason(error):.60})"

    def _absent(self) -> dict[int, str]:
        """The other workers that do not greet, and why not."""
        others = [worker for worker in range(self.count) if worker != self.index]
        with ThreadPoolExecutor(len(others)) as pool:
            reasons = pool.map(why_absent, [self._addresses[worker] for worker in others])
            return {worker: why for worker, why in zip(others, reasons, strict=True) if why}

    def _name(self, worker: int) -> str:
        return f"worker {worker} ({self._addresses[worker]})"


def _do(work: Callable[[], _Result], result: Future[_Result]) -> None:
    """Let `result` be what `work` returns or raises."""
    try:
        result.set_result(work())
    except BaseException as error:
        result.set_exception(error)
