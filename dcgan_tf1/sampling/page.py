"""The page: a trained GAN at work in a browser, in one HTML file that asks no host for anything.

The sources are the files of `dcgan_tf1/page/`. Here they are put together with what they work on: a record of the model
and its weights in float16, which are those of `run.py export --format npz --half`.
"""

import base64
import contextlib
import hashlib
import importlib.resources
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import linalg

from dcgan_tf1.data import draws
from dcgan_tf1.errors import CheckpointError, DataError
from dcgan_tf1.files import write_whole
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.pictures import film, images
from dcgan_tf1.quality import classifier
from dcgan_tf1.runs.folder import closer_early
from dcgan_tf1.runs.weights import Weights, rounded
from dcgan_tf1.sampling.export import check_generator, frozen_generator
from dcgan_tf1.sampling.paths import normal_to_uniform

v1 = tf.compat.v1

Grid = tuple[int, np.ndarray]  # a step, and the digits of its sample grid, uint8 [rows, columns, side, side]
FAMILIES = ("dcgan32", "dcgan28", "mlp")  # the families of networks that `page/networks.mjs` has
DIGITS = 64  # how many digits the page shows side by side
STOPS = 8  # how many stops of training the slider has at most, where their weights are in the page
_GRIDS = 9  # the most sample grids that it shows
_DIRECTIONS = 6
_REACH = 0.4  # of a direction, in the usual distance of z from the centre: at either end the digit is another one
_PRINCIPAL = 1000  # digits whose activations the directions are computed from
_CONFIG = ("model", "seed", "z_dim", "z_distribution", "g_channels", "d_channels", "g_batch_norm")  # what it needs


def write_page(path: Path, weights: Weights, earlier: Sequence[Weights] = (), grids: Sequence[Grid] = ()) -> None:
    """Write the page of `weights` to the file `path`.

    Args:
        earlier: the weights of earlier steps of the same run, oldest first.
        grids: sample grids of earlier steps, oldest first, for where there are no earlier weights.

    Raises:
        CheckpointError: the weights do not fit their config, or the page cannot show what they generate, or float16
            cannot hold them.
        OutputError: the file cannot be written.
    """
    if weights.config.model not in FAMILIES:
        found, expected = weights.config.model, ", ".join(FAMILIES)
        raise CheckpointError(f"{weights.path}: found --model {found}, expected one of {expected}")
    if weights.config.channels > 1:
        raise CheckpointError(f"{weights.path}: found images in colour, expected grey ones, which the page shows")
    for stop in (*earlier, weights):
        check_generator(stop, "float16")
    write_whole(path, assemble(*_record(weights, earlier, grids)))


