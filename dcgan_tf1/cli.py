"""The command line: the list of commands, and errors as one line and an exit code.

Nothing here imports TensorFlow before every flag has been read and checked.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any

import click
from click.shell_completion import CompletionItem, shell_complete

from dcgan_tf1 import __version__
from dcgan_tf1.commands.animate import animate
from dcgan_tf1.commands.compare import compare
from dcgan_tf1.commands.curves import curves
from dcgan_tf1.commands.data import data
from dcgan_tf1.commands.evaluate import evaluate
from dcgan_tf1.commands.explore import explore
from dcgan_tf1.commands.export import export
from dcgan_tf1.commands.generate import generate
from dcgan_tf1.commands.interpolate import interpolate
from dcgan_tf1.commands.launch import launch
from dcgan_tf1.commands.train import train
from dcgan_tf1.errors import SIGNAL_BASE, DcganError, OutputError, UsageError, one_line, printable, reason

COMMANDS = (data, train, launch, generate, interpolate, animate, curves, evaluate, compare, export, explore)
COMPLETION = "_DCGAN_TF1_COMPLETE"  # a shell sets it to ask what a command line could go on with; click says how

_USUAL = {
    "use --lr_g and --lr_d": ("--lr", "--learning_rate"),
    "use --batch_size": ("--batch", "--bs", "--batchsize"),
    "use --epochs or --iterations": ("--epoch", "--num_epochs", "--n_epochs", "--steps", "--max_steps", "--num_steps"),
    "use --dataset": ("--data", "--dataroot", "--data_path", "--input"),
    "use --out_dir": ("--output", "--outdir", "--output_dir", "--save_dir"),
    "use --num_digits of generate": ("--num_images", "--num_samples", "--n_samples", "--samples"),
    "pictures of any size are resized": ("--image_size", "--img_size", "--size", "--resolution"),
    "use --z_dim": ("--nz", "--latent_dim", "--z_size"),
    "the same command goes on with a run": ("--resume", "--continue", "--load"),
}
"""What to do in place of the usual flags of other programs."""


class _Commands(click.Group):
    """Commands in the order in which they were added, where flags alone mean the command train."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read `args`, with train in front where no command is named."""
        flags_alone = args[0].startswith("-") if args else not ctx.resilient_parsing  # a shell may yet ask for commands
        if flags_alone and args[:1] not in (["-h"], ["--help"], ["--version"]):
            args = ["train", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What the first word could be: a command, or a flag of train."""
        items = super().shell_complete(ctx, incomplete) + train.shell_complete(ctx, incomplete)
        return list({item.value: item for item in items}.values())


@click.group(
    cls=_Commands,
    options_metavar="",
    subcommand_metavar="[COMMAND] [flags]",
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 2 bad flag, 3 bad data, 4 bad checkpoint, 5 cannot write, 6 diverged, "
    "75 the run is held by another process, 76 a worker was lost, 130 interrupted, 143 terminated.",
)
@click.version_option(__version__, message="dcgan-tf1 %(version)s")
def run() -> None:
    """A DCGAN that learns to generate handwritten digits.

    Flags alone mean the command train. COMMAND --help lists the flags of a command.
    """


for _command in COMMANDS:
    _debug = click.Option(["--debug"], is_flag=True, expose_value=False, help="show the traceback of an error")
    _command.params.append(_debug)  # `main` looks for it itself, since errors of other flags come before
    _command.options_metavar = "[flags]"
    run.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` name, by default `sys.argv[1:]`. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    for name in [name for name in os.environ if name.startswith(("TQDM_", "SOURCE_DATE_EPOCH"))]:
        del os.environ[name]  # with a wrong one, the import of tqdm or of NumPy fails
    with contextlib.suppress(AttributeError, OSError):  # tests print to objects of other kinds
        # A path may hold characters that the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if COMPLETION in os.environ:
            return _complete(os.environ[COMPLETION])
        with contextlib.redirect_stdout(_PrintableStream(sys.stdout)):
            code = _run(arguments)
            sys.stdout.flush()
        return code
    except (DcganError, OSError, MemoryError) as error:
        if "--debug" in arguments:
            traceback.print_exc()
        if isinstance(error, MemoryError):
            error = OutputError(f"memory: {reason(error)}; expected more of it")
        if isinstance(error, OSError):  # errors of files are OutputErrors by now; this one is about what is printed to
            with open(os.devnull, "wb") as nowhere:  # what is still to be printed would fail again at exit
                os.dup2(nowhere.fileno(), 1)
            place = "the current folder" if isinstance(error, FileNotFoundError) else "standard output"
            place = "TMPDIR" if "temporary directory" in str(error) else place
            error = OutputError(f"{error.filename or place}: {reason(error)}")
        _tell(one_line(f"error: {error}"))
        return error.exit_code
    except KeyboardInterrupt:
        _tell("interrupted")
        return SIGNAL_BASE + signal.SIGINT


def _tell(line: str) -> None:
    """Print a line to the standard error, unless nobody can be told."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


class _PrintableStream:
    """A stream that shows what is not printable, such as escape codes in the names of files, in place of writing it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`, whose lines stay lines."""
        return self._stream.write("\n".join(map(printable, text.split("\n"))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _open_closed_streams() -> None:
    """Let the standard streams that are closed lead nowhere; otherwise files would be opened under their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the smallest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _complete(asked: str) -> int:
    """Answer a shell. Returns 0. Raises UsageError if `asked`, or what the shell tells beside it, makes no sense."""
    with contextlib.suppress(KeyError, ValueError):
        if shell_complete(run, {}, "dcgan-tf1", COMPLETION, asked) == 0:
            return 0
    raise UsageError(f"{COMPLETION}: found {asked!r}, expected what a shell asks, such as bash_source")


def _run(arguments: list[str]) -> int:
    """Let click read `arguments` and call the command; its own exceptions become UsageError."""
    if arguments and arguments[0] not in run.commands and not arguments[0].startswith("-"):
        raise UsageError(f"COMMAND: found {arguments[0][:60]!r}, expected one of {', '.join(run.commands)}; see --help")
    name = "run.py" if os.path.basename(sys.argv[0]) == "run.py" else "dcgan-tf1"
    try:
        with run.make_context(name, arguments) as context:
            return run.invoke(context)
    except click.exceptions.Exit as stopped:  # after --help and --version
        return stopped.exit_code
    except click.NoSuchOption as error:
        flag = error.option_name.replace("-", "_").replace("__", "--", 1)
        hint = next((hint for hint, flags in _USUAL.items() if flag in flags), None)
        told = f"No such option {error.option_name!r}: {hint}" if hint else error.format_message().rstrip(".")
        raise UsageError(f"{told}; see --help") from error
    except click.ClickException as error:
        raise UsageError(f"{error.format_message().rstrip('.')}; see --help") from error
