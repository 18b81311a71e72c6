"""Time how long training takes until the digits are good: `python benchmarks/race.py --data_dir MNIST`.

The clock starts with the process, and stops when 5,000 digits are first seen to be as near to MNIST's test digits as
asked. It counts the imports, the graph, the data, the steps, the snapshots and the commits: everything but the
measuring. The speed records of CIFAR-10 (https://github.com/KellerJordan/cifar10-airbench) are counted so too, except
that they leave out the start-up. The reference distance is that of 5,000 real training digits.

Each seed trains in a process of its own. Flags after `--` go to `run.py train`. The results go to race.json beside this
file, those of `--conditional` to race-conditional.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

CHILD = "--child"
"""The first argument of a process that trains one seed; the second one holds its settings."""
DIGITS = 5_000


class Clock:
    """Seconds since `start`, on the clock of time.time(), without the times at which it was paused."""

    def __init__(self, start: float) -> None:
        self._start, self._paused_at = start, 0.0

    @property
    def seconds(self) -> float:
        return time.time() - self._start

    def __enter__(self) -> None:
        self._paused_at = time.time()

    def __exit__(self, *_: object) -> None:
        self._start += time.time() - self._paused_at


def race(arguments: argparse.Namespace) -> dict:
    """Train one seed in this process until the digits are good enough, or the time is over."""
    clock, seed = Clock(arguments.start), arguments.seed
    import numpy as np

    from dcgan_tf1.tensorflow_import import import_tensorflow

    import_tensorflow()
    from dcgan_tf1.commands.train import read_config
    from dcgan_tf1.config import Folders
    from dcgan_tf1.data import draws, sources
    from dcgan_tf1.pictures import images
    from dcgan_tf1.quality.classifier import SIDE, Classifier
    from dcgan_tf1.quality.scorer import Scorer
    from dcgan_tf1.runs import checkpoint
    from dcgan_tf1.runs.folder import open_run, with_dataset
    from dcgan_tf1.training.loop import next_batch, open_training, with_precision
    from dcgan_tf1.training.recorder import Recorder

    flags = [*arguments.flags, "--seed", str(seed), "--dataset", "mnist", "--data_dir", arguments.data_dir]
    config = read_config(flags)
    points: list[dict] = []
    with ExitStack() as stack:
        folders = Folders.of(stack.enter_context(tempfile.TemporaryDirectory()))
        dataset = sources.load("mnist", arguments.data_dir)
        run = with_precision(with_dataset(stack.enter_context(open_run(folders, config)), dataset))
        classes = dataset.classes() if config.conditional else None
        training = stack.enter_context(open_training(run, dataset))
        training.initialize()
        machine = checkpoint.machine_record()
        recorder = stack.enter_context(Recorder(run, dataset, training.sample, training.save, machine))
        recorder.begin()
        step = 0
        with clock:
            classifier = stack.enter_context(Classifier.load(arguments.classifier))
            scorer = Scorer(classifier, sources.load("mnist", arguments.data_dir, "test").images)
            floor = scorer.distance(dataset.images[draws.batch_indices(len(dataset.images), DIGITS, 0, 0)])
            z = draws.latent(seed, draws.Stream.EVALUATE, 0, (DIGITS, config.z_dim), config.z_distribution)
            labels = classes.indices[:DIGITS].reshape(-1, draws.CHUNK) if classes else [None] * (DIGITS // draws.CHUNK)
            chunks = list(zip(z.reshape(-1, draws.CHUNK, config.z_dim), labels, strict=True))
        while not points or (points[-1]["over_floor"] > arguments.target and clock.seconds < arguments.limit):
            for _ in range(arguments.every):  # and what a run leaves behind, as often as one does
                logged = (step + 1) % config.log_every == 0
                _, metrics = training.step(next_batch(run.config, dataset, classes, step), measured=logged)
                step += 1
                if metrics is not None:
                    recorder.log(step, metrics)
                if step % config.sample_every == 0:
                    recorder.grid(step)
                if step % config.checkpoint_every == 0:
                    recorder.commit(step)
            with clock:
                digits = [training.sample(*chunk) for chunk in chunks]
                measured = scorer.measure(images.fit(np.concatenate(digits), SIDE))
            points.append(
                {
                    "step": step,
                    "seconds": clock.seconds,
                    "over_floor": measured["frechet_distance"] / floor,
                    "coverage": measured["coverage"],
                }
            )
        reached = points[-1]["over_floor"] <= arguments.target
    return {
        "seed": seed,
        "config": run.config.replace(data_dir="").to_json(),
        "floor": floor,
        "reached": reached,
        "points": points,
    }


def main() -> None:
    """Race every seed, print, and write race.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 0 (default: 5)")
    parser.add_argument("--target", type=float, default=4.0, help="distance over the reference distance (default: 4)")
    parser.add_argument("--every", type=int, default=100, help="steps between two measurements (default: 100)")
    parser.add_argument("--limit", type=float, default=600, help="seconds until a seed is given up (default: 600)")
    parser.add_argument("--classifier", default="a", help="classifier that measures (default: a)")
    parser.add_argument("flags", nargs="*", help="flags of run.py train, after --")
    arguments = parser.parse_args()

    results = []
    for seed in range(arguments.seeds):
        settings = {**vars(arguments), "seed": seed, "start": time.time()}
        child = subprocess.run([sys.executable, __file__, CHILD, json.dumps(settings)], capture_output=True, text=True)
        if child.returncode:
            raise SystemExit(child.stderr[-2000:])
        results.append(json.loads(child.stdout))
        last = results[-1]["points"][-1]
        how = "reached" if results[-1]["reached"] else "not reached"
        print(
            f"seed {seed}: {how} after {last['seconds']:.1f} s, {last['step']} steps, "
            f"{last['over_floor']:.2f} times the reference, coverage {last['coverage']:.3f}",
            flush=True,
        )
    summarise(results, arguments)


def summarise(results: list[dict], arguments: argparse.Namespace) -> None:
    """Print the median, the mean and the spread, and write the file of results."""
    import numpy as np

    from dcgan_tf1.runs import checkpoint

    seconds = np.array([result["points"][-1]["seconds"] for result in results])
    spread = seconds.std(ddof=1) if len(seconds) > 1 else 0.0
    print(
        f"{sum(result['reached'] for result in results)} of {len(results)} reached {arguments.target:g} times the "
        f"reference: median {np.median(seconds):.1f} s, mean {seconds.mean():.1f} s, deviation {spread:.1f} s, "
        f"slowest {seconds.max():.1f} s"
    )
    report = {"machine": checkpoint.machine_record(), "target": arguments.target, "results": results}
    name = "race-conditional.json" if results[0]["config"]["conditional"] else "race.json"
    (HERE / name).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.argv[1:2] == [CHILD]:
        with redirect_stdout(sys.stderr):
            outcome = race(argparse.Namespace(**json.loads(sys.argv[2])))
        print(json.dumps(outcome))
    else:
        main()
