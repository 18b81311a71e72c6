"""The settings of a run: one frozen dataclass, the families and presets that set its defaults, and its JSON.

Each setting is defined once, as a field of `Config`. The field's default, range and help line make the command-line
flag of the same name, the check of its value, and the record in every checkpoint.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dcgan_tf1.errors import UsageError
from dcgan_tf1.losses import LOSSES

LARGEST_SEED = 2**63 - 1  # the largest seed that a user can give


class Family(NamedTuple):
    """What can be known of a family of networks without TensorFlow; `networks/` has a module of the same name."""

    image_size: int  # side of its images in pixels: 28, or 32, for which 28x28 data is padded by 2
    defaults: dict[str, Any]  # the settings whose defaults differ from those of Config's fields
    conditional_defaults: dict[str, Any] = {}  # the settings whose defaults differ again in a conditional GAN


# Recipes published elsewhere do without what this project adds: averaged weights, noise on images, larger rates.
_PUBLISHED: dict[str, Any] = {"ema_decay": 0.0, "d_noise": 0.0, "lr_scale": 1.0}

MODELS: dict[str, Family] = {
    "dcgan32": Family(32, {}, {"z_dim": 64, "lr_decay": "linear"}),
    "dcgan28": Family(
        28,
        {
            **_PUBLISHED,
            "batch_size": 256,
            "updates": "simultaneous",
            "lr_g": 1e-4,
            "lr_d": 1e-4,
            "beta1": 0.9,
            "z_dim": 100,
            "z_distribution": "normal",
            "g_channels": (256, 128, 64),
            "d_channels": (64, 128),
        },
    ),
    "mlp": Family(
        28,
        {
            **_PUBLISHED,
            "batch_size": 100,
            "lr_g": 1e-3,
            "lr_d": 2e-4,
            "beta1": 0.9,
            "z_dim": 64,
            "z_distribution": "normal",
            "g_channels": (25, 25),
            "d_channels": (25, 25),
        },
    ),
}

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "long": {  # an hour on two cores in place of a minute
        "model": "dcgan32",
        "iterations": 20_000,
        "batch_size": 256,
        "lr_decay": "linear",
        "d_noise": 0.3,
        "d_jitter": 1.0,
        "z_dim": 128,
        "z_distribution": "normal",
        "g_channels": (256, 128, 64),
        "d_channels": (32, 64, 128, 256),
    },
    "reference": {
        **_PUBLISHED,
        "model": "dcgan32",
        "batch_size": 256,
        "g_steps": 2,
        "lr_g": 2e-4,
        "lr_d": 2e-4,
        "lr_decay": "none",
        "beta1": 5e-5,
        "z_dim": 100,
        "g_channels": (256, 64, 32, 16),
        "d_channels": (16, 32, 64),
        "g_batch_norm": "first",
        "output_kernel": 32,
        "precision": "float32",  # in bfloat16 its discriminator, which sees images without noise, runs ahead
        "sample_grid": 6,
        "checkpoint_every": 5000,
    },
}


def _setting(
    default: Any,  # the value that the family `dcgan32` has without a preset
    help: str,  # one line for `--help`
    *,
    low: float | None = None,  # the least value of a number, or of each number of a list
    high: float | None = None,
    choices: Iterable[Any] | None = None,  # the values allowed; None: any
    length: tuple[int, int] | None = None,  # how many numbers a list may have, at least and at most
    identity: bool = False,  # whether the setting stays the same for the life of a run
    model: str | None = None,  # the only family that has this setting; None: all families have it
) -> Any:
    """A field of `Config`."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "length": length}
    return dataclasses.field(default=default, metadata={**metadata, "identity": identity, "model": model})


