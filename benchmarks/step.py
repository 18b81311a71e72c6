"""Time a training step beside the usual ways to write it: `python benchmarks/step.py --help`.

All contenders live in one process and take turns, so that whatever else the machine does slows all of them alike. A
turn is two steps, of which the second is timed, since in training a step finds the caches as the last one left them.
The medians over all rounds go to step.json, and their figure to step.png, both beside this file. With `--isa avx2` only
steps in float32 are timed, without the long run, and the results go to step-avx2.json and step-avx2.png.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Otherwise the idle threads of PyTorch would spin into the next contender's turn.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")  # as `import_tensorflow` sets it: threads for each session
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import keras_step  # noqa: E402
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import plain_tf1  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch_eager  # noqa: E402

from dcgan_tf1 import cli  # noqa: E402
from dcgan_tf1.config import Config  # noqa: E402
from dcgan_tf1.data import draws  # noqa: E402
from dcgan_tf1.pictures import images  # noqa: E402
from dcgan_tf1.runs import checkpoint  # noqa: E402
from dcgan_tf1.training.graph import build_gan  # noqa: E402
from dcgan_tf1.training.session import TrainingSession  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

Step = Callable[[np.ndarray, np.ndarray], object]
RECIPES = ("default", "reference")
"""The presets whose networks the other programs train too."""
INSTRUCTION_SETS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
"""Settings that keep TensorFlow's and PyTorch's libraries from using what older CPUs lack."""


def ours(config: Config) -> Step:
    """One step of this project."""
    training = TrainingSession(build_gan(config), config)
    training.initialize()
    return lambda *batch: training.step(batch, measured=False)


def batch(config: Config, step: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch and its latent vectors: uint8 [batch_size, 28, 28] and float32 [batch_size, z_dim]."""
    images = (draws.latent(0, draws.Stream.SNAPSHOT, step, (config.batch_size, 28, 28)) + 1) * 127
    return images.astype(np.uint8), draws.latent(0, draws.Stream.TRAIN, step, (config.batch_size, config.z_dim))


def medians(steps: dict[str, Step], config: Config, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step of each, over `rounds` interleaved rounds after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(-2, rounds):
        for name, step in steps.items():
            inputs = batch(config, round_ + 2)
            step(*inputs)
            begin = time.perf_counter()
            step(*inputs)
            if round_ >= 0:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: float(np.median(values)) for name, values in times.items()}


def contenders(config: Config, precisions: Collection[str]) -> dict[str, Step]:
    """This project and the others in `precisions`, ready to step."""
    makers: dict[str, Callable[[], Step]] = {
        "dcgan-tf1 float32": lambda: ours(config.replace(precision="float32")),
        "dcgan-tf1 bfloat16": lambda: ours(config.replace(precision="bfloat16")),
        "plain TF1 script": lambda: plain_tf1.make_step(config),
        "plain TF1 script, bfloat16": lambda: plain_tf1.make_step(config, bfloat16=True),
        "PyTorch eager": lambda: torch_eager.make_step(config),
        "PyTorch channels-last": lambda: torch_eager.make_step(config, channels_last=True),
        "PyTorch compiled": lambda: torch_eager.make_step(config, compiled=True),
        "Keras and tf.function": lambda: keras_step.make_step(config),
    }
    return {name: make() for name, make in makers.items() if "bfloat16" in precisions or "bfloat16" not in name}


def multiply_adds(config: Config) -> int:
    """Multiply-adds of a step as the direct sums over all taps take them, whoever takes fewer.

    A generator update takes three times G's forward pass (forward, gradient of inputs, gradient of kernels; the first
    forward pass serves D too) and twice D's; the discriminator's update takes twice three times D's.
    """
    first, *others = config.g_channels
    size, depth, generator = 4, first, config.z_dim * 16 * first
    for channels in others:
        generator += size**2 * 25 * depth * channels
        size, depth = 2 * size, channels
    generator += size**2 * config.output_kernel**2 * depth
    size, depth, discriminator = 32, 1, 0
    for channels in config.d_channels:
        size //= 2
        discriminator += size**2 * 16 * depth * channels
        depth = channels
    discriminator += size**2 * depth
    return config.batch_size * (3 * config.g_steps * generator + (6 + 2 * config.g_steps) * discriminator)


