"""The weights of a trained GAN: finding those that a command means, reading them, and writing them to a file.

They are the variables of both networks, averaged where the run keeps an average, without the optimizers' state. Their
file is an .npz of float16 or float32 arrays, one for each variable, and of a uint8 array `metadata`, which holds JSON.
Such a file is untrusted. It is not compressed and holds no pickles, so reading it takes no more memory than its size.
"""

import contextlib
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dcgan_tf1.config import Config
from dcgan_tf1.data.arrays import read_npy
from dcgan_tf1.data.readers import open_data_file, open_member, shorten
from dcgan_tf1.data.sources import check_dataset_record
from dcgan_tf1.errors import CheckpointError, DataError, reason
from dcgan_tf1.files import read_published, write_whole
from dcgan_tf1.runs import checkpoint
from dcgan_tf1.runs.folder import closer_early

FORMAT = 1
FILE = "weights.npz"
SHIPPED_SHA256 = {
    "weights": "b2734bae7a403d68a3b7e15c44943451274b4b0eba7b4e8fd76c15812c11ce18",
    "unconditional": "a7b3458c75ad15030416e59a444662840f13f05b4849bbf002701d19c4bd0fc4",
    "fashion": "be07c04d9d19b28d0257253260791c3758e2e051ea4aada57170ff034dbbe3de",
}
"""The sha256, in hex, of the weights that come with the project, by their names.

`weights` generates digits by class, `unconditional` digits without classes, `fashion` the clothes of Fashion-MNIST.
Their files are in `checkpoints/pretrained/`, and grids of their training in `sample_image/pretrained/`. Both are
beside the package, or in it where it is installed.
"""
_AVERAGE = "/ExponentialMovingAverage"
_RETIRED = ("weight_gain", "output_bias")  # settings in the files of earlier versions, which say nothing of the weights
_LARGEST_FILE = 1 << 30
_MOST_ARRAYS = 1000
_NAME = re.compile(r"(generator|discriminator)(/\w{1,100}){1,8}", re.ASCII)


class Weights(NamedTuple):
    """The weights of one step of a run."""

    path: Path  # the file, or the prefix of the checkpoint, that they were read from
    step: int
    config: Config
    dataset: dict[str, Any]  # what the GAN was trained on, as `sources.Dataset.record` describes it
    arrays: dict[str, np.ndarray]  # the values in float32, by the name of the variable, as in `generator/dense/kernel`


WeightsSource = checkpoint.Checkpoint | Weights


def find_weights(
    wanted: str | os.PathLike | int | None, folder: Path | None, warn: Callable[[str], None], flag: str = "--checkpoint"
) -> WeightsSource:
    """The verified checkpoint, or the weights, that `flag` names. This needs no TensorFlow.

    Args:
        wanted: a step of the run in `folder`, or a folder of checkpoints (or one that has `checkpoints/`), or a file
            of a checkpoint (or the prefix of its files), or an .npz file, or else the name of weights that ship. None:
            the newest checkpoint in `folder`.
        folder: a folder of checkpoints. None: `./checkpoints`, or, where that holds no run, the weights that ship.
        warn: is told of each damaged checkpoint that is passed over.

    Raises CheckpointError if there is no such checkpoint or file, or it is damaged.
    """
    here = folder or Path("checkpoints")
    if isinstance(wanted, bool) or not isinstance(wanted, int | np.integer | str | os.PathLike | None):
        raise CheckpointError(f"{flag}: found {shorten(wanted)}, expected a step, a folder of checkpoints or a {FILE}")
    if isinstance(wanted, int) or str(wanted).isdecimal():
        return checkpoint.load(here, int(str(wanted)[:20]))
    if wanted is None and not folder:
        return _newest(here, warn) or shipped_weights()
    path = here if wanted is None else Path(wanted)
    step = checkpoint.step_of(path)
    if step is not None and os.path.exists(path.with_name(f"model-{step}.json")):
        return checkpoint.load(path.parent, step)
    if os.path.isdir(path):
        foreign = any(path.glob("*.index")) and not any(path.glob("model-*.json"))
    else:
        foreign = os.path.exists(f"{path}.index") or os.path.exists(path) and path.with_suffix(".index").exists()
    if foreign:
        fault = f"found a TensorFlow checkpoint of another program at {shorten(path, 80)!r}"
        raise CheckpointError(f"{flag}: {fault}, expected one of run.py train, with its model-N.json")
    if os.path.isdir(path):
        newest = _newest(path, warn) or _newest(path / "checkpoints", warn)
        if newest:
            return newest
        path /= FILE
    if os.path.exists(path):
        return load_weights(path)
    if str(path) in SHIPPED_SHA256:
        return shipped_weights(str(path))
    raise CheckpointError(
        f"{flag}: found no checkpoint at {str(wanted or here)[-80:]!r}, "
        f"expected a step, a folder of checkpoints, a {FILE}, or one of {', '.join(SHIPPED_SHA256)}"
    )


