"""`run.py compare`: models trained for the same time, side by side."""

from pathlib import Path

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import Kind, integer, number, option, text
from dcgan_tf1.config import LARGEST_SEED, MODELS, PRESETS, Config
from dcgan_tf1.errors import SIGNAL_BASE

_COMPARED = "reference,dcgan32,dcgan28,mlp"
_MOST_MODELS = 8
_CONDITIONAL = "-conditional"  # the end of the name of a conditional model


def _read_models(value: str) -> tuple[str, ...]:
    names = tuple(value.split(","))
    known = {*PRESETS, *MODELS}.issuperset(name.removesuffix(_CONDITIONAL) for name in names)
    if len(names) > _MOST_MODELS or len(set(names)) < len(names) or not known:
        raise ValueError
    return names


def _config(name: str, seed: int, data_dir: str) -> Config:
    """The settings of the model `name`. Its rates do not fall, since nobody knows how many steps fit into the time."""
    recipe = name.removesuffix(_CONDITIONAL)
    kind = "preset" if recipe in PRESETS else "model"
    settings = {kind: recipe, "conditional": recipe != name, "lr_decay": "none", "seed": seed}
    return Config(**settings, dataset="mnist", data_dir=data_dir)


_NAMES = ", ".join([*PRESETS, *MODELS])
_models = Kind(_read_models, "NAME,...", f"up to {_MOST_MODELS} of {_NAMES}, each once, or as NAME{_CONDITIONAL}")
_help = f"presets and families, comma-separated, of {_NAMES}; NAME{_CONDITIONAL} generates by class"


@click.command
@option("--models", _models, _help, default=_COMPARED)
@option("--minutes", number(0.01, 100_000), "minutes of training for each model", default=5)
@option("--num_digits", integer(100, 50_000), "how many digits to generate for each measurement", default=10_000)
@option("--seed", integer(0, LARGEST_SEED), "seed of training and of the measured digits", default=0)
@option("--data_dir", text("DIR"), "folder of MNIST's files")
@option("--out_dir", text("DIR"), "folder of compare.png and of the runs", default="compare")
def compare(
    models: tuple[str, ...], minutes: float, num_digits: int, seed: int, data_dir: str | None, out_dir: str
) -> int:
    """Train models for the same time, measure them, and show them."""
    configs = {name: _config(name, seed, data_dir or "") for name in models}

    from dcgan_tf1.data import sources
    from dcgan_tf1.files import made_folders
    from dcgan_tf1.runs import checkpoint

    out = Path(out_dir)
    with made_folders(out), checkpoint.lock(out):
        checkpoint.clean(out)
        train, test = (sources.load("mnist", data_dir or "", split) for split in ("train", "test"))

        tensorflow_import.import_tensorflow()
        from dcgan_tf1.commands import comparison

        number = comparison.compare(configs, out, train, test, minutes, num_digits, seed)
        return SIGNAL_BASE + number if number else 0
