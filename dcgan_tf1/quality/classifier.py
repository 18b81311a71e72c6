"""A frozen classifier of handwritten digits, whose last hidden layer is the space that digits are compared in.

MNIST's digits need features made for them: Inception's were learned on photographs. The weights come with the package;
`python -m dcgan_tf1.quality.classifier --data_dir DIR` makes them anew, from the first 55,000 training digits. All
choices were made on the 5,000 training digits after those; MNIST's test digits were only ever measured.
"""

import argparse
import contextlib
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dcgan_tf1.data import draws, sources
from dcgan_tf1.errors import CheckpointError, DcganError
from dcgan_tf1.files import write_whole
from dcgan_tf1.networks.layers import MOVING_AVERAGES, batch_norm, conv2d, dense

v1 = tf.compat.v1

CLASSES = 10
SIDE = 28
CHUNK = 500
"""Images that pass through the network together, always: what is found in one does not depend on how many there are."""
_SCOPE = "classifier"
_HELD_OUT = 5000
_BATCH = 100
_EPOCHS = 14
_RATE = 2e-3


class _Kind(NamedTuple):
    seed: int
    convolutions: tuple[tuple[int, int, int], ...]
    """(channels, kernel, stride) of each."""
    features: int
    file: str
    sha256: str
    """In hex, of the file."""


KINDS = {
    "a": _Kind(
        1,
        ((16, 3, 1), (32, 3, 2), (64, 3, 2), (64, 3, 1)),
        64,
        "classifier.npz",
        "a79939b6d038d7ef681826857b7889203ef84dd227165f9644a7413a8b1d9487",
    ),
    "b": _Kind(
        2,
        ((24, 5, 2), (48, 5, 2)),
        96,
        "classifier_b.npz",
        "61b00ad2d010caf240d31c46b66c62baef60616ccdf5850fd94f62700aa3b293",
    ),
}
"""`a` is the scorer. `b`, of another shape and seed, is for final tables: nothing was ever tuned to please it."""