def matmul_peak(precision: str, size: int = 2048) -> float:
    """Multiply-adds a second of one large matrix product, the best of ten."""
    kind = tf.bfloat16 if precision == "bfloat16" else tf.float32
    x = tf.cast(tf.random.stateless_normal([size, size], [0, 0]), kind)
    product = tf.function(lambda: tf.reduce_sum(x @ x))
    best = min(_seconds(lambda: product().numpy()) for _ in range(11))
    return size**3 / best


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def first_step() -> float:
    """Seconds from `python run.py` in a fresh process to the end of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"--dataset digits --iterations 2 --checkpoint_every 1 --out_dir {folder}".split()
        begin = time.perf_counter()
        command = [sys.executable, str(HERE.parent / "run.py"), *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("committed 1"):
                    seconds = time.perf_counter() - begin
    return seconds


def long_run(iterations: int) -> dict[str, float]:
    """What a run of the default command spends outside `sess.run`, and what becomes of its speed and memory."""
    inside, moments, commits, snapshots, memory = [], [], [], [], {}
    make_callable = tf.compat.v1.Session.make_callable

    def timed_callable(self, *arguments):
        call = make_callable(self, *arguments)

        def timed(*inputs):
            begin = time.perf_counter()
            result = call(*inputs)
            moments.append(time.perf_counter())
            inside.append(moments[-1] - begin)
            if len(inside) in (100, iterations):
                memory[len(inside)] = _memory("VmRSS")
            return result

        return timed

    def timed(function, times):
        def call(*arguments, **named):
            begin = time.perf_counter()
            result = function(*arguments, **named)
            times.append(time.perf_counter() - begin)
            return result

        return call

    originals = checkpoint.commit, images.save_png
    tf.compat.v1.Session.make_callable = timed_callable
    checkpoint.commit, images.save_png = timed(originals[0], commits), timed(originals[1], snapshots)
    try:
        with tempfile.TemporaryDirectory() as folder:
            cli.main(["--dataset", "digits", "--iterations", str(iterations), "--out_dir", folder])
    finally:
        tf.compat.v1.Session.make_callable = make_callable
        checkpoint.commit, images.save_png = originals
    wall = moments[-1] - moments[0]
    saving = sum(commits[1:-1]) + sum(snapshots[2:-1])  # the first and last lie outside the steps
    return {
        "iterations": iterations,
        "outside_sess_run_percent": 100 * (wall - sum(inside[1:]) - saving) / wall,
        "commits_and_snapshots_percent": 100 * saving / wall,
        "ms_early": 1e3 * float(np.median(inside[50:150])),
        "ms_late": 1e3 * float(np.median(inside[-100:])),
        "mib_at_step_100": memory[100],
        "mib_at_the_end": memory[iterations],
    }


def peak_memory(config: Config) -> float:
    """MiB at most in a fresh process that trains 20 steps."""
    code = (
        "import sys; from dcgan_tf1 import cli; import tempfile\n"
        "with tempfile.TemporaryDirectory() as d:\n"
        f"  cli.main(['--preset', '{config.preset}', '--dataset', 'digits', '--iterations', '20', '--out_dir', d])\n"
        "print(open('/proc/self/status').read())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent).stdout
    return int(re.search(r"VmHWM:\s+(\d+)", output)[1]) / 1024


def _memory(field: str) -> float:
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def chart(results: dict, path: Path) -> None:
    """Bars of milliseconds a step, a panel a preset."""
    figure, panels = plt.subplots(1, len(results), figsize=(11, 3.4), layout="constrained")
    for axes, (preset, times) in zip(panels, results.items(), strict=True):
        names = sorted(times, key=times.get, reverse=True)
        colours = ["#4477aa" if name.startswith("dcgan-tf1") else "#bbbbbb" for name in names]
        bars = axes.barh(names, [times[name] for name in names], color=colours)
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.set_title(f"{preset} preset, batch {Config(preset=preset).batch_size}: ms a step", fontsize=10)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.xaxis.set_visible(False)
        axes.set_xlim(0, 1.12 * max(times.values()))
    figure.savefig(path, dpi=150)


def other_measurements(rounds: int) -> dict:
    """What else is measured: batch sizes, the time to the first step, and memory."""
    print("\ndefault preset against batch size, ms a step (images/s)")
    report: dict = {"batch_size": {}}
    for size in (16, 32, 64, 128, 256, 512, 1024):
        config = Config(batch_size=size, precision="float32")
        ms = medians({"": ours(config)}, config, rounds)[""]
        report["batch_size"][size] = ms
        print(f"{size:6} {ms:8.1f} ({1e3 * size / ms:.0f})")

    report["seconds_to_first_step"] = float(np.median([first_step() for _ in range(3)]))
    report["peak_mib"] = {preset: peak_memory(Config(preset=preset)) for preset in RECIPES}
    print(f"\nfrom `python run.py` to the first step: {report['seconds_to_first_step']:.1f} s")
    print(f"peak memory, MiB: {report['peak_mib']}")
    return report


def main() -> None:
    """Measure, print, and write step.json and step.png."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (default: 7)")
    parser.add_argument("--long", type=int, default=10_000, help="steps of the long run; 0 for none (default: 10000)")
    parser.add_argument("--isa", choices=INSTRUCTION_SETS, help="what all programs compute with, as on an older CPU")
    options = parser.parse_args()
    settings = INSTRUCTION_SETS.get(options.isa, {})
    if settings.items() - os.environ.items():  # the libraries look at them when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})
    machine = checkpoint.machine_record()
    print(f"{machine['cpu']}, {machine['cores']} cores, TensorFlow {machine['tensorflow']}")
    report = {"machine": machine, "rounds": options.rounds, "ms_per_step": {}}

    # TensorFlow asks the processor for bfloat16, and not the library that has been told to do without.
    precisions = ("float32",) if options.isa else ("float32", "bfloat16")
    if options.long and not options.isa:  # first, while this process holds nothing else
        report["long_run"] = long_run(options.long)
        print(report["long_run"])
    peaks = {precision: matmul_peak(precision) for precision in precisions}
    report["matmul_gflops"] = {name: 2 * peak / 1e9 for name, peak in peaks.items()}
    for preset in RECIPES:
        config = Config(preset=preset)
        times = medians(contenders(config, precisions), config, options.rounds)
        report["ms_per_step"][preset] = times
        count = multiply_adds(config)
        print(f"\n{preset} preset, batch {config.batch_size}: {2 * count / 1e9:.1f} GFLOP a step by direct sums")
        ratios = "".join(f"{f'times {precision}':>15}" for precision in precisions)
        print(f"{'':28}{'ms/step':>9}{'images/s':>10}{ratios}{'of peak':>9}")
        for name, ms in times.items():
            peak = peaks["bfloat16" if "bfloat16" in name else "float32"]
            ratios = "".join(f"{ms / times[f'dcgan-tf1 {kind}']:15.2f}" for kind in peaks)
            print(f"{name:28}{ms:9.1f}{1e3 * config.batch_size / ms:10.0f}{ratios}{1e3 * count / ms / peak:9.0%}")

    if not options.isa:
        report |= other_measurements(options.rounds)
    name = "-".join(["step", *filter(None, [options.isa])])
    (HERE / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    chart(report["ms_per_step"], HERE / f"{name}.png")


if __name__ == "__main__":
    main()
