"""`run.py evaluate`: how good a GAN's digits are."""

from pathlib import Path

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import LARGEST_SEED, WeightsChoice, choice, integer, option, text, weights_options
from dcgan_tf1.errors import DataError


@click.command
@option("--num_digits", integer(100, 50_000), "how many digits to draw", default=10_000)
@option("--seed", integer(0, LARGEST_SEED), "seed of the digits", default=0)
@option("--data_dir", text("DIR"), "folder of MNIST's files (default: the run's)")
@option("--classifier", choice(("a", "b")), "classifier in whose features digits are compared", default="a")
@option("--log_dir", text("DIR"), "folder to write to (default: OUT_DIR/logs)")
@weights_options
def evaluate(
    choice: WeightsChoice, num_digits: int, seed: int, data_dir: str | None, classifier: str, log_dir: str | None
) -> int:
    """Measure a checkpoint's digits against MNIST's test digits."""
    source = choice.find()
    if source.dataset["name"] != "mnist":
        raise DataError(
            f"--checkpoint: trained on {source.dataset['name']}, expected mnist, which has digits to test on"
        )

    from dcgan_tf1.data import sources

    folder = source.config.data_dir if data_dir is None else data_dir
    train, test = (sources.load("mnist", folder, split) for split in ("train", "test"))

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.sampling import evaluation

    logs = Path(log_dir) if log_dir else choice.folders.logs
    evaluation.evaluate(source, train, test, logs, count=num_digits, seed=seed, classifier_name=classifier)
    return 0
