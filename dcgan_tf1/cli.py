"""The command line: reads flags, picks the command, and turns errors into one line and an exit code.

Nothing here imports TensorFlow before every flag has been read and checked.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dcgan_tf1 import __version__
from dcgan_tf1.config import MODELS, PRESETS, Config, Folders
from dcgan_tf1.errors import CheckpointError, DataError, DcganError, OutputError, UsageError, one_line
from dcgan_tf1.tensorflow_import import import_tensorflow

_SIGNAL_BASE = 128
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (default: `sys.argv[1:]`) name; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    with contextlib.suppress(AttributeError, OSError):  # tests print to objects of other kinds
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal has no letters for
    try:
        if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
            arguments.insert(0, "train")
        flags = vars(parser().parse_args(arguments))
        flags.pop("debug", None)
        code = flags.pop("handler")(flags)
        sys.stdout.flush()
        return code
    except DcganError as error:
        if debug:
            traceback.print_exc()
        print(one_line(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except OSError as error:  # all files have errors of their own; this is the terminal, pipe or file that prints go to
        if debug:
            traceback.print_exc()
        with open(os.devnull, "wb") as nowhere:  # what is still to be printed would fail again at exit
            os.dup2(nowhere.fileno(), 1)
        print(one_line(f"error: {error.filename or 'standard output'}: {error.strerror or error}"), file=sys.stderr)
        return OutputError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED


def _train(flags: dict[str, Any]) -> int:
    """Settle what is to be trained, from the flags and the run that is there, then train it."""
    folders = Folders.of(**{name: flags.pop(name) for name in _FOLDER_FLAGS if name in flags})
    wanted = Config.of(**flags)

    from dcgan_tf1.data import draws, sources
    from dcgan_tf1.files import make_folder
    from dcgan_tf1.runs import checkpoint

    for folder in folders:
        make_folder(folder)
    with checkpoint.lock(folders.checkpoints):
        for folder in folders:
            checkpoint.clean(folder)
        start = checkpoint.newest(folders.checkpoints, warn=lambda line: print(one_line(f"warning: {line}")))
        config = _resumed(start, flags) if start else wanted
        if start and start.step >= config.iterations:
            print(f"already trained: step {start.step} of {config.iterations}; give a higher --iterations to go on")
            return 0
        dataset = sources.load(config.dataset, config.data_dir)
        if start and start.dataset["digest"] != dataset.digest:
            trained = f"{start.dataset['name']} ({start.dataset['digest'][:12]})"
            raise CheckpointError(
                f"--dataset: found {dataset.name} ({dataset.digest[:12]}), expected {trained}, "
                f"which {folders.checkpoints} was trained on; use another --out_dir"
            )
        side = dataset.images.shape[1]
        if side > config.image_size:
            expected = f"{config.image_size}x{config.image_size}, which --model {config.model} draws"
            raise DataError(f"--dataset: found images of {side}x{side}, expected {expected}")
        draws.batch_indices(len(dataset.images), config.batch_size, config.seed, 0)  # refuses a batch beyond the data
        # The names as they were resolved are recorded, so that a resume asks for the same data from anywhere.
        if config.dataset == "auto":
            config = config.replace(dataset=dataset.name)
        config = config.replace(**{k: _absolute(getattr(config, k)) for k in ("dataset", "data_dir")})
        print(f"data: {dataset.name}, {len(dataset.images)} images")

        import_tensorflow()
        from dcgan_tf1.training.trainer import train

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


def _absolute(path: str) -> str:
    """A path that holds from any working directory; names of data sets and the empty path stay as they are."""
    return str(Path(path).resolve()) if path and Path(path).exists() else path


def _curves(flags: dict[str, Any]) -> int:
    folders = Folders.of(**flags)

    import_tensorflow()
    from dcgan_tf1.pictures.figures import plot_curves

    print(plot_curves(folders.logs))
    return 0


def _animate(flags: dict[str, Any]) -> int:
    samples = _folders(flags).samples
    target = Path(flags.get("out", samples / "training.gif"))
    if target.suffix not in (".gif", ".mp4"):
        raise UsageError(f"--out: found {flags['out']!r}, expected a name that ends in .gif or .mp4")

    from dcgan_tf1.files import refuse_existing
    from dcgan_tf1.pictures.film import animate

    if "force" not in flags:
        refuse_existing(target.parent, [target.name])
    print(animate(samples, target, flags.get("frames", 40)))
    return 0


def _evaluate(flags: dict[str, Any]) -> int:
    """Find the weights and MNIST, then measure the digits of the one against the other's."""
    found = _found(flags)

    from dcgan_tf1.data import sources

    if found.dataset["name"] != "mnist":
        raise DataError(
            f"--checkpoint: trained on {found.dataset['name']}, expected mnist, which has digits to test on"
        )
    data_dir = flags.get("data_dir", found.config.data_dir)
    train, test = (sources.load("mnist", data_dir, split) for split in ("train", "test"))

    import_tensorflow()
    from dcgan_tf1.commands.evaluate import evaluate

    evaluate(
        found,
        train,
        test,
        _folders(flags).logs,
        count=flags.get("num_digits", 10_000),
        seed=flags.get("seed", 0),
        name=flags.get("classifier", "a"),
    )
    return 0


