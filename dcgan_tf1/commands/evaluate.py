"""`run.py evaluate`: how good a GAN's digits are."""

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import WeightsChoice, choice, integer, option, switch, text, weights_options
from dcgan_tf1.config import LARGEST_SEED, Folders
from dcgan_tf1.errors import DataError, one_line


@click.command
@option("--num_digits", integer(100, 50_000), "how many digits to generate", default=10_000)
@option("--seed", integer(0, LARGEST_SEED), "seed of the digits", default=0)
@option("--data_dir", text("DIR"), "folder of MNIST's files", shown="the run's")
@option("--dataset", text("PATH"), "data set that the GAN was trained on", shown="the run's")
@option("--classifier", choice(("a", "b")), "classifier in whose features MNIST's digits are compared", default="a")
@switch("--cas", "also train classifiers on generated digits and on real ones, and compare them on test digits")
@option("--log_dir", text("DIR"), "folder to write to", shown="OUT_DIR/logs")
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
    """Measure how good the digits of a GAN are.

    They are compared with real ones: the test split of its data set, or else a fifth of it.
    """
    source = choice.find()

    from dcgan_tf1.data import sources
    from dcgan_tf1.data.readers import shorten
    from dcgan_tf1.files import made_folders

    given = {"data_dir": data_dir, "dataset": dataset}
    config = source.config.replace(**{name: value for name, value in given.items() if value is not None})
    recorded = "" if data_dir or dataset else "the run of these weights"
    train, test = (sources.load_for(config, split, recorded=recorded) for split in ("train", "test"))
    if train.digest != source.dataset["digest"]:
        found, expected = f"{shorten(train.name)} ({train.digest[:12]})", shorten(source.dataset["name"])
        expected = f"{expected} ({source.dataset['digest'][:12]}), which these weights were trained on"
        raise DataError(one_line(f"--dataset: found {found}, expected {expected}"))
    record = train.record(source.config.conditional)
    if any(record.get(what) != source.dataset.get(what) for what in ("classes", "labels_digest")):
        raise DataError(f"--dataset: found other labels in {shorten(train.name)}, expected those of the weights")
    if cas and not source.config.conditional and (not train.is_mnist or train.labels is None):
        fault = f"found unconditional weights of {shorten(train.name)}, expected mnist's or conditional ones"
        raise DataError(one_line(f"--cas: {fault}"))

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.sampling import evaluation

    logs = Folders.of(choice.out_dir or ".", log_dir=log_dir).logs
    with made_folders(logs):
        evaluation.evaluate(source, train, test, logs, num_digits, seed, classifier, cas)
    return 0
