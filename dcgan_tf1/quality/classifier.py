"""A frozen classifier of handwritten digits, whose last hidden layer is the space that digits are compared in.

MNIST's digits need features that were made for them: Inception's were learned on photographs. The weights come with
the package; `experiments/train_classifier.py` makes them anew.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dcgan_tf1.data.classes import DIGITS
from dcgan_tf1.files import read_published
from dcgan_tf1.networks.frozen import call_in_batches, constant_getter, session_options
from dcgan_tf1.networks.layers import ForwardPass, batch_norm, conv2d, dense

v1 = tf.compat.v1

SIDE = 28
BATCH = 500  # the number of images that pass through the network together, whatever the number of images is
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
SCOPE = "classifier"  # the variable scope of the network, in the names of its weights too


class Kind(NamedTuple):
    """The shape of a classifier, and the file of its weights."""

    seed: int
    convolutions: tuple[tuple[int, int, int], ...]  # (channels, kernel, stride) of each
    features: int  # the width of the last hidden layer
    file: str
    sha256: str  # the sha256 of the file, in hex
    classes: int = len(DIGITS)  # how many classes it tells apart
    channels: int = 1  # 1 where it sees grey images, 3 where it sees colours

    @property
    def path(self) -> Path:
        """Where the published weights are."""
        return Path(__file__).parent / self.file


KINDS = {
    "a": Kind(
        1,
        ((16, 3, 1), (32, 3, 2), (64, 3, 2), (64, 3, 1)),
        64,
        "classifier.npz",
        "a79939b6d038d7ef681826857b7889203ef84dd227165f9644a7413a8b1d9487",
    ),
    "b": Kind(
        2,
        ((24, 5, 2), (48, 5, 2)),
        96,
        "classifier_b.npz",
        "61b00ad2d010caf240d31c46b66c62baef60616ccdf5850fd94f62700aa3b293",
    ),
}
"""`a` measures. `b` has another shape and another seed and is for final tables: nothing was ever tuned to please it."""


class Classifier:
    """A classifier with frozen weights. `load` gives a published one."""

    def __init__(self, kind: Kind, weights: Mapping[str, np.ndarray], session: tf.compat.v1.Session) -> None:
        self.classes = kind.classes
        self.name = next((name for name, known in KINDS.items() if known == kind), "trained on the data set")
        self._channels = kind.channels
        with session.graph.as_default():
            shape = [BATCH, SIDE, SIDE] if kind.channels == 1 else [BATCH, SIDE, SIDE, kind.channels]
            images = v1.placeholder(tf.uint8, shape)
            with v1.variable_scope(SCOPE, custom_getter=constant_getter(weights, kind.path)):
                features, logits = network(images, kind, ForwardPass(training=False))
            self._run_network = session.make_callable((features, tf.nn.softmax(logits)), [images])

    @classmethod
    def load(cls, name: str = "a") -> contextlib.AbstractContextManager["Classifier"]:
        """The published classifier `name` of KINDS, open until the `with` block ends. Raises CheckpointError."""
        return cls.open(KINDS[name], read_weights(KINDS[name]))

    @classmethod
    @contextlib.contextmanager
    def open(cls, kind: Kind, weights: Mapping[str, np.ndarray]) -> Iterator["Classifier"]:
        """The classifier of `weights`, with a graph and a session of its own, open until the `with` block ends."""
        # The session is closed and not entered: to enter it would make its graph the default one of the thread.
        with contextlib.closing(v1.Session(graph=tf.Graph(), config=session_options())) as session:
            yield cls(kind, weights, session)

    def features_and_probabilities(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the classifier sees in `images`, uint8 [n, 28, 28], or [n, 28, 28, 3] in colour.

        It is the last hidden layer, float32 [n, d], 0 or more, and the classes' probabilities, float32 [n, classes].
        One of grey images sees the greys of those in colour.
        """
        if images.ndim == 4 and self._channels == 1:
            images = (images @ _GREY).round().astype(np.uint8)
        return tuple(call_in_batches(self._run_network, BATCH, images))  # type: ignore[return-value]

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """The share of `images`, uint8 [n, 28, 28], that it reads as `labels`, integers [n], say."""
        return float((self.features_and_probabilities(images)[1].argmax(1) == labels).mean())


def read_weights(kind: Kind) -> dict[str, np.ndarray]:
    """The published weights of `kind`, by variable."""
    with np.load(io.BytesIO(read_published(kind.path, kind.sha256))) as arrays:
        return dict(arrays)


def network(images: tf.Tensor, kind: Kind, forward: ForwardPass) -> tuple[tf.Tensor, tf.Tensor]:
    """uint8 [n, 28, 28], or [n, 28, 28, 3] in colour -> features [n, kind.features], logits [n, kind.classes]."""
    x = tf.cast(images, tf.float32) if kind.channels > 1 else tf.cast(images, tf.float32)[..., tf.newaxis]
    x = x / 255.0
    for i, (channels, kernel, stride) in enumerate(kind.convolutions, 1):
        x = conv2d(x, channels, kernel, stride, f"conv{i}")
        x = tf.nn.relu(batch_norm(x, forward, f"norm{i}"))
    x = tf.reshape(x, [-1, np.prod(x.shape[1:])])  # [n, 7 7 channels]
    if forward.training:
        x = tf.nn.dropout(x, rate=0.3, seed=kind.seed)
    x = dense(x, kind.features, "features", use_bias=False)
    features = tf.nn.relu(batch_norm(x, forward, "features_norm"))
    return features, dense(features, kind.classes, "logits")