def _compare(flags: dict[str, Any]) -> int:
    """Find MNIST, then train and measure the recipes that are named."""
    seed, data_dir = flags.get("seed", 0), flags.get("data_dir", "")
    configs = {
        name: Config.of(**{"preset" if name in PRESETS else "model": name}, seed=seed, dataset="mnist")
        for name in flags.get("models", _COMPARED)
    }

    from dcgan_tf1.data import sources
    from dcgan_tf1.files import make_folder
    from dcgan_tf1.runs import checkpoint

    out = make_folder(Path(flags.get("out_dir", "compare")))
    with checkpoint.lock(out):
        checkpoint.clean(out)
        train, test = (sources.load("mnist", data_dir, split) for split in ("train", "test"))

        import_tensorflow()
        from dcgan_tf1.commands.compare import compare

        configs = {name: config.replace(data_dir=_absolute(data_dir)) for name, config in configs.items()}
        number = compare(configs, out, train, test, flags.get("minutes", 5.0), flags.get("num_digits", 10_000), seed)
        return _SIGNAL_BASE + number if number else 0


def _generate(flags: dict[str, Any]) -> int:
    """Check which flags go together, find the weights, and draw."""
    form, count = flags.pop("form", "png"), flags.pop("num_digits", 10)
    pictures = form in ("png", "grid")
    for flag, fits, others in (("labels", not pictures, "npz or idx"), ("scale", pictures, "png or grid")):
        if flag in flags and not fits:
            raise UsageError(f"--{flag}: found with --format {form}, expected {others}")
    if "min_confidence" in flags and not flags.keys() & {"digit", "balanced", "labels"}:
        raise UsageError("--min_confidence: found alone, expected --digit, --balanced or --labels too")
    if form == "grid" and count > _LARGEST_GRID:
        raise UsageError(f"--num_digits: found {count}, expected at most {_LARGEST_GRID} in a grid")

    with _trained(flags) as gan:
        from dcgan_tf1.commands.generate import generate

        generate(gan, Path(flags.pop("out", "generated")), form, count, flags.pop("seed", 0), **flags)
    return 0


def _interpolate(flags: dict[str, Any]) -> int:
    digits = flags.pop("from", None), flags.pop("to", None)
    seed = flags.pop("seed", 0)
    seeds = seed, flags.pop("to_seed", seed + 1)
    rows, steps, out = flags.pop("rows", 8), flags.pop("steps", 12), Path(flags.pop("out", "generated"))
    with _trained(flags) as gan:
        from dcgan_tf1.commands.generate import interpolate

        interpolate(gan, out, rows, steps, digits, seeds, **flags)
    return 0


