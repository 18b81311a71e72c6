"""What the options of several commands share: how values are read, and the options that say where a run or weights are.

A value that cannot be read is a UsageError of one line that names the option, the value found and what was expected.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dcgan_tf1.config import Folders
from dcgan_tf1.errors import UsageError, one_line

if TYPE_CHECKING:
    from dcgan_tf1.sampling.weights import WeightsSource

LARGEST_SEED = 2**63 - 1


class Kind(click.ParamType):
    """The kind of value that an option takes: `read` makes it from text, or raises ValueError or KeyError."""

    def __init__(self, metavar: str, expected: str, read: Callable[[str], Any]) -> None:
        self.name, self._expected, self._read = metavar, expected, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of the option `param`. A default is a value already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except (ValueError, KeyError):
            name = param.opts[0] if param else "value"
            raise UsageError(f"{name}: found {value[:60]!r}, expected {self._expected}") from None

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How the help shows the value."""
        return self.name


def integer(low: int, high: int) -> Kind:
    """An integer from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text[:20]) <= high:
            raise ValueError
        return int(text)

    return Kind("N", f"an integer from {low} to {high}", read)


def number(low: float, high: float) -> Kind:
    """A number from `low` to `high`."""

    def read(text: str) -> float:
        if not low <= float(text) <= high:
            raise ValueError
        return float(text)

    return Kind("X", f"a number from {low:g} to {high:.15g}", read)


def choice(values: Sequence[str]) -> Kind:
    """One of `values`."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError
        return text

    return Kind("{" + ",".join(values) + "}", f"one of {', '.join(values)}", read)


def text(metavar: str) -> Kind:
    """Any text, shown as `metavar`."""
    return Kind(metavar, "text", str)


def option(flag: str, kind: Kind, help: str, default: Any = None, name: str | None = None) -> Callable:
    """An option whose help ends with its default.

    Args:
        name: the parameter that it is given to; None: named as the flag.
    """
    shown = help if default is None else f"{help} (default: {default})"
    return click.option(flag, *([name] if name else []), type=kind, default=default, help=shown)


def switch(flag: str, help: str) -> Callable:
    """An option without a value, which is off unless it is given."""
    return click.option(flag, is_flag=True, help=help)


force = switch("--force", "replace what is there")

_FOLDERS = {
    "out_dir": "folder of sample_image/, checkpoints/ and logs/ (default: the current folder)",
    "sample_dir": "folder of the sample grids (default: OUT_DIR/sample_image)",
    "checkpoint_dir": "folder of the checkpoints (default: OUT_DIR/checkpoints)",
    "log_dir": "folder of metrics.csv and of TensorBoard's events (default: OUT_DIR/logs)",
}


def folder_options(*names: str) -> Callable:
    """The options called `names`, which say where a run writes; the command gets all of them as one `folders`."""

    def decorate(command: Callable) -> Callable:
        @functools.wraps(command)
        def with_folders(**values: Any) -> Any:
            given = {name: values.pop(name) for name in names}
            return command(folders=Folders.of(**{name: path for name, path in given.items() if path}), **values)

        decorated: Callable = with_folders
        for name in reversed(names):
            decorated = option(f"--{name}", text("DIR"), _FOLDERS[name])(decorated)
        return decorated

    return decorate


class WeightsChoice(NamedTuple):
    """The options that say which weights a command uses, as the user gave them."""

    checkpoint: str | None
    checkpoint_dir: str | None
    out_dir: str | None

    @property
    def folders(self) -> Folders:
        """The folders of the run."""
        return Folders.of(self.out_dir or ".", checkpoint_dir=self.checkpoint_dir)

    def find(self) -> "WeightsSource":
        """The checkpoint or the weights that were chosen; a line says which.

        Raises:
            CheckpointError: there are none, or they are damaged.
        """
        from dcgan_tf1.sampling import weights

        folder = self.folders.checkpoints if self.out_dir or self.checkpoint_dir else None
        source = weights.find_weights(self.checkpoint, folder, warn=lambda line: print(one_line(f"warning: {line}")))
        print(one_line(weights.describe(source)), flush=True)
        return source


def weights_options(command: Callable) -> Callable:
    """The options that say which weights a command uses; the command gets them as `choice`, a WeightsChoice."""

    @functools.wraps(command)
    def with_choice(checkpoint: str | None, checkpoint_dir: str | None, out_dir: str | None, **values: Any) -> Any:
        return command(choice=WeightsChoice(checkpoint, checkpoint_dir, out_dir), **values)

    which = (
        "a step of the run, a folder of checkpoints, a weights.npz, or the name of weights that ship: unconditional or "
        "fashion (default: the run's newest; without a run, the weights that ship)"
    )
    decorated: Callable = option("--out_dir", text("DIR"), "the run's folder (default: the current one)")(with_choice)
    decorated = option("--checkpoint_dir", text("DIR"), "the run's checkpoints (default: OUT_DIR/checkpoints)")(
        decorated
    )
    return option("--checkpoint", text("WHICH"), which)(decorated)
