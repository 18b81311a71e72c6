"""`run.py train`, or just `run.py`: train a GAN, or go on with its training."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.data import describe
from dcgan_tf1.commands.options import config_options, folder_options, integer, option
from dcgan_tf1.config import Config, Folders
from dcgan_tf1.errors import SIGNAL_BASE, UsageError, one_line
from dcgan_tf1.tf_config import Task, read_task

if TYPE_CHECKING:
    from dcgan_tf1.data.sources import Dataset
    from dcgan_tf1.runs.folder import Run
    from dcgan_tf1.training.workers import Workers


@click.command
@config_options(*Config.__dataclass_fields__)
@option("--epochs", integer(1, 10**6), "passes over the images, in place of --iterations", shown="none")
@folder_options("out_dir", "sample_dir", "checkpoint_dir", "log_dir")
def train(folders: Folders, epochs: int | None, **settings: Any) -> int:
    """Train a GAN, or go on with its training."""
    given = {name: value for name, value in settings.items() if value is not None}
    if epochs and "iterations" in given:
        raise UsageError("--epochs: found with --iterations, expected one of the two")
    config = Config(**given)
    if config.init_from:  # a resume finds the same, from any working directory
        from dcgan_tf1.sampling.fine_tuning import absolute

        given["init_from"] = absolute(config.init_from)
    task = read_task()

    from dcgan_tf1.runs.folder import Run, open_run

    if task and task.worker:  # the first worker, the chief, alone holds the run and writes to it
        return _train(Run(folders, config, None), given, epochs, task)
    with open_run(folders, config, given) as run:
        if run.finished and not epochs and not task:  # other workers would have to be told
            return _say_finished(run)
        return _train(run, given, epochs, task)


def _train(run: "Run", given: dict[str, Any], epochs: int | None, task: Task | None) -> int:
    """Train `run`, alone or as one of the workers that train it together. Returns the exit code."""
    chief, start, workers = not (task and task.worker), None, None
    if run.config.init_from and not run.start and chief:
        from dcgan_tf1.sampling import fine_tuning

        start = fine_tuning.find_start(given["init_from"])
        run = run._replace(config=fine_tuning.config_for(start, given))
    with contextlib.ExitStack() as stack:
        if task:
            tensorflow_import.import_tensorflow()
            from dcgan_tf1.training.workers import Workers

            workers = stack.enter_context(Workers(task, run.config.worker_timeout))
            run = _agree(workers, task, run, given | {"epochs": epochs})
            if run.finished and not epochs:
                return _say_finished(run)
        run, dataset = _with_dataset(run, given, epochs, workers, chief)
        if run.finished:
            return _say_finished(run)

        tensorflow_import.import_tensorflow()
        from dcgan_tf1.training import loop

        initial = fine_tuning.read_start(start, run.config, dataset) if start else None
        number = loop.train(run, dataset, initial=initial, workers=workers)
        return SIGNAL_BASE + number if number else 0


def _with_dataset(
    run: "Run", given: dict[str, Any], epochs: int | None, workers: "Workers | None", chief: bool
) -> tuple["Run", "Dataset"]:
    """The run with the settings that depend on its data set, and the data set, which is told in a few lines."""
    from dcgan_tf1.data import sources
    from dcgan_tf1.runs.folder import fit_batch, with_dataset

    moved = run.start and chief and {"dataset", "data_dir"}.isdisjoint(given)
    recorded = str(run.folders.checkpoints) if moved else ""

    def load() -> sources.Dataset:
        return sources.load_for(run.config, recorded=recorded)

    dataset = workers.together(load) if workers else load()
    run = with_dataset(run, dataset) if chief else run
    if workers:
        record = dataset.record(run.config.conditional)
        workers.agree({"--dataset": record["digest"], "labels of --dataset": record.get("labels_digest")})
    for line in describe(dataset, run.config) if chief else ():
        print(one_line(line), flush=True)
    config, count = run.config, len(dataset.images)
    config = fit_batch(config, count, workers.count if workers else 1)
    if epochs:
        steps = count // config.batch_size
        config = config.replace(iterations=epochs * steps)
        print(f"epochs: {epochs} of {steps} steps, to step {config.iterations}")
    run = run._replace(config=config)
    if run.start and config.lr_decay == "linear" and not run.finished:
        end, planned = config.iterations, run.start.config.iterations
        if end != planned:
            print(f"learning rates: they fall to zero at step {end} now, and no longer at step {planned}")
    return run, dataset


def _agree(workers: "Workers", task: Task, run: "Run", given: dict[str, Any]) -> "Run":
    """The run that the chief has told the workers of, which must have the same program and flags."""
    from dcgan_tf1.runs.checkpoint import Checkpoint
    from dcgan_tf1.training import loop

    print(f"worker {workers.index} of {workers.count}, at {task.addresses[task.worker]}")
    run = loop.with_precision(run)
    flags = {f"--{name}": given[name] for name in given if name not in ("dataset", "data_dir", "labels", "init_from")}
    same = {**_program(), "TF_CONFIG": list(task.addresses), **flags}
    told = workers.agree(same, {"config": run.config.to_json(), "step": run.start.step if run.start else None})
    if not workers.chief:
        own = {name: getattr(run.config, name) for name in ("dataset", "data_dir", "labels")}
        config, step = Config.from_json(told["config"] | own), told["step"]
        start = None if step is None else Checkpoint(step, Path(), config, {}, {})  # of which it reads the step alone
        run = run._replace(config=config, start=start)
    workers.wait_for(run.config.worker_timeout)
    workers.check_batch(run.config)
    return run


def _program() -> dict[str, str]:
    """What of the program must be the same on all workers: versions, and the code itself."""
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return {
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "numpy")},
        "the program's code": digest.hexdigest(),
    }


def _say_finished(run: "Run") -> int:
    """Say that a run has nothing to do. Returns the exit code."""
    done = f"step {run.start.step if run.start else 0} of {run.config.iterations}"
    print(f"already trained: {done}; give a higher --iterations to go on")
    return 0


def read_config(flags: Sequence[str]) -> Config:
    """The settings of a new run that `flags`, those of `run.py train`, describe. Flags of folders are passed over.

    Raises:
        UsageError: a value is wrong.
        click.ClickException: there is no such flag.
    """
    values = train.make_context("train", list(flags)).params
    names = {field.name for field in dataclasses.fields(Config)}
    return Config(**{name: value for name, value in values.items() if name in names and value is not None})