def _newest(folder: Path, warn: Callable[[str], None]) -> checkpoint.Checkpoint | None:
    try:
        return checkpoint.newest(folder, warn) if os.path.isdir(folder) else None
    except OSError as error:
        raise CheckpointError(f"{folder}: {error.strerror}; expected a folder that can be read") from error


def shipped_weights(name: str = "weights") -> Weights:
    """The weights of SHIPPED_SHA256 that have the `name`. Raises CheckpointError if they are not as published."""
    package = Path(__file__).parent.parent
    root = package if (package / "checkpoints").exists() else package.parent
    path = root / "checkpoints" / "pretrained" / f"{name}.npz"
    read_published(path, SHIPPED_SHA256[name])
    return load_weights(path)


def describe(source: WeightsSource) -> str:
    """A line that says which weights were found."""
    path = source.prefix if isinstance(source, checkpoint.Checkpoint) else source.path
    return f"weights: step {source.step}, trained on {source.dataset['name']} ({path})"


def read_weights(source: WeightsSource) -> Weights:
    """The weights that `source` holds. Reading a checkpoint needs TensorFlow. Raises CheckpointError if it cannot."""
    if isinstance(source, Weights):
        return source
    import tensorflow as tf

    try:
        reader = tf.compat.v1.train.NewCheckpointReader(os.fsencode(source.prefix))
        saved = reader.get_variable_to_shape_map()
        # Averages and Adam's slots lie under the names of their variables, so a variable is what lies under no other.
        names = [name for name in saved if _NAME.fullmatch(name) and name.rpartition("/")[0] not in saved]
        arrays = {name: reader.get_tensor(name + _AVERAGE if name + _AVERAGE in saved else name) for name in names}
    except tf.errors.OpError as error:
        raise CheckpointError(f"{source.prefix}: {reason(error):.100}") from error
    return Weights(source.prefix, source.step, source.config, source.dataset, arrays)


def scale_z(weights: Weights, scale: float) -> Weights:
    """The weights that make of z what `weights` make of `scale` times z: other rows in the generator's first layer.

    `export --z_scale` is this, for other programs. Batch norm keeps the statistics that it has. So a scale below 1
    gives images that are more typical, like the truncation of Brock et al. (2018), and one above 1 more varied ones.
    """
    if scale == 1:
        return weights
    names = ("generator/dense/kernel", "generator/dense1/kernel")
    name = next((name for name in names if name in weights.arrays), None)
    if name is None or weights.arrays[name].ndim != 2:
        raise CheckpointError(f"{weights.path}: found no matrix {' or '.join(names)}, which --z_scale multiplies")
    kernel = weights.arrays[name].copy()
    kernel[: weights.config.z_dim] *= np.float32(scale)  # the rows behind them are those of the classes
    return weights._replace(arrays={**weights.arrays, name: kernel})


def save_weights(path: Path, weights: Weights, dtype: str = "float32") -> None:
    """Write `weights` to the .npz file `path`, exactly in `float32`, or in `float16`, which takes half the size.

    Raises CheckpointError if float16 cannot hold them, and OutputError if the file cannot be written.
    """
    arrays = rounded(weights, dtype)
    # Where the data was on the machine that trained is nobody else's business.
    kept, name = Path(weights.config.init_from).name, weights.dataset["name"]
    config = weights.config.replace(data_dir="", dataset=name, init_from=kept)
    record = {"format": FORMAT, "step": weights.step, "config": config.to_json(), "dataset": weights.dataset}
    record["sha256"] = seal(record, arrays)
    metadata = np.frombuffer(json.dumps(record).encode(), np.uint8)
    write_whole(path, lambda file: np.savez(file, metadata=metadata, **arrays))  # type: ignore[arg-type]


