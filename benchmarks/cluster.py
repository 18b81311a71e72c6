"""Time training with 1, 2 and 4 workers, a core each, beside a model of the step: `python benchmarks/cluster.py --help`.

Workers run in network namespaces of their own, between which bandwidth and delay are set (`ip netns` and `tc`, as root),
and on loopback. All links take turns, so that whatever else the machine does slows all of them alike. The medians go to
cluster.json, and their figure to cluster.png, both beside this file.

Each worker also takes steps of its share of a batch by itself, while the others do: what a step with the others takes
beyond that is what working together costs. The model of a step takes its computing from one process, and its exchange
from bytes, bandwidth and delay alone.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

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
HUB = "dcgan-hub"
"""The namespace that the cables of all workers lead to."""


# A worker


def work(settings: dict) -> None:
    """Take as many steps as each line of standard input asks for, and print how long each took."""
    from dcgan_tf1.tensorflow_import import import_tensorflow

    import_tensorflow()
    import numpy as np

    from dcgan_tf1.data import draws
    from dcgan_tf1.tf_config import read_task
    from dcgan_tf1.training.cluster import Cluster
    from dcgan_tf1.training.gan import build_gan
    from dcgan_tf1.training.session import open_session

    config, task = Config(**settings), read_task()
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(task)) if task else None

        def make(config: Config, cluster: Cluster | None):
            gan = build_gan(config, cluster=cluster)
            sess = stack.enter_context(open_session(gan, config, cluster))
            sess.run(gan.init_op)
            make_callable = cluster.make_callable if cluster else type(sess).make_callable
            step = make_callable(sess, gan.train_op, [gan.images, gan.z])
            shape = (gan.images.shape[0], 28, 28)
            pixels = ((draws.latent(0, draws.Stream.SNAPSHOT, 0, shape) + 1) * 127).astype(np.uint8)
            z = draws.latent(0, draws.Stream.TRAIN, 0, gan.z.shape)
            return lambda: step(pixels, z)

        steps = {"alone": make(cluster.own_config(config) if cluster else config, None)}
        if cluster:
            steps["together"] = make(config, cluster)
        for step in steps.values():
            for _ in range(3):
                step()
        print("ready", flush=True)
        for line in sys.stdin:
            kind, count = line.split()
            times = []
            for _ in range(int(count)):
                wall, processor = time.perf_counter(), time.process_time()
                steps[kind]()
                times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)))
            print(json.dumps(times), flush=True)


class Workers:
    """Worker processes, worker k on core k as far as there are cores."""

    def __init__(self, config: dict, count: int, namespaces: list[str] | None = None) -> None:
        cores = sorted(os.sched_getaffinity(0))
        if namespaces:
            addresses = tuple(f"10.78.0.{k + 1}:2222" for k in range(count))
        else:
            addresses = free_addresses(count)
        self.processes = []
        for k in range(count):
            command = [sys.executable, __file__, "--worker", json.dumps(config)]
            enter = ["ip", "netns", "exec", namespaces[k]] if namespaces else []
            pin = ["taskset", "-c", str(cores[k % len(cores)])]
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
            if count > 1:
                environment["TF_CONFIG"] = write_task(Task(addresses, k))
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.processes.append(subprocess.Popen([*enter, *pin, *command], env=environment, **pipes))
        for process in self.processes:
            assert process.stdout.readline() == "ready\n", "a worker did not start"

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait(timeout=60)

    def steps(self, kind: str, count: int) -> list[tuple[float, float]]:
        """Milliseconds of each step, and of the processor's time that it took, of all workers."""
        for process in self.processes:
            process.stdin.write(f"{kind} {count}\n")
            process.stdin.flush()
        return [tuple(pair) for process in self.processes for pair in json.loads(process.stdout.readline())]


# Links


def ip(*arguments: object) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True)


