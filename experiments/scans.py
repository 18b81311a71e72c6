"""scikit-learn's 1,797 scans of digits as a folder of pictures, and how well a GAN of them does what it is asked for.

    python experiments/scans.py save FOLDER  # PNG files in folders 0 to 9: the images of --dataset digits
    python experiments/scans.py save FOLDER --photographs  # large, dark on white, PNG and JPEG, in folders zero to nine
    python experiments/scans.py judge RUN  # the share of its digits that are read as the class asked for

The judge is a classifier that is trained on four fifths of the scans and tested on the last fifth.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dcgan_tf1  # noqa: E402
from dcgan_tf1.data import sources  # noqa: E402

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
OF_EACH_CLASS = 1000


def save(folder, photographs):
    """Write a picture for each scan to the folder of its class."""
    digits = sources.load("digits", "")
    for i, (scan, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
        path = folder / (NAMES[label] if photographs else str(label)) / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(scan)
        if photographs:
            picture = Image.fromarray(255 - scan).resize((224, 224), Image.Resampling.BICUBIC)
        picture.save(path.with_suffix(".jpg") if photographs and i % 2 else path)


def judge(run):
    """Print the share of the digits of `run`, 1,000 of each class, that are read as the class asked for."""
    from dcgan_tf1.pictures import images
    from dcgan_tf1.quality.classifier import SIDE
    from dcgan_tf1.quality.judging import hold_out, part
    from dcgan_tf1.quality.train_classifier import open_fitted

    digits = sources.load("digits", "")
    rest, held_out = (part(digits, indices) for indices in hold_out(digits))
    with open_fitted(rest) as classifier, dcgan_tf1.load(run) as gan:
        accuracy = classifier.accuracy(held_out.images, held_out.labels)
        print(f"the classifier reads {accuracy:.2%} of the {len(held_out.images)} scans that were held out")
        generated = [images.fit(gan.sample(OF_EACH_CLASS, name, seed=0), SIDE) for name in gan.classes]
        # Names sort as text, and so are not in the order of the digits.
        meant = [NAMES.index(name) if name in NAMES else int(name) for name in gan.classes]
        shares = [
            classifier.accuracy(each, np.full(OF_EACH_CLASS, digit))
            for each, digit in zip(generated, meant, strict=True)
        ]
    for name, share in zip(gan.classes, shares, strict=True):
        print(f"{name}: {share:.1%}")
    print(f"read as the class asked for: {np.mean(shares):.2%} of {OF_EACH_CLASS * len(shares)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save")
    saving.add_argument("folder", type=Path)
    saving.add_argument("--photographs", action="store_true")
    commands.add_parser("judge").add_argument("run", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "save":
        save(arguments.folder, arguments.photographs)
    else:
        judge(arguments.run)


if __name__ == "__main__":
    main()