def _record(weights: Weights, earlier: Sequence[Weights], grids: Sequence[Grid]) -> tuple[dict[str, Any], bytes]:
    """What the page works on: the record of the model, for JSON, and the numbers of all its arrays."""
    config = weights.config
    stops = [rounded(stop, "float16") for stop in (*earlier, weights)]
    kind = classifier.KINDS["a"]
    judging = {name: array.astype(np.float16) for name, array in classifier.read_weights(kind).items()}
    rows, columns = min([digits.shape[:2] for _, digits in grids], default=(0, 1))
    rows = min(rows, max(1, DIGITS // columns))
    pictures = [
        {"step": step, "picture": _base64(images.png(digits[:rows].reshape(-1, config.image_size)))}
        for step, digits in grids
    ]
    names = weights.dataset.get("classes", ())
    record = {
        "config": {name: getattr(config, name) for name in _CONFIG} | {"seed": str(config.seed)},
        "side": config.image_size,
        "dataset": weights.dataset["name"][:100],
        "stops": [*pictures, *({"step": stop.step} for stop in (*earlier, weights))],
        "weighed": len(stops),
        "arrays": [[name, array.shape] for name, array in stops[-1].items()],
        "classifier": {
            "strides": [stride for _, _, stride in kind.convolutions],
            "arrays": [[name, array.shape] for name, array in judging.items()],
        },
        "directions": (_directions(weights) * _REACH * config.z_dim**0.5).round(4).tolist(),
        "digits": DIGITS,
        "snapshots": {"rows": rows, "columns": columns},
        "classes": list(names),
    }
    numbers = b"".join(array.tobytes() for arrays in (*stops, judging) for array in arrays.values())
    return record | {"bytes": len(numbers)}, numbers


def earlier_grids(weights: Weights) -> list[Grid]:
    """The digits of the sample grids that lie beside `weights` and are of earlier steps, oldest first.

    They are looked for in `sample_image/`, where the weights are in `checkpoints/`. Those that are damaged, or show
    other than square grids of digits, are left out.
    """
    path = weights.path.resolve()
    if path.parent.name == "checkpoints":
        folder = path.parent.parent / "sample_image"
    elif path.parent.name == "pretrained":  # where those that ship are, several runs' in one folder
        folder = path.parent.parent.parent / "sample_image" / "pretrained" / path.stem
    else:
        return []
    grids = []
    with contextlib.suppress(DataError):  # there is no such folder
        paths = [path for path in film.snapshots(folder) if int(path.stem) < weights.step]
        for i in closer_early(len(paths), _GRIDS):
            with contextlib.suppress(DataError, ValueError):
                tiles = images.tiles(film.read_snapshot(paths[i], None), weights.config.image_size)
                if tiles.size:
                    grids.append((int(paths[i].stem), tiles))
    return grids


def assemble(record: dict[str, Any], numbers: bytes) -> bytes:
    """The page of a record of a model and of the numbers of its arrays, as UTF-8."""
    sources = importlib.resources.files("dcgan_tf1") / "page"
    read = {item.name: item.read_text("utf-8") for item in sources.iterdir()}
    parts = {
        "style": read["page.css"],
        "script": _script(read, "app.mjs"),
        "worker": _script(read, "worker.mjs"),
        "model": json.dumps(record, separators=(",", ":")).replace("<", "\\u003c"),
        "weights": _base64(numbers),
    }
    parts["policy"] = (
        f"default-src 'none'; script-src '{_hash(parts['script'])}'; style-src '{_hash(parts['style'])}'; "
        "worker-src blob:; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    # In one pass, so that nothing is replaced in what was put in.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read["page.html"]).encode()


def _script(sources: dict[str, str], name: str) -> str:
    """One script of a JavaScript module and all that it imports: without imports and exports, in a scope of its own."""
    script = "".join(sources[each] for each in _modules(sources, name))
    script = re.sub(r"^import .*\n", "", script, flags=re.MULTILINE)
    return '"use strict";\n{\n' + re.sub(r"^export ", "", script, flags=re.MULTILINE) + "}\n"


def _modules(sources: dict[str, str], name: str) -> list[str]:
    """The names of a JavaScript module and of all that it imports, each after those that it imports itself."""
    imported = re.findall(r'^import .* from "\./(.*)";$', sources[name], re.MULTILINE)
    return list(dict.fromkeys([*(each for module in imported for each in _modules(sources, module)), name]))


def _directions(weights: Weights) -> np.ndarray:
    """The directions in which digits differ most, float [6, z_dim], each of length 1, the strongest first.

    They are found as in GANSpace (Harkonen et al. 2020): the principal components of the first layer's activations, and
    then the directions of z, in its Gaussian form, that go with them.
    """
    config = weights.config
    normal = draws.latent(0, draws.Stream.SAMPLE, 0, (_PRINCIPAL, config.z_dim), "normal")
    graph, inputs, _ = frozen_generator(weights)
    labels = np.arange(_PRINCIPAL, dtype=np.int32) % max(1, len(weights.dataset.get("classes", ())))
    first = next(op for op in graph.get_operations() if op.type in ("Relu", "LeakyRelu")).outputs[0]
    with v1.Session(graph=graph, config=session_options()) as session:
        shown = normal if config.z_distribution == "normal" else normal_to_uniform(normal)
        values = shown.astype(np.float32), labels  # there is an input for classes only where there are some
        feeds = dict(zip(inputs, values, strict=False))
        hidden = session.run(first, feeds).reshape(_PRINCIPAL, -1)
    hidden -= hidden.mean(0)
    count = min(_DIRECTIONS, config.z_dim, hidden.shape[1])
    # Of the matrix of the digits' products, which is smaller than that of the activations'.
    _, components = linalg.eigh(hidden @ hidden.T, subset_by_index=(_PRINCIPAL - count, _PRINCIPAL - 1))
    directions = components[:, ::-1].T @ normal
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(1, keepdims=True), 1)
    return directions * np.sign(largest)  # an eigenvector may have either sign


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _hash(text: str) -> str:
    """The name of an inline script or style in a Content-Security-Policy."""
    return "sha256-" + _base64(hashlib.sha256(text.encode()).digest())
