"""`run.py export`: a trained generator for other programs."""

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcgan_tf1 import tensorflow_import
from dcgan_tf1.commands.options import WeightsChoice, choice, force, number, option, switch, text, weights_options
from dcgan_tf1.errors import OutputError, UsageError

if TYPE_CHECKING:
    from dcgan_tf1.runs.weights import WeightsSource

# The usual name of the file or the folder, by format.
_NAMES = {"saved_model": "saved_model", "npz": "weights.npz", "onnx": "generator.onnx", "html": "digits.html"}


@click.command
@option(
    "--format",
    choice(_NAMES),
    "saved_model: for TensorFlow and TensorFlow Serving; npz: for NumPy; onnx: for ONNX runtimes; "
    "html: a page for the browser",
    default="saved_model",
    name="form",
)
@switch("--half", "write npz in float16, which takes half the size")
@option(
    "--z_scale",
    number(0.1, 3),
    "generate as if the latent vectors were this many times as large; images are more typical below 1, and more varied "
    "above it",
    default=1.0,
)
@option("--out", text("PATH"), "file to write, or the folder of a SavedModel", shown="a usual name in exported/")
@force
@weights_options
def export(choice: WeightsChoice, form: str, half: bool, z_scale: float, out: str | None, force: bool) -> int:
    """Write a trained generator for other programs."""
    if half and form != "npz":
        raise UsageError(f"--half: found with --format {form}, expected npz")
    if form == "onnx" and not importlib.util.find_spec("tf2onnx"):
        raise UsageError("--format: found onnx, which needs tf2onnx; install it by pip install -e '.[onnx]'")
    target = Path("exported", _NAMES[form]) if out is None else Path(out)
    if not target.name and form != "saved_model":
        raise UsageError(f"--out: found {out!r}, expected the name of a file")

    from dcgan_tf1.files import all_or_none, make_folder, refuse_existing

    folder, name = (target, "1") if form == "saved_model" else (target.parent, target.name)
    if form == "saved_model" and force and os.path.lexists(target / name):
        folder, name = target / name, "saved_model.pb"
        if folder.is_symlink() or not folder.is_dir():
            raise OutputError(f"{folder}: found a file or a link, expected a folder, or none")
    refuse_existing(folder, [name], force)
    source = choice.find()

    tensorflow_import.import_tensorflow()
    from dcgan_tf1.runs import weights
    from dcgan_tf1.sampling.export import check_generator, write_onnx, write_saved_model

    with all_or_none(folder, [name], force) as temporary:
        path = temporary / name
        if form == "html":
            write_html(source, path, z_scale)
        else:
            dtype = "float16" if half else "float32"
            found = weights.scale_z(weights.read_weights(source), z_scale)
            check_generator(found, dtype)
            if form == "npz":
                weights.save_weights(path, found, dtype)
            elif form == "onnx":
                write_onnx(found, path)
            else:  # TensorFlow Serving may be watching for whole versions
                write_saved_model(found, make_folder(path) / "saved_model.pb" if name == "1" else path)
    print(target)
    return 0


def write_html(source: "WeightsSource", path: Path, z_scale: float = 1.0) -> None:
    """Write the page of `source`, with what is left of its training, to the file `path`; see `weights.scale_z`."""
    tensorflow_import.import_tensorflow()
    from dcgan_tf1.runs import weights
    from dcgan_tf1.sampling import page

    found = weights.read_weights(source)
    earlier = [weights.scale_z(each, z_scale) for each in weights.read_earlier(source, page.STOPS - 1)]
    found = weights.scale_z(found, z_scale)
    page.write_page(path, found, earlier, [] if earlier else page.earlier_grids(found))
