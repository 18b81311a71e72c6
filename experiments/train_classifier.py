"""Train one of the classifiers that come with the package, write its weights, and print its accuracies and its sha256.

    python experiments/train_classifier.py --data_dir DIR

It is trained on MNIST's first 55,000 training digits. All choices were made on the 5,000 training digits after those;
MNIST's test digits were only ever measured. The sha256 belongs into `quality.classifier.KINDS`.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from dcgan_tf1.data import sources  # noqa: E402
from dcgan_tf1.errors import DcganError  # noqa: E402
from dcgan_tf1.files import write_whole  # noqa: E402
from dcgan_tf1.quality.classifier import KINDS, Classifier  # noqa: E402
from dcgan_tf1.quality.train_classifier import EPOCHS, fit  # noqa: E402

HELD_OUT = 5000


def main() -> None:
    """Train a classifier and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--name", default="a", choices=tuple(KINDS), help="which classifier (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file to write (default: the package's own)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the digits (default: %(default)s)")
    flags = parser.parse_args()
    kind = KINDS[flags.name]
    train, test = (sources.load("mnist", flags.data_dir, split) for split in ("train", "test"))
    labels = train.indices_of(train)
    fitted, held_out = slice(-HELD_OUT), slice(-HELD_OUT, None)
    weights = fit(kind, train.images[fitted], labels[fitted], flags.epochs)
    with Classifier.open(kind, weights) as classifier:
        print(f"fitted   {classifier.accuracy(train.images[fitted], labels[fitted]):.2%}")
        print(f"held out {classifier.accuracy(train.images[held_out], labels[held_out]):.2%}")
        print(f"test     {classifier.accuracy(test.images, train.indices_of(test)):.2%}")
    path = flags.out or kind.path
    write_whole(path, lambda file: np.savez_compressed(file, **weights))
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    try:
        main()
    except DcganError as error:
        sys.exit(f"error: {error}")
