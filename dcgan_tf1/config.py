"""What a run is: one frozen dataclass, its presets, its JSON, and the folders it writes to.

Each field of `Config` is defined once, here: its default, its range and its help line make the command-line
flag of the same name, the validation, and the record in every checkpoint.
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dcgan_tf1.errors import UsageError


class Family(NamedTuple):
    """A family of networks: a module of its name in `models/`, and what is known of it without TensorFlow."""

    image_size: int
    """Side of the images that it sees and draws, in pixels: 28, or 32, for which 28x28 data is padded by 2."""
    defaults: dict[str, Any]
    """Its settings, where they are not the defaults of Config's fields."""


_PLAIN: dict[str, Any] = {"ema_decay": 0.0, "d_noise": 0.0}
"""What the reproduced recipes share: none of what this project's own adds to them."""
_MLP = {
    **_PLAIN,
    "batch_size": 100,
    "lr_g": 1e-3,
    "lr_d": 2e-4,
    "beta1": 0.9,
    "z_dim": 64,
    "z_distribution": "normal",
    "g_channels": (25, 25),
    "d_channels": (25, 25),
}

MODELS: dict[str, Family] = {
    "dcgan32": Family(32, {}),
    "dcgan28": Family(
        28,
        {
            **_PLAIN,
            "batch_size": 256,
            "updates": "simultaneous",
            "lr_g": 1e-4,
            "lr_d": 1e-4,
            "beta1": 0.9,
            "z_distribution": "normal",
            "g_channels": (256, 128, 64),
            "d_channels": (64, 128),
        },
    ),
    "mlp": Family(28, _MLP),
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "reference": {
        **_PLAIN,
        "model": "dcgan32",
        "batch_size": 256,
        "g_steps": 2,
        "lr_g": 2e-4,
        "lr_d": 2e-4,
        "beta1": 5e-5,
        "g_channels": (256, 64, 32, 16),
        "d_channels": (16, 32, 64),
        "g_batch_norm": "first",
        "output_kernel": 32,
        "sample_grid": 6,
        "checkpoint_every": 5000,
    },
    "mlp256": {"model": "mlp", "beta1": 0.5, "g_channels": (256, 256), "d_channels": (256, 256)},
}

_BEFORE: dict[str, Any] = {"d_noise": 0.0}
"""Of settings that older records lack, what runs did before them, where that is not the default."""


def _option(
    default: Any, help: str, *, low=None, high=None, choices=None, length=None, identity=False, model=None
) -> Any:
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "length": length, "identity": identity}
    return dataclasses.field(default=default, metadata={**metadata, "model": model})


