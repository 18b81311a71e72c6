"""What the options of several commands share: how values are read, and the options that say where a run or weights are.

A value that cannot be read is a UsageError of one line that names the option, the value found and what was expected.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from dcgan_tf1.config import Config, Folders, expected_list
from dcgan_tf1.errors import UsageError, one_line

if TYPE_CHECKING:
    from dcgan_tf1.runs.weights import WeightsSource

_NUMBER = set("0123456789+-.eE")  # Python would also read nan, 1_000, and digits of other scripts


class Kind(NamedTuple):
    """What an option takes."""

    type: click.ParamType | Callable[[str], Any]  # a function of the text raises ValueError where it cannot be read
    metavar: str | None  # how the help shows it; None: as click does
    expected: str  # what it is, in an error


def integer(low: int, high: int) -> Kind:
    """An integer from `low` to `high`."""
    return Kind(click.IntRange(low, high), "N", f"an integer from {low} to {high}")


def number(low: float, high: float) -> Kind:
    """A number from `low` to `high`."""
    return Kind(click.FloatRange(low, high), "X", f"a number from {low:g} to {high:.15g}")


def choice(values: Iterable[Any]) -> Kind:
    """One of `values`."""
    values = tuple(values)
    return Kind(click.Choice(values), None, f"one of {', '.join(map(str, values))}")


def text(metavar: str) -> Kind:
    """Any text, shown as `metavar`. The shell completes folders where that is DIR, and nothing where it is NAME."""
    return Kind(click.STRING if metavar == "NAME" else _Path(), metavar, "text")


class _Path(click.types.StringParamType):
    """The path of a file or a folder, in which a ~ at its beginning is the user's home."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path without the ~, which shells leave in --flag=~/path."""
        return os.path.expanduser(super().convert(value, param, ctx))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell, which completes the names of files, or of folders alone."""
        return [CompletionItem(incomplete, type="dir" if param.metavar == "DIR" else "file")]


class _Option(click.Option):
    """An option of click's, with this program's words for what is wrong with a value and for defaults."""

    def __init__(self, *names: Any, expected: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._expected = expected

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """The value that the text `value` stands for. A default is one already. Raises UsageError if there is none."""
        is_number = isinstance(self.type, click.IntRange | click.FloatRange)
        try:
            if is_number and isinstance(value, str) and not _NUMBER.issuperset(value):
                raise click.BadParameter(value)
            return super().type_cast_value(ctx, value)
        except click.BadParameter:
            raise UsageError(f"{', '.join(self.opts)}: found {value[:60]!r}, expected {self._expected}") from None

    def get_help_extra(self, ctx: click.Context) -> "click.types.OptionHelpExtra":
        """What the help says at the end: the default, and the range unless an integer may be a million and more."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default  # click would put it into brackets
        if isinstance(self.type, click.IntRange) and (self.type.max or 0) >= 10**6:
            del extra["range"]
        return extra


def option(
    flags: str, kind: Kind, help: str, default: Any = None, name: str | None = None, shown: str | None = None
) -> Callable:
    """An option whose help ends with its default.

    Args:
        flags: the flag, or several that mean the same, with spaces between.
        name: the parameter that it is given to; None: named as the flag.
        shown: what the help says of a default that is found out later.
    """
    names = flags.split() + ([name] if name else [])
    return click.option(*names, cls=_Option, help=help, default=default, show_default=shown or True, **kind._asdict())


def switch(flag: str, help: str) -> Callable:
    """An option without a value, which is off unless it is given."""
    return click.option(flag, is_flag=True, help=help)


force = switch("--force", "replace what is there")

_FOLDERS = {
    "out_dir": ("folder of sample_image/, checkpoints/ and logs/", "the current folder"),
    "sample_dir": ("folder of the sample grids", "OUT_DIR/sample_image"),
    "checkpoint_dir": ("folder of the checkpoints", "OUT_DIR/checkpoints"),
    "log_dir": ("folder of metrics.csv and of TensorBoard's events", "OUT_DIR/logs"),
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
            help, shown = _FOLDERS[name]
            decorated = option(f"--{name}", text("DIR"), help, shown=shown)(decorated)
        return decorated

    return decorate


def config_options(*names: str) -> Callable:
    """Options for the settings of Config called `names`. One that is not given is None, so that a run keeps its value.

    The command gets each under its name.
    """

    def decorate(command: Callable) -> Callable:
        for field in (Config.__dataclass_fields__[name] for name in reversed(names)):
            help, default = field.metadata["help"], field.default
            shown = "x,"[len(default) > 2].join(map(str, default)) if isinstance(default, tuple) else str(default)
            if field.type is bool:
                command = click.option(f"--{field.name}/--no-{field.name}", default=None, help=help)(command)
            else:
                command = option(f"--{field.name}", _kind(field), help, shown=shown)(command)
        return command

    return decorate


def _kind(field: dataclasses.Field) -> Kind:
    """What the option of `field` takes."""
    rule = field.metadata
    if rule["choices"]:
        return choice(rule["choices"])
    if rule["length"]:
        metavar = "ROWSxCOLUMNS" if rule["length"] == (2, 2) else "N,N,..."
        return Kind(_read_integers, metavar, expected_list(rule))
    if field.type is str:
        return text("PATH")
    return (integer if field.type is int else number)(rule["low"], rule["high"])


def _read_integers(value: str) -> tuple[int, ...]:
    if not re.fullmatch("[0-9]+(,[0-9]+)*|[0-9]+x[0-9]+", value):
        raise ValueError
    return tuple(map(int, re.split("[,x]", value)))


class WeightsChoice(NamedTuple):
    """The options that say which weights a command uses, as the user gave them."""

    checkpoint: str | None
    checkpoint_dir: str | None
    out_dir: str | None

    def find(self) -> "WeightsSource":
        """The checkpoint or the weights that were chosen, told in a line. Raises CheckpointError if there are none."""
        from dcgan_tf1.runs import weights

        folders = Folders.of(self.out_dir or ".", checkpoint_dir=self.checkpoint_dir)
        folder = folders.checkpoints if self.out_dir or self.checkpoint_dir else None
        source = weights.find_weights(self.checkpoint, folder, warn=lambda line: print(one_line(f"warning: {line}")))
        print(one_line(weights.describe(source)), flush=True)
        return source


def weights_options(command: Callable) -> Callable:
    """The options that say which weights a command uses; the command gets them as `choice`, a WeightsChoice."""

    @functools.wraps(command)
    def with_choice(checkpoint: str | None, checkpoint_dir: str | None, out_dir: str | None, **values: Any) -> Any:
        return command(choice=WeightsChoice(checkpoint, checkpoint_dir, out_dir), **values)

    which = (
        "a step of the run, a folder of checkpoints, a path such as checkpoints/model-300, a weights.npz, or the name "
        "of weights that ship: unconditional or fashion"
    )
    newest = "the run's newest; without a run, the weights that ship"
    decorated: Callable = with_choice
    decorated = option("--out_dir", text("DIR"), "the run's folder", shown="the current folder")(decorated)
    decorated = option("--checkpoint_dir", text("DIR"), "the run's checkpoints", shown="OUT_DIR/checkpoints")(decorated)
    return option("--checkpoint", text("WHICH"), which, shown=newest)(decorated)