class Classifier:
    """A loaded classifier; `load` makes one."""

    def __init__(self, kind: _Kind, weights: dict[str, np.ndarray], session: v1.Session):
        def constant(getter: Any, name: str, **_: Any) -> tf.Tensor:
            return tf.constant(weights[name].astype(np.float32))

        with session.graph.as_default():
            images = v1.placeholder(tf.uint8, [CHUNK, SIDE, SIDE])
            with v1.variable_scope(_SCOPE, custom_getter=constant):  # frozen: no variables, so nothing to initialise
                features, logits = _network(images, kind, training=False)
            self._call = session.make_callable((features, tf.nn.softmax(logits)), [images])

    @classmethod
    def load(cls, name: str = "a") -> contextlib.AbstractContextManager["Classifier"]:
        """Within it, the classifier `name` (of KINDS), with a graph and a session of its own.

        Raises:
            CheckpointError: its file is missing, or not the one that was published.
        """
        return cls._opened(KINDS[name], _read(KINDS[name]))

    @classmethod
    @contextlib.contextmanager
    def _opened(cls, kind: _Kind, weights: dict[str, np.ndarray]) -> Iterator["Classifier"]:
        options = v1.ConfigProto()
        options.gpu_options.allow_growth = True
        # Closed and no more: to enter a session would make its graph the default one of the thread at hand.
        with contextlib.closing(v1.Session(graph=tf.Graph(), config=options)) as session:
            yield cls(kind, weights, session)

    def features_and_probabilities(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What it sees in `images`, uint8 [n, 28, 28].

        Returns:
            float32 [n, d], the last hidden layer, 0 and up; and float32 [n, 10], the classes' probabilities.
        """
        count = len(images)
        images = np.concatenate([images, np.zeros((-count % CHUNK, SIDE, SIDE), np.uint8)])
        chunks = [self._call(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
        features, probabilities = (np.concatenate(parts)[:count] for parts in zip(*chunks, strict=True))
        return features, probabilities

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of uint8 [n, 28, 28] that it takes for what uint8 [n] says they are."""
        return float((self.features_and_probabilities(images)[1].argmax(1) == labels).mean())


def _read(kind: _Kind) -> dict[str, np.ndarray]:
    """The published weights of `kind`, by variable."""
    path = Path(__file__).with_name(kind.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; expected the classifier's weights") from error
    found = hashlib.sha256(content).hexdigest()
    if found != kind.sha256:
        raise CheckpointError(f"{path}: found sha256 {found[:16]}, expected {kind.sha256[:16]}; reinstall the package")
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def _network(images: tf.Tensor, kind: _Kind, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """uint8 [n, 28, 28] -> features [n, kind.features], logits [n, 10]."""
    x = tf.cast(images, tf.float32)[..., tf.newaxis] / 255.0
    for i, (channels, kernel, stride) in enumerate(kind.convolutions, 1):
        x = conv2d(x, channels, kernel, stride, f"conv{i}")
        x = tf.nn.relu(batch_norm(x, training, f"norm{i}"))
    x = tf.reshape(x, [-1, np.prod(x.shape[1:])])  # [n, 7 7 channels]
    if training:
        x = tf.nn.dropout(x, rate=0.3, seed=kind.seed)
    x = dense(x, kind.features, "features", use_bias=False)
    features = tf.nn.relu(batch_norm(x, training, "features_norm"))
    return features, dense(features, CLASSES, "logits")


def fit(kind: _Kind, images: np.ndarray, labels: np.ndarray, epochs: int) -> dict[str, np.ndarray]:
    """Train `kind` from its seed on uint8 [n, 28, 28] and labels [n]; returns float16 weights by variable."""
    steps = epochs * (len(images) // _BATCH)
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(kind.seed)
        image = v1.placeholder(tf.uint8, [_BATCH, SIDE, SIDE])
        label = v1.placeholder(tf.int32, [_BATCH])
        transform = v1.placeholder(tf.float32, [_BATCH, 8])
        rate = v1.placeholder(tf.float32, [])
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=image[..., tf.newaxis],
            transforms=transform,
            output_shape=[SIDE, SIDE],
            fill_value=0.0,
            interpolation="BILINEAR",
        )
        with v1.variable_scope(_SCOPE):
            _, logits = _network(moved[..., 0], kind, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))
        weights = {variable.op.name: variable for variable in v1.global_variables()}
        entries = v1.get_collection(MOVING_AVERAGES)
        averages = [average.assign_sub((average - value) * 0.01) for average, value, _ in entries]
        train_op = tf.group(v1.train.AdamOptimizer(rate).minimize(loss), *averages)
        init_op = v1.global_variables_initializer()
    with v1.Session(graph=graph) as session:
        session.run(init_op)
        train_step = session.make_callable((loss, train_op), [image, label, transform, rate])
        for step in (progress := tqdm(range(steps), mininterval=5)):
            chosen = draws.batch_indices(len(images), _BATCH, kind.seed, step)
            moves = _transforms(np.random.default_rng([kind.seed, step]), _BATCH)
            found, _ = train_step(images[chosen], labels[chosen], moves, _RATE * (1 - step / steps))
            if step % 100 == 0:
                progress.set_postfix(loss=f"{found:.3f}")
        return {name: value.astype(np.float16) for name, value in session.run(weights).items()}


def _transforms(random: np.random.Generator, count: int) -> np.ndarray:
    """Small random rotations, zooms, shears and shifts, float32 [count, 8] as TensorFlow's transform takes them."""
    angle, shear = random.uniform(-0.2, 0.2, (2, count))  # radians; pixels a pixel
    zoom = np.exp(random.uniform(-0.12, 0.12, count))
    shift = random.uniform(-2, 2, (count, 2))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.stack([cos, shear - sin, sin, cos], 1).reshape(-1, 2, 2)
    offset = shift + (SIDE - 1) / 2 * (1 - matrix.sum(2))  # keeps the centre where it is, but for the shift
    rows = np.concatenate([matrix, offset[..., np.newaxis]], 2).reshape(-1, 6)
    return np.pad(rows, ((0, 0), (0, 2))).astype(np.float32)


def main() -> None:
    """Train a classifier, write its weights, and print its accuracies and the sha256 to be pinned in KINDS."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data_dir", default="", help="folder of MNIST's files")
    parser.add_argument("--name", default="a", choices=tuple(KINDS), help="which classifier (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file to write (default: the package's own)")
    parser.add_argument("--epochs", type=int, default=_EPOCHS, help="passes over the digits (default: %(default)s)")
    flags = parser.parse_args()
    kind = KINDS[flags.name]
    train, test = (sources.load("mnist", flags.data_dir, split) for split in ("train", "test"))
    fitted, held_out = slice(-_HELD_OUT), slice(-_HELD_OUT, None)
    weights = fit(kind, train.images[fitted], train.labels[fitted], flags.epochs)
    with Classifier._opened(kind, weights) as classifier:
        print(f"fitted   {classifier.accuracy(train.images[fitted], train.labels[fitted]):.2%}")
        print(f"held out {classifier.accuracy(train.images[held_out], train.labels[held_out]):.2%}")
        print(f"test     {classifier.accuracy(test.images, test.labels):.2%}")
    path = flags.out or Path(__file__).with_name(kind.file)
    write_whole(path, lambda file: np.savez_compressed(file, **weights))
    print(f"{path}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    try:
        main()
    except DcganError as error:
        sys.exit(f"error: {error}")