@dataclass(frozen=True)
class Config:
    """The settings of a training run. Every value is checked when the object is made.

    Fields marked `identity` cannot change over the life of a run: a resume with another value is refused.
    Fields marked with a `model` are settings of that family alone.

    Raises:
        UsageError: a value has the wrong type or lies outside its range.
    """

    preset: str = _option("default", "recipe that sets the defaults below", choices=PRESETS, identity=True)
    model: str = _option(
        "dcgan32",
        "family of networks, with defaults of its own: those below are of dcgan32",
        choices=MODELS,
        identity=True,
    )
    dataset: str = _option("auto", "auto, mnist, digits, or the PATH of an IDX or .npz file of uint8 images")
    data_dir: str = _option("", "folder of MNIST's four IDX files (.gz or not) or mnist.npz")
    iterations: int = _option(150_000, "steps to train to, in all", low=1, high=10**9)
    batch_size: int = _option(64, "images a step", low=2, high=8192)
    g_steps: int = _option(1, "generator updates a step", low=1, high=16)
    updates: str = _option(
        "alternating",
        "of a step: alternating (G learns from D as just updated) or simultaneous (both from the same weights)",
        choices=("alternating", "simultaneous"),
    )
    lr_g: float = _option(1e-3, "Adam's learning rate of the generator", low=1e-9, high=1)
    lr_d: float = _option(1e-3, "Adam's learning rate of the discriminator", low=1e-9, high=1)
    beta1: float = _option(0.5, "Adam's decay of the gradients' mean", low=0, high=0.9999)
    beta2: float = _option(0.999, "Adam's decay of the gradients' square", low=0, high=0.999999)
    ema_decay: float = _option(
        0.9999,
        "decay of the average of G's weights that samples are drawn with; 0: none",
        low=0,
        high=0.999999,
        identity=True,
    )
    d_noise: float = _option(
        0.4, "standard deviation of the noise that D sees on images, which are in [-1, 1]; 0: none", low=0, high=1
    )
    precision: str = _option(
        "float32", "of convolutions and matrix products; variables stay float32", choices=("float32", "bfloat16")
    )
    xla: bool = _option(False, "compile the graph with XLA (for GPUs; no gain was seen on CPUs)")
    seed: int = _option(0, "seed of weights, shuffling and noise", low=0, high=2**63 - 1, identity=True)
    z_dim: int = _option(100, "width of the latent vector", low=1, high=4096, identity=True)
    z_distribution: str = _option(
        "uniform", "of the latent vector: from -1 to 1, or standard", choices=("uniform", "normal"), identity=True
    )
    g_channels: tuple[int, ...] = _option(
        (256, 128, 64),
        "channels (mlp: widths) of the generator's hidden layers",
        low=1,
        high=4096,
        length=(1, 4),
        identity=True,
    )
    d_channels: tuple[int, ...] = _option(
        (32, 64, 128, 256),
        "channels (mlp: widths) of the discriminator's hidden layers",
        low=1,
        high=4096,
        length=(1, 4),
        identity=True,
    )
    g_batch_norm: str = _option(
        "all",
        "generator's hidden layers with batch norm, of dcgan32",
        choices=("all", "first"),
        identity=True,
        model="dcgan32",
    )
    output_kernel: int = _option(
        5, "side of the generator's output kernel, of dcgan32", low=1, high=64, identity=True, model="dcgan32"
    )
    sample_every: int = _option(1000, "steps between sample grids", low=1, high=10**9)
    sample_grid: int = _option(8, "images along a side of the sample grids", low=1, high=32)
    eval_every: int = _option(0, "steps between measurements of the Frechet distance; 0: none", low=0, high=10**9)
    checkpoint_every: int = _option(1000, "steps between checkpoints", low=1, high=10**9)
    log_every: int = _option(10, "steps between rows of metrics.csv", low=1, high=10**9)
    max_to_keep: int = _option(5, "checkpoints to keep", low=1, high=10**6)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _check(field, value)
            model = field.metadata["model"]
            if model and self.model != model and value != field.default:
                raise UsageError(f"--{field.name}: found {value!r}, expected none: only --model {model} has it")

    @classmethod
    def of(cls, **values: Any) -> "Config":
        """A config of `values` over the settings of its preset, over the defaults of its family.

        Raises:
            UsageError: as for the class, or the preset is another family's.
        """
        preset = values.get("preset", "default")
        settings = PRESETS.get(preset, {})
        model = values.get("model", settings.get("model", "dcgan32"))
        if settings.get("model", model) != model:
            raise UsageError(f"--model: found {model!r}, expected {settings['model']}, which --preset {preset} is of")
        defaults = MODELS[model].defaults if model in MODELS else {}
        return cls(**{**defaults, **settings, **values})

    @classmethod
    def from_json(cls, record: Any) -> "Config":
        """The inverse of `to_json`. A setting younger than the record is what runs did before there was such a setting.

        Raises:
            UsageError: `record` is no such object: a field is unknown, of the wrong type or out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(record, dict):
            raise UsageError(f"config: found {_short(record)}, expected an object")
        for name in ("preset", "model"):
            if not isinstance(record.get(name), str):
                raise UsageError(f"--{name}: found {_short(record.get(name))}, expected text")
        if record.keys() - known:
            raise UsageError(f"config: found {_short(min(record.keys() - known))}, which is no setting")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        return cls.of(**{**_BEFORE, **values})

    @property
    def image_size(self) -> int:
        """Side of the images that the networks see and draw, in pixels."""
        return MODELS[self.model].image_size

    def to_json(self) -> dict[str, Any]:
        """A dictionary that the `json` module writes, and `from_json` reads."""
        return dataclasses.asdict(self)

    def replace(self, **values: Any) -> "Config":
        """A copy with `values` changed."""
        return dataclasses.replace(self, **values)


def _check(field: dataclasses.Field, value: Any) -> None:
    """Raise UsageError unless `value` is one that `field` may have."""
    rule = field.metadata
    low, high = rule["low"], rule["high"]
    flag = f"--{field.name}"
    if rule["choices"]:
        if value not in tuple(rule["choices"]):
            raise UsageError(f"{flag}: found {value!r}, expected one of {', '.join(rule['choices'])}")
    elif field.type is bool:
        if type(value) is not bool:
            raise UsageError(f"{flag}: found {value!r}, expected true or false")
    elif field.type is str:
        if not isinstance(value, str) or "\0" in value:
            raise UsageError(f"{flag}: found {value!r}, expected text")
    elif rule["length"]:
        shortest, longest = rule["length"]
        if not isinstance(value, tuple) or not shortest <= len(value) <= longest:
            raise UsageError(f"{flag}: found {value!r}, expected {shortest} to {longest} numbers, comma-separated")
        for item in value:
            _check_number(flag, item, int, low, high)
    else:
        _check_number(flag, value, field.type, low, high)


def _check_number(flag: str, value: Any, kind: Any, low: float, high: float) -> None:
    """Raise UsageError unless `value` is a finite number of `kind` from `low` to `high`."""
    right_type = type(value) is int or (kind is float and type(value) is float and math.isfinite(value))
    if not right_type or not low <= value <= high:
        number = "an integer" if kind is int else "a number"
        raise UsageError(f"{flag}: found {_short(value)}, expected {number} from {low} to {high}")


def _short(value: Any) -> str:
    """`value` for an error line; integers of thousands of digits cannot be printed, nor would they help."""
    if type(value) is int and abs(value) >= 10**20:
        return "an integer of over 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Folders(NamedTuple):
    """Where a run writes. They are no part of its identity: a run can be moved."""

    samples: Path
    checkpoints: Path
    logs: Path

    @classmethod
    def of(cls, out_dir=".", sample_dir=None, checkpoint_dir=None, log_dir=None) -> "Folders":
        """`sample_image/`, `checkpoints/` and `logs/` under `out_dir`, but for those given."""
        out = Path(out_dir)
        return cls(
            Path(sample_dir) if sample_dir else out / "sample_image",
            Path(checkpoint_dir) if checkpoint_dir else out / "checkpoints",
            Path(log_dir) if log_dir else out / "logs",
        )
