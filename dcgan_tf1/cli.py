"""The command line: reads flags, picks the command, and turns errors into one line and an exit code.

Nothing here imports TensorFlow before every flag has been read and checked.
"""

import argparse
import dataclasses
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dcgan_tf1 import __version__
from dcgan_tf1.config import Config, Folders
from dcgan_tf1.errors import CheckpointError, DcganError, UsageError, one_line

_SIGNAL_BASE = 128
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (default: `sys.argv[1:]`) name; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
            arguments.insert(0, "train")
        flags = vars(_parser().parse_args(arguments))
        flags.pop("debug", None)
        return flags.pop("handler")(flags)
    except DcganError as error:
        if debug:
            traceback.print_exc()
        print(one_line(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED


def _train(flags: dict[str, Any]) -> int:
    """Settle what is to be trained, from the flags and the run that is there, then train it."""
    folders = Folders.of(**{name: flags.pop(name) for name in _FOLDER_FLAGS if name in flags})
    wanted = Config.of(**flags)

    from dcgan_tf1 import checkpoint, data
    from dcgan_tf1.files import make_folder

    for folder in folders:
        make_folder(folder)
    with checkpoint.lock(folders.checkpoints):
        checkpoint.clean(folders.checkpoints)
        start = checkpoint.newest(folders.checkpoints, warn=lambda line: print(one_line(f"warning: {line}")))
        config = _resumed(start, flags) if start else wanted
        if start and start.step >= config.iterations:
            print(f"already trained: step {start.step} of {config.iterations}; give a higher --iterations to go on")
            return 0
        dataset = data.load(config.dataset, config.data_dir)
        if start and start.dataset["digest"] != dataset.digest:
            trained = f"{start.dataset['name']} ({start.dataset['digest'][:12]})"
            raise CheckpointError(
                f"--dataset: found {dataset.name} ({dataset.digest[:12]}), expected {trained}, "
                f"which {folders.checkpoints} was trained on; use another --out_dir"
            )
        data.batch_indices(len(dataset.images), config.batch_size, config.seed, 0)  # refuses a batch beyond the data
        # The names as they were resolved are recorded, so that a resume asks for the same data from anywhere.
        if config.dataset == "auto":
            config = config.replace(dataset=dataset.name)
        config = config.replace(**{k: _absolute(getattr(config, k)) for k in ("dataset", "data_dir")})
        print(f"data: {dataset.name}, {len(dataset.images)} images")

        _import_tensorflow()
        from dcgan_tf1.train import train

        number = train(config, folders, dataset, start)
        return _SIGNAL_BASE + number if number else 0


def _resumed(start: Any, flags: dict[str, Any]) -> Config:
    """The config of the run that `start` belongs to, with the flags that may change over a run's life."""
    for field in dataclasses.fields(Config):
        recorded = getattr(start.config, field.name)
        given = flags.get(field.name, recorded)
        if given != recorded:
            if field.metadata["identity"]:
                raise CheckpointError(
                    f"--{field.name}: found {given}, expected {recorded}, as {start.prefix.parent} was trained with; "
                    "use another --out_dir"
                )
            if field.name != "iterations":
                print(f"{field.name}: {recorded} until step {start.step}, {given} from there")
    return start.config.replace(**flags)


def _import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ side writes to stderr then, on which no user could act.

    Whoever sets TF_CPP_MIN_LOG_LEVEL sees what they asked for.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _absolute(path: str) -> str:
    """A path that holds from any working directory; names of data sets and the empty path stay as they are."""
    return str(Path(path).resolve()) if path and Path(path).exists() else path


def _curves(flags: dict[str, Any]) -> int:
    folders = Folders.of(**flags)

    _import_tensorflow()
    from dcgan_tf1.runlog import plot_curves

    print(plot_curves(folders.logs))
    return 0


_FOLDER_FLAGS = {
    "out_dir": "folder of sample_image/, checkpoints/ and logs/ (default: the current folder)",
    "sample_dir": "folder of the sample grids (default: OUT_DIR/sample_image)",
    "checkpoint_dir": "folder of the checkpoints (default: OUT_DIR/checkpoints)",
    "log_dir": "folder of metrics.csv and TensorBoard's events (default: OUT_DIR/logs)",
}


class _Parser(argparse.ArgumentParser):
    """Errors are UsageError; flags are whole words, so that a new one never changes what an old command means."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, formatter_class=_Help, argument_default=argparse.SUPPRESS, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


class _Help(argparse.HelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28, width=110)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run.py",
        usage="%(prog)s [COMMAND] [flags]",
        description="A DCGAN that learns to draw handwritten digits. Flags alone mean the command train; "
        "COMMAND --help lists the flags of a command.",
        epilog="exit codes: 0 done, 2 bad flag, 3 bad data, 4 bad checkpoint, 5 cannot write, 6 diverged, "
        "75 the run is held by another process, 130 interrupted, 143 terminated",
    )
    parser.add_argument("--version", action="version", version=f"dcgan-tf1 {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = _command(commands, "train", _train, "train, or resume; look into sample_image/ while it runs")
    for field in dataclasses.fields(Config):
        choices = field.metadata["choices"]
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        if field.type is bool:
            train.add_argument(f"--{field.name}", action="store_true", help=field.metadata["help"])
            continue
        train.add_argument(
            f"--{field.name}",
            type=_reader(field),
            metavar="{" + ",".join(choices) + "}" if choices else _METAVARS[field.type],
            help=field.metadata["help"] + (f" (default: {default})" if default != "" else ""),
        )
    curves = _command(commands, "curves", _curves, "draw logs/metrics.csv to logs/curves.png")
    for name, help in _FOLDER_FLAGS.items():
        train.add_argument(f"--{name}", metavar="DIR", help=help)
        if name in ("out_dir", "log_dir"):
            curves.add_argument(f"--{name}", metavar="DIR", help=help)
    return parser


def _command(commands: Any, name: str, handler: Any, help: str) -> argparse.ArgumentParser:
    usage = f"%(prog)s [flags]{'   (or just: run.py [flags])' if name == 'train' else ''}"
    command = commands.add_parser(name, help=help, usage=usage, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(handler=handler)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


_METAVARS = {int: "N", float: "X", str: "TEXT", tuple[int, ...]: "N,N,..."}


def _reader(field: dataclasses.Field) -> Any:
    """The function that reads the flag of `field`; what the value may be, Config checks."""
    kind = field.type
    if kind is str:
        return str
    expected = {int: "an integer", float: "a number"}.get(kind, "integers, comma-separated")

    def read(text: str) -> Any:
        try:
            return tuple(map(int, text.split(","))) if field.metadata["length"] else kind(text)
        except ValueError:
            raise UsageError(f"--{field.name}: found {text[:60]!r}, expected {expected}") from None

    return read
