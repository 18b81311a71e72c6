"""Train on few pictures: with augmentation, from weights of MNIST, with both, and with neither.

    python experiments/few.py --data_dir DIR --out_dir few

200 of scikit-learn's scans are saved as PNG files, and every GAN is trained on that folder by `run.py train`. It is
measured by the Frechet distance between 5,000 of its digits and the 1,597 scans that were held out, in the features of
the frozen classifier of MNIST's digits. A trial that is in `--out_dir` already is trained no further than it has to be.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dcgan_tf1.cli import main as run  # noqa: E402
from dcgan_tf1.data import draws, sources  # noqa: E402
from dcgan_tf1.pictures import images  # noqa: E402
from dcgan_tf1.quality.classifier import SIDE, Classifier  # noqa: E402
from dcgan_tf1.quality.scorer import Scorer  # noqa: E402
from dcgan_tf1.runs import checkpoint, weights  # noqa: E402
from dcgan_tf1.sampling.trained_gan import TrainedGan  # noqa: E402

DIGITS = 5000
EVERY = 250


def train(out, *flags):
    """Train a run in `out`, as far as that has not been done."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "train.log").open("a") as log, contextlib.redirect_stdout(log):
        code = run([*map(str, flags), "--out_dir", str(out)])
    if code:
        sys.exit(f"{out}: exit code {code}; see train.log")


def distances(out, scorer, steps):
    """The distance of the digits of each of `steps`."""
    found = []
    for step in steps:
        with TrainedGan(weights.read_weights(checkpoint.load(out / "checkpoints", step))) as gan:
            found.append(scorer.distance(images.fit(gan.sample(DIGITS, seed=0), SIDE)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder of MNIST's files")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mnist_steps", type=int, default=3000, help="training of the weights to start from")
    parser.add_argument("--out_dir", type=Path, default=Path("few"))
    arguments = parser.parse_args()
    out = arguments.out_dir

    scans = sources.load("digits", "").images
    order = draws.batch_indices(len(scans), len(scans), 0, 0)
    few, held_out = scans[order[: arguments.pictures]], scans[order[arguments.pictures :]]
    folder = out / "pictures"
    if not folder.exists():
        folder.mkdir(parents=True)
        for i, scan in enumerate(few):
            images.save_png(folder / f"{i:04d}.png", scan)
    mnist = out / "mnist"
    train(mnist, "--dataset", "mnist", "--data_dir", arguments.data_dir, "--iterations", arguments.mnist_steps)

    steps = range(EVERY, arguments.steps + 1, EVERY)
    ways = {"neither": [], "augment": ["--augment"], "init_from": ["--init_from", mnist]}
    ways["both"] = ways["augment"] + ways["init_from"]
    with Classifier.load() as classifier:
        scorer = Scorer(classifier, held_out)
        before = distances(mnist, scorer, [arguments.mnist_steps])[0]
        print(f"The {len(few)} pictures: {scorer.distance(few):.3f}. The weights of MNIST: {before:.3f}.\n")
        print(f"| way | seed | {' | '.join(map(str, steps))} |\n|---|--:|{'--:|' * len(steps)}", flush=True)
        for seed in range(arguments.seeds):
            for way, flags in ways.items():
                run_out = out / f"{way}-{seed}"
                flags = [*flags, "--dataset", folder, "--seed", seed, "--iterations", arguments.steps]
                train(run_out, *flags, "--checkpoint_every", EVERY, "--max_to_keep", 1000)
                row = [f"{each:.3f}" for each in distances(run_out, scorer, steps)]
                print(f"| {way} | {seed} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
