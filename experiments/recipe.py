"""Try recipes: each is trained on MNIST's first 55,000 training digits, and measured on the 5,000 after those.

    python experiments/recipe.py --data_dir DIR --steps 4000 "" "lr_d=5e-4" "lr_g=2e-4 lr_d=2e-4"

The settings of a trial replace those of the default recipe; they are named as the flags of `run.py`. When a trial ends,
its row of a Markdown table is printed. A trial that is in `--out_dir` already is trained no further than it has to be.
MNIST's test digits are not looked at, so that what is chosen here can be reported on them.
"""

import argparse
import contextlib
import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dcgan_tf1.commands.train import read_config  # noqa: E402
from dcgan_tf1.config import Folders  # noqa: E402
from dcgan_tf1.data import sources  # noqa: E402
from dcgan_tf1.pictures import images  # noqa: E402
from dcgan_tf1.quality.classifier import SIDE, Classifier  # noqa: E402
from dcgan_tf1.quality.scorer import Scorer  # noqa: E402
from dcgan_tf1.runs import checkpoint, weights  # noqa: E402
from dcgan_tf1.runs.folder import open_run  # noqa: E402
from dcgan_tf1.sampling.trained_gan import TrainedGan  # noqa: E402
from dcgan_tf1.training.loop import train  # noqa: E402

HELD_OUT = 5000
DIGITS = 10_000


def trial(settings, config, dataset, scorer, out):
    """Train to `config.iterations`, as far as that has not been done, and return the row of the table."""
    folders = Folders.of(out)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (out / "train.log").open("a") as log, contextlib.redirect_stdout(log), open_run(folders, config) as run:
        steps = config.iterations - (run.start.step if run.start else 0)
        if steps > 0:
            train(run, dataset)
        rate = (time.monotonic() - began) / steps if steps > 0 else 0
        with TrainedGan(weights.read_weights(checkpoint.load(folders.checkpoints, config.iterations))) as gan:
            found = scorer.measure(images.fit(gan.sample(DIGITS, seed=0), SIDE))
    return (
        f"| {settings or 'default'} | {config.iterations} | {rate * config.iterations / 60:.1f} "
        f"| {found['frechet_distance']:.3f} | {found['coverage']:.3f} | {found['missing_classes']} "
        f"| {found['class_divergence']:.4f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="+", metavar="SETTINGS")
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out_dir", type=Path, default=Path("trials"))
    arguments = parser.parse_args()

    mnist = sources.load("mnist", arguments.data_dir)
    fitted = mnist.images[:-HELD_OUT]
    dataset = mnist._replace(name="mnist's first 55,000", images=fitted, digest=hashlib.sha256(fitted).hexdigest())
    with Classifier.load() as classifier:
        scorer = Scorer(classifier, mnist.images[-HELD_OUT:])
        reference = scorer.distance(fitted[np.random.default_rng(0).permutation(len(fitted))[:DIGITS]])
        print(f"The reference distance, of {DIGITS} of the digits trained on: {reference:.3f}\n")
        print("| settings | steps | minutes | distance | coverage | missing | KL |\n|---|--:|--:|--:|--:|--:|--:|")
        for settings in arguments.trials:
            flags = [f"--{setting}" for setting in settings.split()]
            config = read_config([*flags, "--iterations", str(arguments.steps)])
            out = arguments.out_dir / (settings.replace(" ", "_") or "default")
            print(trial(settings, config, dataset, scorer, out), flush=True)


if __name__ == "__main__":
    main()