@contextlib.contextmanager
def hosts(count: int):
    """Namespaces with an address each, 10.78.0.1 and on, all on one switch."""
    names = [f"dcgan-{k}" for k in range(count)]
    made = []
    try:
        for name in (HUB, *names):
            ip("netns", "add", name)
            made.append(name)
        ip("-n", HUB, "link", "add", "switch", "type", "bridge")
        ip("-n", HUB, "link", "set", "switch", "up")
        for k, name in enumerate(names):
            ip("-n", HUB, "link", "add", f"port{k}", "type", "veth", "peer", "name", "cable", "netns", name)
            ip("-n", HUB, "link", "set", f"port{k}", "master", "switch", "up")
            ip("-n", name, "addr", "add", f"10.78.0.{k + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


def shape(names: list[str], gigabits: float, delay: float) -> None:
    """Give every host's cable a bandwidth, in Gbit/s, and a delay, in ms."""
    for name in names:
        command = ["tc", "-n", name, "qdisc", "replace", "dev", "cable", "root", "netem"]
        command += ["rate", f"{gigabits}gbit", "delay", f"{delay}ms", "limit", "100000"]
        subprocess.run(command, check=True)


# Numbers


def median(values) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def exchange(config: Config) -> dict[str, float]:
    """What a worker sends in a step: bytes of gradients and batch norm's statistics, and how many collectives."""
    from dcgan_tf1.tensorflow_import import import_tensorflow

    import_tensorflow()
    from dcgan_tf1.training.gan import build_gan

    gan = build_gan(config)
    d, g = (sum(v.shape.num_elements() for v in each) for each in (gan.d_variables, gan.g_variables))
    return {"bytes": 4 * (d + config.g_steps * g), "collectives": 1 + config.g_steps}


def modelled(computing: float, sent: dict[str, float], count: int, gigabits: float, delay: float) -> float:
    """Milliseconds of a step on paper: computing, and a ring in which each piece goes round twice.

    Each of the 2 (n - 1) rounds of a collective asks for a piece and gets it, which takes the delay twice.
    """
    rounds = 2 * (count - 1)
    wire = rounds / count * sent["bytes"] * 8 / (gigabits * 1e6)
    return computing + wire + sent["collectives"] * rounds * 2 * delay


def chart(report: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(report["steps"]), figsize=(11, 3.6), layout="constrained", squeeze=False)
    for axes, (name, found) in zip(panels[0], report["steps"].items(), strict=True):
        one = found["1"]["ms"]
        for count, colour in (("2", "#4477aa"), ("4", "#cc6677")):
            links = found[count]["links"] if count in found else {}
            measured = [one / link["ms"] for link in links.values()]
            axes.plot(measured, range(len(links)), "o", color=colour, label=f"{count} workers, measured")
            paper = [(one / link["model_ms"], k) for k, link in enumerate(links.values()) if "model_ms" in link]
            axes.plot(*zip(*paper, strict=True), "|", ms=16, color=colour, label=f"{count} workers, on paper")
        axes.set_yticks(range(len(links)), links)
        axes.axvline(1, color="#bbbbbb", lw=1)
        axes.set_xlabel("steps beside one worker's")
        axes.set_title(f"{name}: one worker takes {one:.0f} ms", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(fontsize=7)
    figure.savefig(path, dpi=150)


def measure(settings: dict, counts: list[int], rounds: int, steps: int) -> dict:
    """Milliseconds of a step with 1 worker and with each of `counts`, on each link."""
    config = Config(**settings)
    sent = exchange(config)
    found: dict = {"exchange": sent}
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Workers(settings, 1))
        local = {count: stack.enter_context(Workers(settings, count)) for count in counts}
        names = {count: stack.enter_context(hosts_of(count, f"{count}")) for count in counts}
        del names, local, one
    return found


def main() -> None:
    """Measure, print, and write cluster.json and cluster.png."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument("--steps", type=int, default=10, help="steps of a turn (default: 10)")
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 4], help="how many (default: 2 and 4)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return


if __name__ == "__main__":
    main()
