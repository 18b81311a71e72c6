"""A run on disk, opened for training: its folders are locked and cleaned, and its newest checkpoint is found."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dcgan_tf1.config import Config, Folders
from dcgan_tf1.data.readers import shorten
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.errors import CheckpointError, DataError, one_line
from dcgan_tf1.files import made_folders
from dcgan_tf1.runs import checkpoint


class Run(NamedTuple):
    """A run that this process holds."""

    folders: Folders
    config: Config  # the settings from here on
    start: checkpoint.Checkpoint | None  # the checkpoint that training goes on from; None: from scratch

    @property
    def finished(self) -> bool:
        """Whether the run has taken all the steps that its settings ask for."""
        return self.start is not None and self.start.step >= self.config.iterations


@contextlib.contextmanager
def open_run(
    folders: Folders, config: Config, given: Mapping[str, Any] | None = None, step: int | None = None
) -> Iterator[Run]:
    """Hold the run in `folders` for this process until the block ends.

    Folders that are missing are made, and go again where nothing is written to them. What a killed process left
    half-written is removed. A run that is there keeps its settings, except for those in `given`. Damaged checkpoints
    that are passed over are printed, and so are settings that change.

    Args:
        config: the settings of a new run.
        given: the settings that the user asked for, by name; None: all of `config`.
        step: the checkpoint to go on from, 0 for a fresh start; None: the newest.

    Raises:
        BusyError: another process holds the run.
        CheckpointError: the run has no good checkpoint left, or `given` changes what a run cannot change.
        OutputError: a folder cannot be written.
    """
    with made_folders(*folders), checkpoint.lock(folders.checkpoints):
        for folder in folders:
            checkpoint.clean(folder)
        if step is None:
            start = checkpoint.newest(folders.checkpoints, warn=lambda line: print(one_line(f"warning: {line}")))
        else:
            start = checkpoint.load(folders.checkpoints, step) if step else None
        if start is None:
            yield Run(folders, config, None)
            return
        given = dict(config.to_json() if given is None else given)
        if given.get("precision") == "auto":  # what a run began with is kept
            del given["precision"]
        if given.get("batch_size", 0) > start.dataset.get("images", math.inf):  # as `fit_batch` would
            given["batch_size"] = start.config.batch_size
        changed = _changed(start, given)
        run = Run(folders, start.config.replace(**given), start)
        for name in changed if not run.finished else ():
            print(f"{name}: {getattr(start.config, name)} until step {start.step}, {given[name]} from there")
        yield run


def _changed(start: checkpoint.Checkpoint, given: Mapping[str, Any]) -> list[str]:
    """The names of the settings in `given`, except for `iterations`, that differ from those of the checkpoint `start`.

    Raises CheckpointError if one of them is part of the run's identity.
    """
    changed = []
    for field in dataclasses.fields(Config):
        recorded = getattr(start.config, field.name)
        wanted = given.get(field.name, recorded)
        if field.name in ("dataset", "data_dir", "labels"):
            wanted = _absolute(wanted)
        if wanted != recorded and field.metadata["identity"]:
            found, trained = (f"'{value}'" if value == "" else value for value in (wanted, recorded))
            expected = f"expected {trained}, as {start.prefix.parent} was trained with; use another --out_dir"
            raise CheckpointError(f"--{field.name}: found {found}, {expected}")
        if wanted != recorded and field.name != "iterations":
            changed.append(field.name)
    return changed


def with_dataset(run: Run, dataset: Dataset) -> Run:
    """The same run with its data set recorded in the settings, so that a resume finds it from any working directory.

    Raises CheckpointError: the run was trained on other data; DataError: the images are too large, or have no labels
    that a conditional GAN can learn.
    """
    config, start = run.config, run.start
    record = dataset.record(config.conditional)
    for digest in ("digest", "labels_digest"):
        if start and start.dataset.get(digest) != record.get(digest):
            found, trained = (f"{each['name']} ({digest} {each.get(digest)!s:.12})" for each in (record, start.dataset))
            advice = "use another --out_dir"
            before, now = start.dataset.get("images", math.inf), record["images"]
            if before < now and start.dataset["name"] == record["name"]:
                found, trained = f"{now} images in {shorten(record['name'])}, which has grown", str(before)
                advice += ", with --init_from that folder to start from its weights"
            expected = f"expected {trained}, which {shorten(run.folders.checkpoints)} was trained on; {advice}"
            raise CheckpointError(f"--dataset: found {found}, {expected}")
    side = dataset.images.shape[1]
    if side > config.image_size:
        expected = f"{config.image_size}x{config.image_size}, which --model {config.model} makes"
        raise DataError(f"--dataset: found images of {side}x{side}, expected {expected}")
    name = dataset.name if config.dataset == "auto" else _absolute(config.dataset)
    paths = {"dataset": name, "data_dir": _absolute(config.data_dir), "labels": _absolute(config.labels)}
    return run._replace(config=config.replace(**paths))


def fit_batch(config: Config, count: int, workers: int = 1) -> Config:
    """The settings with a batch that `count` images can make, in equal shares for the workers.

    Raises DataError if there are fewer than two images for each of them.
    """
    if count < 2 * workers:
        expected = f"expected {2 * workers} at least; --grid ROWSxCOLUMNS cuts a sheet of many digits"
        raise DataError(f"--dataset: found {count} image{'s' * (count > 1)}, {expected}")
    return config.replace(batch_size=min(config.batch_size, count - count % workers))


def _absolute(path: str) -> str:
    """A path that holds from any working directory; names of data sets and the empty path stay as they are."""
    return str(Path(path).resolve()) if path and Path(path).exists() else path


def closer_early(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count - 1, the first and the last among them, closer together at first."""
    last, most = count - 1, min(most, count)
    return [max(i, round(last * (i / max(1, most - 1)) ** 2)) for i in range(most)]
