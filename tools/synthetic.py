"""Measure how well a classifier learns real digits from drawn ones.

It is trained on drawn digits, and on as many real ones, and tested on MNIST's test digits.

    python tools/synthetic.py --data_dir MNIST --num_digits 20000

The labels of the drawn digits are the frozen classifier's, so that no accuracy above its own can be reached.
"""

import argparse
import time

import numpy as np

from dcgan_tf1.data import draws, sources
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.quality.classifier import KINDS, SIDE, Classifier
from dcgan_tf1.quality.train_classifier import fit
from dcgan_tf1.sampling import weights
from dcgan_tf1.sampling.trained_gan import TrainedGan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--checkpoint", help="as run.py generate takes it (default: the run's, or the one that ships)")
    parser.add_argument("--num_digits", type=int, default=60_000, help="to train on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over them (default: %(default)s)")
    parser.add_argument(
        "--min_confidence", type=float, nargs="+", default=[MIN_CONFIDENCE], help="default: %(default)s"
    )
    flags = parser.parse_args()
    train, test = (sources.load("mnist", flags.data_dir, split) for split in ("train", "test"))
    chosen = draws.batch_indices(len(train.images), flags.num_digits, 0, 0)
    sets = {"real": (train.images[chosen], train.labels[chosen])}
    with TrainedGan(weights.read_weights(weights.find_weights(flags.checkpoint, None, print))) as gan:
        for least in flags.min_confidence:
            began = time.monotonic()
            kept = list(gan.select(flags.num_digits, 0, balanced=True, min_confidence=least))
            rate = flags.num_digits / (time.monotonic() - began)
            print(f"confidence {least}: kept {flags.num_digits} of {kept[-1].drawn} drawn, {rate:.0f} a second")
            digits = np.concatenate([each.digits for each in kept])
            sets[f"generated, confidence {least}"] = (
                images.fit(digits, SIDE),
                np.concatenate([each.labels for each in kept]),
            )
    for name, (digits, labels) in sets.items():
        fitted = fit(KINDS["b"], digits, labels, flags.epochs)
        with Classifier.open(KINDS["b"], fitted) as classifier:
            print(f"{name}: {classifier.accuracy(test.images, test.labels):.2%} of MNIST's test digits", flush=True)


if __name__ == "__main__":
    main()
