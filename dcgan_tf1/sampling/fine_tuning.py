"""What a new run takes over from the weights that `--init_from` names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_tf1.config import PRESETS, Config
from dcgan_tf1.data.sources import Dataset
from dcgan_tf1.errors import CheckpointError, one_line
from dcgan_tf1.runs.weights import SHIPPED_SHA256, WeightsSource, describe, find_weights, read_weights

# The settings that say which networks there are, and what G is fed with.
_OF_NETWORKS = (
    *("model", "conditional", "channels", "z_dim", "z_distribution"),
    *("g_channels", "d_channels", "g_batch_norm", "output_kernel"),
)


def absolute(path: str) -> str:
    """A path that holds from any working directory; the names of weights that ship stay as they are."""
    return path if path in SHIPPED_SHA256 and not os.path.exists(path) else os.path.abspath(path)


def find_start(path: str) -> WeightsSource:
    """The weights that `--init_from` names, told in a line. Raises CheckpointError if there are none."""
    start = find_weights(Path(path), None, lambda line: print(one_line(f"warning: {line}")), "--init_from")
    print(one_line(describe(start)))
    return start


def config_for(start: WeightsSource, given: Mapping[str, Any]) -> Config:
    """The settings of a new run that starts from `start`: what is `given`, and for the networks what the weights have.

    Raises CheckpointError: a setting that is given, or that a given preset has, is another one than the weights have.
    """
    networks = {name: getattr(start.config, name) for name in _OF_NETWORKS}
    asked = {**networks, **PRESETS[given.get("preset", "default")], **given}
    for name, expected in networks.items():
        if asked[name] != expected:
            fault = f"--{name}: found {asked[name]}, expected {expected}"
            raise CheckpointError(f"{fault}, which the weights of --init_from have")
    return Config(**{**networks, **given})


def read_start(start: WeightsSource, config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """The weights of `start` for a run of `config` on `dataset`, by the name of the variable.

    Raises CheckpointError: they know another number of classes, or cannot be read.
    """
    if config.conditional:
        found, expected = len(dataset.classes().names), len(start.dataset["classes"])
        if found != expected:
            fault = f"--dataset: found {found} classes, expected {expected}"
            raise CheckpointError(f"{fault}, which the weights of --init_from know")
    arrays = read_weights(start).arrays
    if not any(name.startswith("discriminator/") for name in arrays):
        print("note: the weights of --init_from hold no discriminator: it starts fresh")
    return arrays