def read_earlier(source: WeightsSource, count: int) -> list[Weights]:
    """The weights of up to `count` earlier checkpoints of the run of `source`, oldest first.

    There are none where the run keeps its last checkpoints alone: the oldest must be from the first half of training.
    Damaged ones are left out.
    """
    if isinstance(source, Weights):
        return []
    folder = source.prefix.parent
    steps = [step for step in reversed(checkpoint.steps(folder)) if step < source.step]
    if not steps or steps[0] > source.step / 2:
        return []
    earlier = []
    for i in closer_early(len(steps), count):
        with contextlib.suppress(CheckpointError):
            earlier.append(read_weights(checkpoint.load(folder, steps[i])))
    return earlier


def rounded(weights: Weights, dtype: str) -> dict[str, np.ndarray]:
    """The arrays of `weights` in `float32` or `float16`, sorted by name. Raises CheckpointError if they do not fit."""
    with np.errstate(over="ignore"):  # looked for below
        arrays = {name: weights.arrays[name].astype(dtype) for name in sorted(weights.arrays)}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{weights.path}: {name} has values beyond {dtype}")
    return arrays


def load_weights(path: Path) -> Weights:
    """The weights in the .npz file `path`. Raises CheckpointError if it is missing, damaged or of another kind."""
    expected = f"expected a {FILE} as run.py export writes it"
    try:
        with open_data_file(path, expected) as file, zipfile.ZipFile(file) as archive:
            return _load(path, file, archive)
    except DataError as error:
        raise CheckpointError(str(error)) from error


def _load(path: Path, file: IO[bytes], archive: zipfile.ZipFile) -> Weights:
    """The weights in an open archive. The caller turns whatever this raises into an error of one line."""
    members = archive.infolist()
    size = os.fstat(file.fileno()).st_size
    if len(members) > _MOST_ARRAYS or sum(member.file_size for member in members) > min(size, _LARGEST_FILE):
        raise DataError("found more or larger arrays than the file can hold")
    arrays = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in arrays or not (name == "metadata" or _NAME.fullmatch(name)):
            raise DataError(f"found an array {name[:40]!r}, expected variables of the two networks, once each")
        arrays[name] = _read_array(archive, member)
    if "metadata" not in arrays:
        raise DataError("found no array 'metadata', expected one")
    record = json.loads(arrays.pop("metadata").tobytes())
    sealed = record.pop("sha256")
    if sealed != seal(record, arrays):
        raise DataError("its sha256 does not hold")
    step, dataset = record["step"], record["dataset"]
    if record["format"] != FORMAT or type(step) is not int or step < 0:
        raise DataError(f"found format {record['format']!r}, step {step!r}, expected {FORMAT} and a step")
    for name in _RETIRED:
        record["config"].pop(name, None)
    config = Config.from_json(record["config"])
    check_dataset_record(dataset, config.conditional)
    return Weights(path, step, config, dataset, {name: array.astype(np.float32) for name, array in arrays.items()})


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array in `member`: uint8 for the metadata, and otherwise float16 or float32, all of it finite."""
    types = ("uint8",) if member.filename == "metadata.npy" else ("float16", "float32")

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if dtype not in types:  # big-endian numbers are not
            raise DataError(f"found {shorten(member.filename)!r} of {str(dtype)[:20]}, expected {' or '.join(types)}")

    with open_member(archive, member, (zipfile.ZIP_STORED,)) as content:
        array = read_npy(content, check)
    if not array.flags.c_contiguous:
        raise DataError(f"found {shorten(member.filename)!r} in Fortran's order, expected C's")
    if not np.isfinite(array).all():
        raise DataError(f"found NaN or infinity in {shorten(member.filename)!r}, expected numbers")
    return array


def seal(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """The sha256, in hex, of the metadata and of the name, type, shape and bytes of every array."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