def _export(flags: dict[str, Any]) -> int:
    form = flags.get("format", "saved_model")
    if "half" in flags and form != "npz":
        raise UsageError(f"--half: found with --format {form}, expected npz")
    if form == "onnx" and not importlib.util.find_spec("tf2onnx"):
        raise UsageError("--format: found onnx, which takes tf2onnx; pip install -e '.[onnx]' brings it")
    target = Path(flags.get("out", Path("exported", _EXPORTS[form])))

    from dcgan_tf1.files import make_folder, refuse_existing

    if "force" not in flags:
        refuse_existing(*((target, ["1"]) if form == "saved_model" else (target.parent, [target.name])))
    found = _found(flags)

    import_tensorflow()
    from dcgan_tf1.commands import export
    from dcgan_tf1.sampling import weights

    read = weights.read_weights(found)
    make_folder(target.parent)
    if form == "npz":
        weights.save_weights(target, read, "float16" if "half" in flags else "float32")
    else:
        {"saved_model": export.write_saved_model, "onnx": export.write_onnx}[form](read, target)
    print(target)
    return 0


def _trained(flags: dict[str, Any]) -> Any:
    """The GAN that the flags of `_add_checkpoint_flags` name, which are taken out; from here on, SIGTERM cleans up."""
    found = _found(flags)
    for name in ("checkpoint", "checkpoint_dir", "out_dir"):
        flags.pop(name, None)
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(_SIGNAL_BASE + number))

    import_tensorflow()
    from dcgan_tf1.sampling import weights
    from dcgan_tf1.sampling.trained_gan import TrainedGan

    return TrainedGan(weights.read_weights(found))


def _folders(flags: dict[str, Any]) -> Folders:
    return Folders.of(**{name: flags[name] for name in _FOLDER_FLAGS if name in flags})


def _found(flags: dict[str, Any]) -> Any:
    """The checkpoint or the weights that the flags of `_add_checkpoint_flags` name; says which."""
    from dcgan_tf1.sampling import weights

    folder = _folders(flags).checkpoints if {"out_dir", "checkpoint_dir"} & flags.keys() else None
    found = weights.find_weights(flags.get("checkpoint"), folder, warn=lambda line: print(one_line(f"warning: {line}")))
    print(one_line(weights.describe(found)), flush=True)
    return found


_COMPARED = ("reference", "dcgan32", "dcgan28", "mlp")
_MOST_COMPARED = 8

_FOLDER_FLAGS = {
    "out_dir": "folder of sample_image/, checkpoints/ and logs/ (default: the current folder)",
    "sample_dir": "folder of the sample grids (default: OUT_DIR/sample_image)",
    "checkpoint_dir": "folder of the checkpoints (default: OUT_DIR/checkpoints)",
    "log_dir": "folder of metrics.csv and TensorBoard's events (default: OUT_DIR/logs)",
}

_EVALUATE_FLAGS = {
    "num_digits": (100, 50_000, "digits to draw (default: 10000)"),
    "seed": (0, 2**63 - 1, "of the digits (default: 0)"),
}
"""Lowest and highest value, and the help line."""


_EXPORTS = {"saved_model": "saved_model", "npz": "weights.npz", "onnx": "generator.onnx"}
"""What each format's file or folder is called."""

_LARGEST_GRID = 10_000

_DRAWING_FLAGS = {
    "seed": (0, 2**63 - 2, "of the digits: the same seed, the same digits (default: 0)"),
    "scale": (1, 32, "pixels of a picture for each of a digit's (default: 4)"),
}

_GENERATE_FLAGS = {
    "num_digits": (1, 10**7, "digits to draw (default: 10)"),
    **_DRAWING_FLAGS,
}

