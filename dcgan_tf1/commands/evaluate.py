"""`run.py evaluate`: how good a GAN's digits are."""

from pathlib import Path

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import (
    LARGEST_SEED,
    WeightsChoice,
    choice,
    integer,
    option,
    switch,
    text,
    weights_options,
)
from dcgan_tf1.errors import DataError


@click.command
@option("--num_digits", integer(100, 50_000), "how many digits to draw", default=10_000)
@option("--seed", integer(0, LARGEST_SEED), "seed of the digits", default=0)
@option("--data_dir", text("DIR"), "folder of MNIST's files (default: the run's)")
@option("--dataset", text("PATH"), "data set that the GAN was trained on (default: the run's)")
@option("--classifier", choice(("a", "b")), "classifier in whose features MNIST's digits are compared", default="a")
@switch("--cas", "also train classifiers on drawn digits and on real ones, and compare them on test digits")
@option("--log_dir", text("DIR"), "folder to write to (default: OUT_DIR/logs)")
@weights_options
def evaluate(
    choice: WeightsChoice,
    num_digits: int,
    seed: int,
    data_dir: str | None,
    dataset: str | None,
    classifier: str,
    cas: bool,
    log_dir: str | None,
) -> int:
    """Measure a checkpoint's digits against the test digits of its data set."""
    source = choice.find()

    from dcgan_tf1.data import sources

    folder = source.config.data_dir if data_dir is None else data_dir
    name = source.config.dataset if dataset is None else dataset
    train, test = (sources.load(name, folder, split) for split in ("train", "test"))
    if train.digest != source.dataset["digest"]:
        raise DataError(
            f"--dataset: found {train.name} ({train.digest[:12]}), expected {source.dataset['name']} "
            f"({source.dataset['digest'][:12]}), which these weights were trained on"
        )
    if train.labels is None or test.labels is None or train.digest == test.digest:
        raise DataError(f"--dataset: found {train.name} without labels or without a test split, expected both")
    if cas and train.name != "mnist" and not source.config.conditional:
        raise DataError(f"--cas: found unconditional weights of {train.name}, expected mnist's or conditional ones")

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.sampling import evaluation

    logs = Path(log_dir) if log_dir else choice.folders.logs
    evaluation.evaluate(source, train, test, logs, num_digits, seed, classifier, cas)
    return 0
