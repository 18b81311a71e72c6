"""Time training with 1, 2 and 4 workers, a core each, beside a model: `python benchmarks/cluster.py`, as root.

Workers run on loopback, and in network namespaces with a wire between them whose bandwidth and delay are set. The wire
is a thread of this process that holds every packet back for as long as a real one would, since not every kernel can
(`tc` with netem). All links take turns, so that whatever else the machine does slows all of them alike. The medians go
to cluster.json, and their figure to cluster.png, both beside this file.

In other turns each worker takes steps of its share by itself, while the others do the same. What a step takes beyond
that is what working together costs. Where there are fewer cores than workers, they share them, and only the processor's
time says something. The model takes computing from the processor's time of such steps, and adds an exchange that
follows from bytes, bandwidth and delay alone.
"""

import argparse
import contextlib
import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

import numpy as np  # noqa: E402

from dcgan_tf1.commands.launch import free_addresses  # noqa: E402
from dcgan_tf1.config import Config  # noqa: E402
from dcgan_tf1.runs import checkpoint  # noqa: E402
from dcgan_tf1.tf_config import Task, write_task  # noqa: E402

LINKS = {
    "10 Gbit/s, 0.1 ms": (10, 0.1),
    "10 Gbit/s, 1 ms": (10, 1.0),
    "1 Gbit/s, 0.1 ms": (1, 0.1),
    "1 Gbit/s, 1 ms": (1, 1.0),
}
"""Bandwidth in Gbit/s, and delay one way in ms."""
LOOPBACK = "loopback"
PAPER = (2, 4, 16, 64, 256)
"""The numbers of workers for which the model is asked."""


# A worker


def work(settings: dict) -> None:
    """Take as many steps as each line of standard input asks for, and print how long each took."""
    from dcgan_tf1.tensorflow_import import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    from dcgan_tf1.data import draws
    from dcgan_tf1.tf_config import read_task
    from dcgan_tf1.training.graph import build_gan
    from dcgan_tf1.training.session import TrainingSession
    from dcgan_tf1.training.workers import Workers

    config, task = Config(**settings), read_task()
    with contextlib.ExitStack() as stack:
        alone, workers = Workers(), stack.enter_context(Workers(task))

        def make(config, workers):
            gan = build_gan(config, processes=workers.count, open_strategy=workers.open_strategy)
            training = stack.enter_context(TrainingSession(gan, config, workers))
            training.initialize()
            pixels = (draws.latent(0, draws.Stream.SNAPSHOT, 0, (gan.images.shape[0], 28, 28)) + 1) * 127
            batch = pixels.astype(np.uint8), draws.latent(0, draws.Stream.TRAIN, 0, gan.z.shape)
            for _ in range(3):
                training.step(batch, measured=False)
            return gan, lambda: training.step(batch, measured=False)

        share = config.replace(batch_size=config.batch_size // workers.count)
        steps, sent = {"alone": make(share, alone)[1]}, []
        if task:
            gan, steps["together"] = make(config, workers)
            step = tf.compat.v1.graph_util.extract_sub_graph(gan.graph.as_graph_def(), [gan.train_op.name])
            reduced = [gan.graph.get_operation_by_name(n.name) for n in step.node if n.op == "CollectiveReduceV2"]
            sent = [4 * operation.inputs[0].shape.num_elements() for operation in reduced]
        print(json.dumps(sent), flush=True)
        for line in sys.stdin:
            kind, count = line.split()
            times = []
            for _ in range(int(count)):
                wall, processor = time.perf_counter(), time.process_time()
                steps[kind]()
                times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)))
            print(json.dumps(times), flush=True)


class Processes:
    """Worker processes, worker k on core k as far as there are cores."""

    def __init__(self, config: dict, count: int, wire: "Wire | None" = None) -> None:
        cores = sorted(os.sched_getaffinity(0))
        addresses = tuple(f"{host}:2222" for host in wire.hosts.values()) if wire else free_addresses(count)
        self.processes = []
        for k in range(count):
            enter = ["ip", "netns", "exec", list(wire.hosts)[k]] if wire else []
            pin = ["taskset", "-c", str(cores[k % len(cores)])]
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            if count > 1:
                environment["TF_CONFIG"] = write_task(Task(addresses, k))
            command = [*enter, *pin, sys.executable, __file__, "--worker", json.dumps(config)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.processes.append(subprocess.Popen(command, env=environment, **pipes))
        ready = [process.stdout.readline() for process in self.processes]
        if not all(ready):
            sys.exit(f"a worker did not start: exit codes {[process.poll() for process in self.processes]}")
        self.sent = json.loads(ready[0])
        """The bytes of each collective of a step."""

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait(timeout=60)

    def steps(self, kind: str, count: int) -> np.ndarray:
        """Milliseconds of each step, and of the processor's time that it took, of all workers: [steps, 2]."""
        for process in self.processes:
            process.stdin.write(f"{kind} {count}\n")
            process.stdin.flush()
        return np.concatenate([json.loads(process.stdout.readline()) for process in self.processes])


# The wire


def ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True)