_INTERPOLATE_FLAGS = {
    "from": (0, 9, "digit to start from (default: any)"),
    "to": (0, 9, "digit to end at (default: any)"),
    "rows": (1, 32, "paths (default: 8)"),
    "steps": (2, 32, "digits a path (default: 12)"),
    "to_seed": (0, 2**63 - 1, "of the digits to end at (default: SEED + 1)"),
    **_DRAWING_FLAGS,
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

    def _iter_indented_subactions(self, action: argparse.Action) -> Any:
        """argparse measures the commands without their indent, and would break the line of the longest."""
        for command in super()._iter_indented_subactions(action):
            width = self._current_indent + len(self._format_action_invocation(command))
            self._action_max_length = max(self._action_max_length, width)
            yield command


def parser() -> argparse.ArgumentParser:
    """Every command and flag. Raises UsageError where argparse would exit."""
    parser = _Parser(
        prog="run.py",
        usage="%(prog)s [COMMAND] [flags]",
        description="A DCGAN that learns to draw handwritten digits. Flags alone mean the command train; "
        "COMMAND --help lists the flags of a command.",
        epilog="exit codes: 0 done, 2 bad flag, 3 bad data, 4 bad checkpoint, 5 cannot write, 6 diverged, "
        "75 the run is held by another process, 130 interrupted, 143 terminated",
    )
    parser.add_argument("--version", action="version", version=f"dcgan-tf1 {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", prog="run.py")

    train = _command(commands, "train", _train, "train, or resume; look into sample_image/ while it runs")
    for field in dataclasses.fields(Config):
        choices = field.metadata["choices"]
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        if field.type is bool:
            train.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, help=field.metadata["help"])
            continue
        train.add_argument(
            f"--{field.name}",
            type=_reader(field),
            metavar="{" + ",".join(choices) + "}" if choices else _METAVARS[field.type],
            help=field.metadata["help"] + (f" (default: {default})" if default != "" else ""),
        )
    curves = _command(commands, "curves", _curves, "draw logs/metrics.csv to logs/curves.png")
    animate = _command(commands, "animate", _animate, "make a film of the grids in sample_image/: how training went")
    animate.add_argument("--out", metavar="FILE", help="a .gif, or .mp4 by ffmpeg (default: sample_image/training.gif)")
    frames = "grids to show at most, closer together early on (default: 40)"
    animate.add_argument("--frames", type=_integer("frames", 2, 1000), metavar="N", help=frames)
    animate.add_argument("--force", action="store_true", help="replace a file that is there")
    evaluate = _command(commands, "evaluate", _evaluate, "measure a checkpoint's digits against MNIST's test digits")
    _add_integers(evaluate, _EVALUATE_FLAGS)
    evaluate.add_argument("--data_dir", metavar="DIR", help="folder of MNIST's files (default: the run's)")
    evaluate.add_argument("--classifier", choices=("a", "b"), help="whose features to compare in (default: a)")
    compare = _command(commands, "compare", _compare, "train models for the same time, and measure and draw them")
    names = f"presets or families, comma-separated (default: {','.join(_COMPARED)})"
    compare.add_argument("--models", type=_names, metavar="NAME,...", help=names)
    compare.add_argument("--minutes", type=_minutes, metavar="X", help="of training, each (default: 5)")
    compare.add_argument("--out_dir", metavar="DIR", help="folder of compare.png and the runs (default: compare)")
    compare.add_argument("--data_dir", metavar="DIR", help="folder of MNIST's files")
    for name in ("num_digits", "seed"):
        low, high, _ = _EVALUATE_FLAGS[name]
        help = {"num_digits": "digits to measure by (default: 10000)", "seed": "of it all (default: 0)"}[name]
        compare.add_argument(f"--{name}", type=_integer(name, low, high), metavar="N", help=help)
    evaluate.add_argument("--log_dir", metavar="DIR", help="folder to write to (default: OUT_DIR/logs)")
    _add_checkpoint_flags(evaluate)
    generate = _command(commands, "generate", _generate, "draw digits: pictures, or a data set like MNIST")
    _add_integers(generate, _GENERATE_FLAGS)
    which = generate.add_mutually_exclusive_group()
    which.add_argument("--digit", type=_integer("digit", 0, 9), metavar="D", help="draw this digit only, 0 to 9")
    which.add_argument("--balanced", action="store_true", help="draw as many of each digit")
    generate.add_argument("--labels", action="store_true", help="label the digits of a data set")
    generate.add_argument(
        "--min_confidence",
        type=_probability("min_confidence"),
        metavar="P",
        help="how sure of a digit the classifier must be, 0 to 1 (default: 0.9)",
    )
    form = generate.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        dest="form",
        choices=("png", "grid", "npz", "idx"),
        help="png: a picture a digit (default); grid: one picture; npz: images and labels; idx: files like MNIST's",
    )
    form.add_argument("--separate", dest="form", action="store_const", const="png", help="the same as --format png")
    form.add_argument("--grid", dest="form", action="store_const", const="grid", help="the same as --format grid")
    interpolate = _command(
        commands, "interpolate", _interpolate, "draw the ways from digits to others: a grid and a GIF"
    )
    _add_integers(interpolate, _INTERPOLATE_FLAGS)
    for command in (generate, interpolate):
        command.add_argument("--size", type=int, choices=(28, 32), help="side of a digit in pixels (default: 28)")
        command.add_argument("--out", metavar="DIR", help="folder to write to (default: generated)")
        command.add_argument("--force", action="store_true", help="replace files that are there")
        _add_checkpoint_flags(command)
    export = _command(commands, "export", _export, "write a trained generator for other programs")
    export.add_argument(
        "--format",
        choices=tuple(_EXPORTS),
        help="saved_model: for TensorFlow and TensorFlow Serving (default); npz: for NumPy; onnx: for ONNX runtimes",
    )
    export.add_argument("--half", action="store_true", help="write npz in float16, half the size")
    export.add_argument("--out", metavar="PATH", help="file, or folder of a SavedModel (default: in exported/)")
    export.add_argument("--force", action="store_true", help="replace what is there")
    _add_checkpoint_flags(export)
    for name, help in _FOLDER_FLAGS.items():
        train.add_argument(f"--{name}", metavar="DIR", help=help)
        if name in ("out_dir", "sample_dir"):
            animate.add_argument(f"--{name}", metavar="DIR", help=help)
        if name in ("out_dir", "log_dir"):
            curves.add_argument(f"--{name}", metavar="DIR", help=help)
    return parser


