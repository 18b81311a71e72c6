"""`run.py train`, or just `run.py`: train a GAN, or go on with its training."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import Kind, folder_options, text
from dcgan_tf1.config import Config, Folders
from dcgan_tf1.errors import SIGNAL_BASE, one_line
from dcgan_tf1.tf_config import Task, read_task

_BRIGHT = 0.5
"""From this mean grey of the borders on, from 0 to 1, the background is taken to be white."""


def _config_options(command: Callable) -> Callable:
    """An option for each field of Config. An option that is not given is None, so that a run keeps its value."""
    for field in reversed(dataclasses.fields(Config)):
        command = _config_option(field)(command)
    return command


def _config_option(field: dataclasses.Field) -> Callable:
    help, default = field.metadata["help"], field.default
    if field.type is bool:
        return click.option(f"--{field.name}/--no-{field.name}", default=None, help=help)
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    shown = help if default == "" else f"{help} (default: {default})"
    return click.option(f"--{field.name}", type=_kind(field), help=shown)


def _kind(field: dataclasses.Field) -> Kind:
    """How the option of `field` is read. Which values the field may have is checked by Config."""
    choices = field.metadata["choices"]
    if choices and field.type is str:
        return text("{" + ",".join(choices) + "}")
    if field.metadata["length"]:
        return Kind("N,N,...", "integers, comma-separated", lambda value: tuple(map(int, value.split(","))))
    if field.type is int:
        return Kind("{" + ",".join(map(str, choices)) + "}" if choices else "N", "an integer", int)
    if field.type is float:
        return Kind("X", "a number", float)
    return text("TEXT")


@click.command
@_config_options
@folder_options("out_dir", "sample_dir", "checkpoint_dir", "log_dir")
def train(folders: Folders, **settings: Any) -> int:
    """Train a GAN, or go on with its training."""
    given = {name: value for name, value in settings.items() if value is not None}
    config = Config(**given)
    if config.init_from:  # a resume finds the same, from any working directory
        from dcgan_tf1.sampling.fine_tuning import absolute

        given["init_from"] = absolute(config.init_from)
    task = read_task()
    if task:
        return _train_together(task, folders, config, given)

    from dcgan_tf1.data import sources
    from dcgan_tf1.runs.folder import open_run, with_dataset

    with open_run(folders, config, given) as run:
        if run.start and run.finished:
            done, wanted = run.start.step, run.config.iterations
            print(f"already trained: step {done} of {wanted}; give a higher --iterations to go on")
            return 0
        start = None
        if config.init_from and not run.start:
            from dcgan_tf1.sampling import fine_tuning

            start = fine_tuning.find_start(given["init_from"])
            run = run._replace(config=fine_tuning.config_for(start, given))
        dataset = sources.load_for(run.config)
        run = with_dataset(run, dataset)
        print(one_line(f"data: {dataset.name}, {len(dataset.images)} images"))
        if run.config.channels == 1 and not run.config.invert and sources.bright_border(dataset.images) > _BRIGHT:
            print("note: the borders of the images are bright; for dark ink on white paper, start with --invert")

        tensorflow_import.import_tensorflow()
        from dcgan_tf1.training import trainer

        initial = fine_tuning.read_start(start, run.config, dataset) if start else None
        number = trainer.train(run, dataset, initial=initial)
        return SIGNAL_BASE + number if number else 0


def _train_together(task: Task, folders: Folders, config: Config, given: dict[str, Any]) -> int:
    """Be one of the workers that train a run together. The first one, the chief, alone holds the run and writes to it.

    Raises:
        UsageError: the workers are no cluster, or were started with different flags or data, or another program.
    """
    from dcgan_tf1.data import sources
    from dcgan_tf1.runs.folder import Run, began_at, open_run, with_dataset
    from dcgan_tf1.sampling import fine_tuning

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.training import trainer
    from dcgan_tf1.training.cluster import Cluster, versions

    with contextlib.ExitStack() as stack:
        run = stack.enter_context(open_run(folders, config, given)) if task.worker == 0 else Run(folders, config, None)
        start = None
        if config.init_from and task.worker == 0 and not run.start:
            start = fine_tuning.find_start(given["init_from"])
            run = run._replace(config=fine_tuning.config_for(start, given))
        run = trainer.with_precision(run)
        cluster = stack.enter_context(Cluster(task))
        print(f"worker {cluster.index} of {cluster.count}, at {task.addresses[task.worker]}")
        flags = {
            f"--{name}": value for name, value in given.items() if name not in ("dataset", "data_dir", "init_from")
        }
        same = {**versions(), "TF_CONFIG": list(task.addresses), **flags}
        step = run.start.step if run.start else None
        told = cluster.agree(same, {"config": run.config.to_json(), "step": step})
        if not cluster.chief:
            chosen = {**told["config"], "dataset": config.dataset, "data_dir": config.data_dir}
            run = began_at(told["step"], folders, Config.from_json(chosen))
        cluster.own_config(run.config)
        if run.finished:
            print(
                f"already trained: step {told['step']} of {run.config.iterations}; give a higher --iterations to go on"
            )
            return 0
        dataset = sources.load_for(run.config)
        run = with_dataset(run, dataset) if cluster.chief else run
        record = dataset.record(run.config.conditional)
        cluster.agree({"--dataset": record["digest"], "labels of --dataset": record.get("labels_digest")})
        print(one_line(f"data: {dataset.name}, {len(dataset.images)} images"), flush=True)
        initial = fine_tuning.read_start(start, run.config, dataset) if start else None
        number = trainer.train(run, dataset, initial=initial, cluster=cluster)
        return SIGNAL_BASE + number if number else 0


def read_config(flags: Sequence[str]) -> Config:
    """The settings of a new run that `flags`, those of `run.py train`, describe. Flags of folders are passed over.

    Raises:
        UsageError: a value is wrong.
        click.ClickException: there is no such flag.
    """
    values = train.make_context("train", list(flags)).params
    names = {field.name for field in dataclasses.fields(Config)}
    return Config(**{name: value for name, value in values.items() if name in names and value is not None})
