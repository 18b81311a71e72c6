"""Training of the classifiers that digits are judged by.

    python -m dcgan_tf1.quality.train_classifier --data_dir DIR

They are trained on MNIST's first 55,000 training digits. All choices were made on the 5,000 training digits after
those; MNIST's test digits were only ever measured.
"""

import argparse
import contextlib
import hashlib
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dcgan_tf1.data import draws, sources
from dcgan_tf1.data.readers import open_data_file
from dcgan_tf1.errors import DataError, DcganError, OutputError, one_line
from dcgan_tf1.files import cache_folder, make_folder, write_whole
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.networks.layers import MOVING_AVERAGES
from dcgan_tf1.quality.classifier import KINDS, SCOPE, SIDE, Classifier, Kind, network

v1 = tf.compat.v1

_HELD_OUT = 5000
_BATCH = 100
_EPOCHS = 14
_LEAST_SHOWN = 60_000
"""How many images are shown at least in a training, however few there are."""
_RATE = 2e-3
"""The learning rate of the first step; it falls to 0 in a straight line."""


def open_fitted(data: sources.Dataset) -> contextlib.AbstractContextManager[Classifier]:
    """A classifier of kind `a` for `data`, open until the `with` block ends.

    It is trained on all of `data` at the first call. Later calls find its weights in the cache.

    Args:
        data: labelled images of 28x28 pixels.

    Raises:
        DataError: it has no labels.
    """
    labels = data.indices_of(data)
    digest = hashlib.sha256(data.digest.encode() + labels.astype("<i4").tobytes()).hexdigest()
    folder = cache_folder()
    path = folder / "classifiers" / f"{digest[:32]}.npz" if folder else None
    kind = KINDS["a"]._replace(
        classes=int(labels.max()) + 1, file=str(path), sha256="", channels=1 if data.images.ndim == 3 else 3
    )
    if path and path.exists():
        with contextlib.suppress(DataError), open_data_file(path) as content, np.load(content) as arrays:
            weights = dict(arrays)
            return Classifier.open(kind, weights)
        print(one_line(f"note: {path} is not used, since it is damaged"))
    print(one_line(f"training a classifier of {data.name} once"), flush=True)
    weights = fit(kind, data.images, labels, _EPOCHS)
    try:
        if path:
            make_folder(path.parent)
            write_whole(path, lambda file: np.savez_compressed(file, **weights))  # type: ignore[arg-type]
    except OutputError as error:
        print(one_line(f"warning: {error}; going on without, so it is trained again next time"))
    return Classifier.open(kind, weights)


def fit(kind: Kind, images: np.ndarray, labels: np.ndarray, epochs: int) -> dict[str, np.ndarray]:
    """Train a classifier from the seed of its kind.

    Args:
        images: uint8 [n, 28, 28], or [n, 28, 28, 3] in colour.
        labels: integers [n], each from 0 to kind.classes - 1.
        epochs: passes over the images; of few images there are more, so that _LEAST_SHOWN are shown in all.

    Returns:
        The weights in float16, by variable.
    """
    batch = min(_BATCH, len(images))
    steps = max(epochs, _LEAST_SHOWN // len(images)) * (len(images) // batch)
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(kind.seed)
        image = v1.placeholder(tf.uint8, [batch, *images.shape[1:]])
        label = v1.placeholder(tf.int32, [batch])
        transform = v1.placeholder(tf.float32, [batch, 8])
        rate = v1.placeholder(tf.float32, [])
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=image[..., tf.newaxis] if kind.channels == 1 else image,
            transforms=transform,
            output_shape=[SIDE, SIDE],
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        with v1.variable_scope(SCOPE):
            _, logits = network(moved[..., 0] if kind.channels == 1 else moved, kind, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))
        weights = {variable.op.name: variable for variable in v1.global_variables()}
        entries = v1.get_collection(MOVING_AVERAGES)
        share = v1.placeholder(tf.float32, [])
        averages = [average.assign_sub((average - value) * share) for average, value, _ in entries]
        train_op = tf.group(v1.train.AdamOptimizer(rate).minimize(loss), *averages)
        init_op = v1.global_variables_initializer()
    with v1.Session(graph=graph, config=session_options()) as session:
        session.run(init_op)
        train_step = session.make_callable((loss, train_op), [image, label, transform, rate, share])
        for step in (progress := tqdm(range(steps), mininterval=5)):
            chosen = draws.batch_indices(len(images), batch, kind.seed, step)
            moves = _transforms(np.random.default_rng([kind.seed, step]), batch)
            latest = max(0.01, 1 / (1 + step))  # the share of the batch in the moving averages
            found, _ = train_step(images[chosen], labels[chosen], moves, _RATE * (1 - step / steps), latest)
            if step % 100 == 0:
                progress.set_postfix(loss=f"{found:.3f}")
        return {name: value.astype(np.float16) for name, value in session.run(weights).items()}


def _transforms(random: np.random.Generator, count: int) -> np.ndarray:
    """Small random rotations, zooms, shears and shifts, for ImageProjectiveTransformV3: float32 [count, 8]."""
    angle, shear = random.uniform(-0.2, 0.2, (2, count))  # in radians, and in pixels for each pixel
    zoom = np.exp(random.uniform(-0.12, 0.12, count))
    shift = random.uniform(-2, 2, (count, 2))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.stack([cos, shear - sin, sin, cos], 1).reshape(-1, 2, 2)
    offset = shift + (SIDE - 1) / 2 * (1 - matrix.sum(2))  # without a shift, the centre stays where it is
    rows = np.concatenate([matrix, offset[..., np.newaxis]], 2).reshape(-1, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)


def main() -> None:
    """Train a classifier, write its weights, and print its accuracies and the sha256 that belongs into KINDS."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--name", default="a", choices=tuple(KINDS), help="which classifier (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file to write (default: the package's own)")
    parser.add_argument("--epochs", type=int, default=_EPOCHS, help="passes over the digits (default: %(default)s)")
    flags = parser.parse_args()
    kind = KINDS[flags.name]
    train, test = (sources.load("mnist", flags.data_dir, split) for split in ("train", "test"))
    assert train.labels is not None and test.labels is not None  # MNIST has labels
    fitted, held_out = slice(-_HELD_OUT), slice(-_HELD_OUT, None)
    weights = fit(kind, train.images[fitted], train.labels[fitted], flags.epochs)
    with Classifier.open(kind, weights) as classifier:
        print(f"fitted   {classifier.accuracy(train.images[fitted], train.labels[fitted]):.2%}")
        print(f"held out {classifier.accuracy(train.images[held_out], train.labels[held_out]):.2%}")
        print(f"test     {classifier.accuracy(test.images, test.labels):.2%}")
    path = flags.out or kind.path
    write_whole(path, lambda file: np.savez_compressed(file, **weights))  # type: ignore[arg-type]
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    try:
        main()
    except DcganError as error:
        sys.exit(f"error: {error}")