def _command(commands: Any, name: str, handler: Any, help: str) -> argparse.ArgumentParser:
    usage = f"%(prog)s [flags]{'   (or just: run.py [flags])' if name == 'train' else ''}"
    command = commands.add_parser(name, help=help, usage=usage, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(handler=handler)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def _add_integers(command: argparse.ArgumentParser, flags: dict[str, tuple[int, int, str]]) -> None:
    for name, (low, high, help) in flags.items():
        command.add_argument(f"--{name}", type=_integer(name, low, high), metavar="N", help=help)


def _add_checkpoint_flags(command: argparse.ArgumentParser) -> None:
    """The flags that say which weights a command uses."""
    command.add_argument(
        "--checkpoint",
        metavar="WHICH",
        help="a step of the run, a folder of checkpoints, or a weights.npz "
        "(default: the run's newest; without a run, the weights that ship)",
    )
    command.add_argument("--checkpoint_dir", metavar="DIR", help="the run's checkpoints (default: OUT_DIR/checkpoints)")
    command.add_argument("--out_dir", metavar="DIR", help="the run's folder (default: the current one)")


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


def _integer(name: str, low: int, high: int) -> Any:
    """The function that reads the flag `name`, an integer from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text[:20]) <= high:
            raise UsageError(f"--{name}: found {text[:60]!r}, expected an integer from {low} to {high}")
        return int(text)

    return read


def _names(text: str) -> tuple[str, ...]:
    """The value of --models."""
    names = tuple(text.split(","))
    known = [*PRESETS, *MODELS]
    strange = next((name for i, name in enumerate(names) if name not in known or name in names[:i]), None)
    if strange is not None or len(names) > _MOST_COMPARED:
        found = text[:60] if strange is None else strange[:60]
        raise UsageError(f"--models: found {found!r}, expected up to {_MOST_COMPARED} of {', '.join(known)}, each once")
    return names


def _minutes(text: str) -> float:
    """The value of --minutes."""
    with contextlib.suppress(ValueError):
        if 0.01 <= float(text) <= 100_000:
            return float(text)
    raise UsageError(f"--minutes: found {text[:60]!r}, expected a number from 0.01 to 100000")


def _probability(name: str) -> Any:
    """The function that reads the flag `name`, a number from 0 to 1."""

    def read(text: str) -> float:
        with contextlib.suppress(ValueError):
            if 0 <= float(text) <= 1:
                return float(text)
        raise UsageError(f"--{name}: found {text[:60]!r}, expected a number from 0 to 1")

    return read