@dataclass(frozen=True, init=False)
class Config:
    """The settings of a training run. Every value is checked when the object is made.

    A setting that is not given has the value of the preset, or else of the family of networks (`model`), which may have
    another one for conditional GANs, or else the default of the field below, which is that of `dcgan32`.

    Fields marked `identity` cannot change over the life of a run: a resume with another value is refused.
    Fields marked with a `model` are settings of that family alone.

    Raises UsageError: a value has the wrong type or lies outside its range, or the preset belongs to another family.
    """

    preset: str = _setting("default", "recipe that replaces the defaults below", choices=PRESETS, identity=True)
    model: str = _setting(
        "dcgan32",
        "family of networks; each has its own defaults, and those below are dcgan32's",
        choices=MODELS,
        identity=True,
    )
    dataset: str = _setting(
        "auto",
        "auto, mnist, digits, or a PATH: a folder of pictures, or a file, folder or archive of another kind that "
        "docs/pictures.md lists",
    )
    labels: str = _setting("", "file of the labels of a PATH that has none: a CSV, IDX or .npy file")
    data_dir: str = _setting("", "folder that holds MNIST's four IDX files (.gz or not) or mnist.npz")
    channels: int = _setting(
        1, "channels of the images: 1 for grey, 3 for colour", choices=(1, 3), identity=True, model="dcgan32"
    )
    invert: bool = _setting(
        False, "turn bright into dark and dark into bright, for dark ink on white paper", identity=True
    )
    stretch: bool = _setting(
        False, "let the darkest pixel of each image become black and its brightest one white", identity=True
    )
    fit: str = _setting(
        "pad",
        "pad: a picture that is not square is filled up with the grey of its border; crop: it loses what lies outside "
        "the square in its middle, which is the default in colour",
        choices=("pad", "crop"),
        identity=True,
    )
    grid: tuple[int, ...] = _setting(
        (1, 1),
        "rows and columns of equal parts that each picture is cut into, for sheets of many digits",
        low=1,
        high=4096,
        length=(2, 2),
        identity=True,
    )
    transpose: bool = _setting(
        False, "exchange rows and columns, for images that lie on their sides as EMNIST's do", identity=True
    )
    skip_bad: bool = _setting(False, "pass over pictures of a folder that cannot be read, and count them")
    conditional: bool = _setting(
        False, "generate and judge images by their class, which takes a data set with labels", identity=True
    )
    iterations: int = _setting(150_000, "number of the step at which training ends", low=1, high=10**9)
    batch_size: int = _setting(64, "real images, and generated ones, in each step", low=2, high=8192)
    sync_batch_norm: bool = _setting(
        False, "let batch norm take the statistics of the whole batch where several workers share it"
    )
    g_steps: int = _setting(1, "generator updates in each step", low=1, high=16)
    updates: str = _setting(
        "alternating",
        "alternating: the generator learns from the discriminator as just updated; simultaneous: both learn from the "
        "weights before the step",
        choices=("alternating", "simultaneous"),
    )
    lr_g: float = _setting(2e-4, "Adam's learning rate for the generator", low=1e-9, high=1)
    lr_d: float = _setting(2e-4, "Adam's learning rate for the discriminator", low=1e-9, high=1)
    lr_decay: str = _setting(
        "none",
        "none: both rates stay as they are; linear: they fall in equal steps, to zero at --iterations",
        choices=("none", "linear"),
    )
    beta1: float = _setting(0.0, "Adam's decay rate for the mean of the gradients", low=0, high=0.9999)
    beta2: float = _setting(0.999, "Adam's decay rate for the mean of the gradients' squares", low=0, high=0.999999)
    lr_scale: float = _setting(
        10.0, "both learning rates are multiplied by this, and Adam's epsilon is divided by it", low=1e-3, high=1e3
    )
    loss: str = _setting("non_saturating", "what the players minimise", choices=LOSSES)
    r1: float = _setting(
        0.0, "weight of the penalty on the discriminator's gradients at real images; 0: no penalty", low=0, high=1e6
    )
    r2: float = _setting(
        0.0, "weight of the penalty on the discriminator's gradients at generated images; 0: none", low=0, high=1e6
    )
    ema_decay: float = _setting(
        0.9999,
        "decay rate of the moving average of the generator's weights, which generates all samples; 0: no average",
        low=0,
        high=0.999999,
        identity=True,
    )
    d_noise: float = _setting(
        0.4,
        "standard deviation of the noise added to the images (in [-1, 1]) that the discriminator sees; 0: no noise",
        low=0,
        high=1,
    )
    d_jitter: float = _setting(
        0.0,
        "pixels by which what the discriminator sees is shifted at most, real and generated images alike; it is "
        "stretched by up to a tenth of its size for each, too; 0: neither",
        low=0,
        high=4,
    )
    augment: bool = _setting(
        False, "shift, scale and cut what the discriminator sees, real and generated images alike, for small data sets"
    )
    init_from: str = _setting(
        "",
        "weights that a new run starts from: a folder of checkpoints, a weights.npz, or the name of weights that "
        "ship; the settings of the networks that are not given are theirs",
        identity=True,
    )
    precision: str = _setting(
        "auto",
        "number format of convolutions and matrix products; auto: a new run takes bfloat16 on CPUs that compute in it, "
        "and float32 elsewhere; variables are always float32",
        choices=("auto", "float32", "bfloat16"),
    )
    xla: bool = _setting(False, "compile the graph with XLA, meant for GPUs; on CPUs no gain was measured")
    seed: int = _setting(
        0, "seed of the initial weights, the order of images and all noise", low=0, high=LARGEST_SEED, identity=True
    )
    z_dim: int = _setting(16, "length of the latent vector", low=1, high=4096, identity=True)
    z_distribution: str = _setting(
        "uniform",
        "distribution of the latent vector: uniform on [-1, 1) or standard normal",
        choices=("uniform", "normal"),
        identity=True,
    )
    g_channels: tuple[int, ...] = _setting(
        (128, 64, 32),
        "channels of the generator's hidden layers (for mlp: their widths)",
        low=1,
        high=4096,
        length=(1, 4),
        identity=True,
    )
    d_channels: tuple[int, ...] = _setting(
        (16, 32, 64, 128),
        "channels of the discriminator's hidden layers (for mlp: their widths)",
        low=1,
        high=4096,
        length=(1, 4),
        identity=True,
    )
    g_batch_norm: str = _setting(
        "all",
        "which hidden layers of dcgan32's generator have batch normalisation",
        choices=("all", "first"),
        identity=True,
        model="dcgan32",
    )
    output_kernel: int = _setting(
        5,
        "side of the kernel of dcgan32's last generator layer, in pixels",
        low=1,
        high=64,
        identity=True,
        model="dcgan32",
    )
    worker_timeout: int = _setting(
        60, "seconds after which a worker that answers no other is taken for lost", low=2, high=10**6
    )
    sample_every: int = _setting(1000, "steps between two sample grids", low=1, high=10**9)
    sample_grid: int = _setting(8, "digits along each side of a sample grid", low=1, high=32)
    eval_every: int = _setting(0, "steps between two measurements of the Frechet distance; 0: none", low=0, high=10**9)
    checkpoint_every: int = _setting(1000, "steps between two checkpoints", low=1, high=10**9)
    log_every: int = _setting(10, "steps between two rows of metrics.csv", low=1, high=10**9)
    max_to_keep: int = _setting(5, "how many of the latest checkpoints are kept", low=1, high=10**6)

    def __init__(self, **given: Any) -> None:
        fields = {field.name: field for field in dataclasses.fields(self)}
        unknown = given.keys() - fields.keys()
        if unknown:
            raise TypeError(f"Config has no setting {min(unknown)!r}")
        for name, value in given.items():
            _check(fields[name], value)
        preset = given.get("preset", "default")
        settings = PRESETS[preset]
        model = given.get("model", settings.get("model", "dcgan32"))
        if settings.get("model", model) != model:
            raise UsageError(
                f"--model: found {model!r}, expected {settings['model']}, to which --preset {preset} belongs"
            )
        defaults = {name: field.default for name, field in fields.items()}
        defaults["fit"] = "crop" if given.get("channels") == 3 else "pad"
        family = MODELS[model]
        conditional = family.conditional_defaults if given.get("conditional") else {}
        for name, value in {**defaults, **family.defaults, **conditional, **settings, **given}.items():
            only_model = fields[name].metadata["model"]
            if only_model not in (None, model) and value != defaults[name]:
                raise UsageError(f"--{name}: found {value!r}, expected none: only --model {only_model} has it")
            object.__setattr__(self, name, value)
        if self.loss == "wasserstein" and not self.r1 + self.r2:
            raise UsageError("--loss: found wasserstein, expected --r1 or --r2 with it: nothing else bounds its logits")

    @classmethod
    def from_json(cls, record: Any) -> "Config":
        """The config that `to_json` made `record` of. Raises UsageError if it is no such object."""
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(record, dict):
            raise UsageError(f"config: found {_short(record)}, expected an object")
        for name in ("preset", "model"):
            if not isinstance(record.get(name), str):
                raise UsageError(f"--{name}: found {_short(record.get(name))}, expected text")
        if record.keys() - known:
            raise UsageError(f"config: found {_short(min(record.keys() - known))}, which is no setting")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
        return cls(**{"fit": "crop"} | values)  # which is all that earlier versions did

    @property
    def image_size(self) -> int:
        """Side of the images that the networks see and generate, in pixels."""
        return MODELS[self.model].image_size

    def image_shape(self, side: int) -> tuple[int, ...]:
        """The shape of an image of that side: (side, side) in grey, and (side, side, 3) in colour."""
        return (side, side) if self.channels == 1 else (side, side, self.channels)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that the `json` module can write and `from_json` reads."""
        return dataclasses.asdict(self)

    def replace(self, **values: Any) -> "Config":
        """A copy in which `values` are changed and every other setting stays as it is."""
        return dataclasses.replace(self, **values)


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise UsageError unless `field` may have the `value`."""
    rule, kind = field.metadata, field.type
    low, high = rule["low"], rule["high"]
    if rule["choices"]:
        good = type(value) is kind and value in tuple(rule["choices"])
        expected = f"one of {', '.join(map(str, rule['choices']))}"
    elif kind is bool:
        good, expected = type(value) is bool, "true or false"
    elif kind is str:
        good, expected = isinstance(value, str) and "\0" not in value, "text"
    elif rule["length"]:
        shortest, longest = rule["length"]
        good = isinstance(value, tuple) and shortest <= len(value) <= longest
        good = good and all(type(number) is int and low <= number <= high for number in value)
        expected = expected_list(rule)
    else:
        good = type(value) in (int, kind) and low <= value <= high  # which NaN is not
        expected = f"{'an integer' if kind is int else 'a number'} from {low} to {high}"
    if not good:
        raise UsageError(f"--{field.name}: found {_short(value)}, expected {expected}")


def expected_list(rule: Mapping[str, Any]) -> str:
    """What a field with the metadata `rule` takes, if that is a list of integers; those of a grid have an x between."""
    shortest, longest = rule["length"]
    count, between = (shortest, "an x") if shortest == longest else (f"{shortest} to {longest}", "commas")
    return f"{count} integers from {rule['low']} to {rule['high']} with {between} between"


def _short(value: Any) -> str:
    """`value` as text for an error line."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no integers of thousands of digits
        return "an integer of too many digits"
    return text if len(text) <= 60 else text[:57] + "..."


_Path = str | Path | None


class Folders(NamedTuple):
    """The folders that a run writes to. They are no part of its identity: a run can be moved."""

    samples: Path
    checkpoints: Path
    logs: Path

    @classmethod
    def of(
        cls, out_dir: str | Path = ".", sample_dir: _Path = None, checkpoint_dir: _Path = None, log_dir: _Path = None
    ) -> "Folders":
        """The folders `sample_image/`, `checkpoints/` and `logs/` in `out_dir`, or the ones given in their place."""
        out = Path(out_dir)
        return cls(
            Path(sample_dir or out / "sample_image"),
            Path(checkpoint_dir or out / "checkpoints"),
            Path(log_dir or out / "logs"),
        )