class Wire(threading.Thread):
    """Namespaces, each a host with a cable to one switch, whose bandwidth and delay can be set at any time."""

    def __init__(self, count: int) -> None:
        super().__init__(daemon=True)
        self.gigabits, self.delay = LINKS["10 Gbit/s, 0.1 ms"]
        self.hosts = {f"dcgan-{count}-{k}": f"10.78.{count}.{k + 1}" for k in range(count)}
        """The addresses, by the names of the namespaces."""
        self._cables, self._ended = [], False

    def __enter__(self) -> "Wire":
        for name, address in self.hosts.items():
            ip("netns", "add", name)
            cable = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(cable, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF: TUN, NO_PI
            self._cables.append(cable)
            ip("link", "set", name, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
            # One packet holds what a network card would cut into many, or Python would be the bottleneck.
            ip("-n", name, "link", "set", name, "mtu", "65000", "up")
            ip("-n", name, "link", "set", "lo", "up")
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended = True
        self.join()
        for name in self.hosts:
            ip("netns", "del", name)
        for cable in self._cables:
            os.close(cable)

    def run(self) -> None:
        """Hold every packet back until a wire would have brought it."""
        free = dict.fromkeys(self._cables, 0.0)  # when each host's cable can take the next packet
        held: list = []
        for number in iter(int, 1):
            if self._ended:
                return
            wait = max(0.0, held[0][0] - time.perf_counter()) if held else 0.05
            for cable in select.select(self._cables, [], [], min(wait, 0.05))[0]:
                packet = os.read(cable, 65536)
                if packet[0] >> 4 == 4 and 0 < packet[19] <= len(self._cables):
                    now = time.perf_counter()
                    free[cable] = max(now, free[cable]) + len(packet) * 8e-9 / self.gigabits
                    due = free[cable] + 1e-3 * self.delay
                    heapq.heappush(held, (due, number + len(held), packet, self._cables[packet[19] - 1]))
            while held and held[0][0] <= time.perf_counter():
                _, _, packet, cable = heapq.heappop(held)
                os.write(cable, packet)


# Numbers


def exchanged(sent: list[int], count: int, gigabits: float, delay: float) -> float:
    """Milliseconds that the collectives of a step take on paper.

    In a ring, a worker receives 2 (n - 1) pieces, each of an n-th of the whole, and asks for each of them.
    """
    rounds = 2 * (count - 1)
    return sum(rounds / count * size * 8e-6 / gigabits + rounds * 2 * delay for size in sent)


def on_paper(settings: dict, found: dict, sent: list[int]) -> dict:
    """What the model says of up to 256 workers: milliseconds of a step, and the batch from which they are faster."""
    batch = Config(**settings).batch_size
    shares, processor = zip(
        *[(batch // int(n), each["alone"]["processor_ms"]) for n, each in found.items()], strict=True
    )
    image, fixed = np.polyfit(shares, processor, 1)
    paper: dict = {"ms_an_image": image, "ms_whatever_the_batch": fixed, "workers": {}}
    for count in PAPER:
        for link, (gigabits, delay) in LINKS.items():
            cost = exchanged(sent, count, gigabits, delay)
            waste = 0.8 * count * (fixed + cost) - fixed  # at 0.8 times `count` as many steps it equals what is won
            paper["workers"].setdefault(str(count), {})[link] = {
                "exchange_ms": cost,
                "pays_from_batch": cost / (image * (1 - 1 / count)),
                "efficient_from_batch": waste / (0.2 * image),
            }
    return paper


def summary(times: list[np.ndarray]) -> dict[str, float]:
    wall, processor = np.median(np.concatenate(times), 0)
    return {"ms": float(wall), "processor_ms": float(processor)}


def measure(settings: dict, counts: list[int], rounds: int, steps: int) -> dict:
    """Milliseconds of a step alone and together, with 1 worker and with each of `counts`, on each link."""
    with contextlib.ExitStack() as stack:
        local = {count: stack.enter_context(Processes(settings, count)) for count in (1, *counts)}
        wires = {count: stack.enter_context(Wire(count)) for count in counts}
        wired = {count: stack.enter_context(Processes(settings, count, wires[count])) for count in counts}
        times: dict = {}
        for _ in range(rounds):
            for count, workers in local.items():
                times.setdefault((count, "alone"), []).append(workers.steps("alone", steps))
                if count > 1:
                    times.setdefault((count, LOOPBACK), []).append(workers.steps("together", steps))
                    for link, (wires[count].gigabits, wires[count].delay) in LINKS.items():
                        times.setdefault((count, link), []).append(wired[count].steps("together", steps))
        sent = local[counts[0]].sent
    found: dict = {}
    for (count, link), each in times.items():
        found.setdefault(str(count), {})[link] = summary(each)
    for count in counts:
        for link, values in LINKS.items():
            found[str(count)][link]["model_ms"] = found[str(count)]["alone"]["ms"] + exchanged(sent, count, *values)
    return {"bytes": sent, "workers": found, "paper": on_paper(settings, found, sent)}


def chart(report: dict, path: Path) -> None:
    """Steps beside one worker's, a panel a recipe."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    links = [LOOPBACK, *LINKS]
    figure, panels = plt.subplots(
        1, len(report), figsize=(11, 3.2), layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for axes, (name, found) in zip(panels[0], report.items(), strict=True):
        workers = found["workers"]
        one = workers["1"]["alone"]["ms"]
        for count, colour in zip(list(workers)[1:], ("#4477aa", "#cc6677"), strict=False):
            measured = [one / workers[count][link]["ms"] for link in links]
            modelled = [one / workers[count][link].get("model_ms", np.nan) for link in links]
            axes.plot(measured, links, "o", color=colour, label=f"{count} workers, measured")
            axes.plot(modelled, links, "|", ms=16, color=colour, label=f"{count} workers, on paper")
        axes.axvline(1, color="#bbbbbb", lw=1)
        axes.set_xlabel("how many times the steps of one worker on one core")
        axes.set_title(f"{name}: one worker takes {one:.0f} ms a step", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].invert_yaxis()  # and with it that of the others, which share it
    panels[0][0].legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print, and write cluster.json and cluster.png."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument("--steps", type=int, default=8, help="steps of a turn (default: 8)")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4], help="how many (default: 2 4)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    machine = checkpoint.machine_record()
    print(f"{machine['cpu']}, {machine['cores']} cores, TensorFlow {machine['tensorflow']}")
    report: dict = {}
    for precision in ("float32", "bfloat16"):
        name = f"reference, {precision}"
        settings = {"preset": "reference", "precision": precision}
        report[name] = found = measure(settings, options.workers, options.rounds, options.steps)
        one = found["workers"]["1"]["alone"]["ms"]
        print(f"\n{name}: collectives of {found['bytes']} bytes a step")
        print(f"{'':30}{'ms':>8}{'processor':>11}{'on paper':>10}{'steps':>8}")
        for count, links in found["workers"].items():
            for link, each in links.items():
                paper = f"{each['model_ms']:10.0f}" if "model_ms" in each else f"{'':10}"
                ratio = "" if count != "1" and link == "alone" else f"{one / each['ms']:8.2f}"
                row = f"{each['ms']:8.0f}{each['processor_ms']:11.0f}{paper}{ratio}"
                print(f"{count} workers, {link:20}{row}")
        for count, links in found["paper"]["workers"].items():
            for link, each in links.items():
                costs = f"{each['exchange_ms']:.0f} ms of exchange, pays from a batch of {each['pays_from_batch']:.0f}"
                print(f"{count:>3} workers on paper, {link}: {costs}, at 80% from {each['efficient_from_batch']:.0f}")
    record = {"machine": machine, "rounds": options.rounds, "steps": options.steps, "recipes": report}
    (HERE / "cluster.json").write_text(json.dumps(record, indent=1) + "\n")
    chart(report, HERE / "cluster.png")


if __name__ == "__main__":
    main()
