"""A trained GAN at work: it draws digits, of a class if asked, moves from one to another, and judges them."""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dcgan_tf1.data import draws
from dcgan_tf1.data.draws import CHUNK
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.networks import load_family
from dcgan_tf1.networks.frozen import constant_getter, session_options
from dcgan_tf1.networks.pixels import scale_images, to_uint8
from dcgan_tf1.pictures import images
from dcgan_tf1.quality.classifier import CLASSES, SIDE, Classifier
from dcgan_tf1.sampling.paths import path
from dcgan_tf1.sampling.weights import Weights

v1 = tf.compat.v1

MIN_CONFIDENCE = 0.9
"""The classifier's probability from which on a digit counts as one of its class."""
_PATIENCE = 40 * CHUNK
"""Candidates in a row of which none is kept, after which no more are drawn."""
_AHEAD = 100
"""Digits by which a class may be ahead of the rarest one while a balanced set grows, so that every part is balanced."""


class Selection(NamedTuple):
    """Some of a chunk's digits."""

    z: np.ndarray
    """float32 [n, z_dim]."""
    digits: np.ndarray
    """uint8 [n, 32, 32]."""
    labels: np.ndarray | None
    """uint8 [n], or None where nobody asked for them."""
    drawn: int
    """Candidates so far, in all chunks: those kept, and those that were not wanted."""


class TrainedGan:
    """The two networks of `weights`, frozen, in a graph and a session of their own. Any thread may call it.

    Digits are of the family's size: where [..., 32, 32] is said below, `dcgan28` and `mlp` give [..., 28, 28].

    Raises:
        CheckpointError: the weights are not those of the networks that their config describes.
    """

    def __init__(self, weights: Weights):
        self.config = weights.config
        self.step = weights.step
        self.dataset = weights.dataset
        used: set[str] = set()
        constant = constant_getter(weights.arrays, weights.path, used)
        model = load_family(self.config.model)
        size = self.config.image_size
        graph = tf.Graph()
        with graph.as_default():
            z = v1.placeholder(tf.float32, [CHUNK, self.config.z_dim])
            shown = v1.placeholder(tf.uint8, [CHUNK, size, size])
            with v1.variable_scope("generator", custom_getter=constant):  # frozen: nothing to initialise
                drawn = to_uint8(model.generator(z, False, self.config))
            with v1.variable_scope("discriminator", custom_getter=constant):
                logits = model.discriminator(scale_images(shown, size), False, self.config)
            probabilities = tf.sigmoid(logits[:, 0])
        self._side = size
        if weights.arrays.keys() - used:
            unused = min(weights.arrays.keys() - used)
            raise CheckpointError(f"{weights.path}: found {unused}, which no network of its config has")
        self._session = v1.Session(graph=graph, config=session_options())
        self._open = contextlib.ExitStack()
        self._open.callback(self._session.close)
        self._classifier = None
        self._lock = threading.Lock()
        self._draw = self._session.make_callable(drawn, [z])
        self._judge = self._session.make_callable(probabilities, [shown])

    def __enter__(self) -> "TrainedGan":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the sessions; nothing can be drawn any more."""
        self._open.close()

    def draw(self, z: np.ndarray) -> np.ndarray:
        """The digits of latent vectors float32 [n, z_dim], uint8 [n, 32, 32]."""
        return _in_chunks(self._draw, z)

    def select(
        self, n: int, seed: int, digit: int | None = None, balanced: bool = False, min_confidence: float | None = None
    ) -> Iterator[Selection]:
        """The first `n` digits of `seed` that are wanted, chunk by chunk.

        Args:
            seed: 0 to 2**63 - 1.
            digit: the class wanted; None: any.
            balanced: whether as many of each class are wanted, give or take one.
            min_confidence: the probability that the classifier must give the class of a digit, from which its label
                comes. If None, MIN_CONFIDENCE; but where any digit is wanted, all are kept, without labels.

        Raises:
            ValueError: an argument is out of range.
            CheckpointError: the generator draws none that is wanted, or the classifier's weights are damaged.
        """
        _check("n", n, 0, 2**63)
        _check("seed", seed, 0, 2**63 - 1)
        quota = np.full(CLASSES, n)
        if digit is not None:
            _check("digit", digit, 0, CLASSES - 1)
            quota = np.where(np.arange(CLASSES) == digit, n, 0)
        elif balanced:
            quota = n // CLASSES + (np.arange(CLASSES) < n % CLASSES)
        anything = digit is None and not balanced and min_confidence is None
        counts = np.zeros(CLASSES, int)
        done = dry = 0

        def draw(chunk: int) -> tuple:
            shape = (CHUNK, self.config.z_dim)
            z = draws.latent(seed, draws.Stream.SAMPLE, chunk, shape, self.config.z_distribution)
            digits = self._draw(z)
            if anything:
                return z, digits, None, None
            return z, digits, *self._classify(digits, MIN_CONFIDENCE if min_confidence is None else min_confidence)

        for chunk, (z, digits, labels, sure) in enumerate(_in_order(draw) if n else ()):
            if anything:
                keep = np.arange(min(CHUNK, n - done))
            else:
                limit = np.minimum(quota, counts.min() + _AHEAD) if balanced else quota
                keep = []
                for i in np.flatnonzero(sure):
                    if counts[labels[i]] < limit[labels[i]] and done + len(keep) < n:
                        counts[labels[i]] += 1
                        keep.append(i)
                labels = labels[keep]
            if len(keep):
                done, dry = done + len(keep), 0
                drawn = chunk * CHUNK + (CHUNK if done < n else int(keep[-1]) + 1)
                yield Selection(z[keep], digits[keep], labels, drawn)
            elif (dry := dry + CHUNK) >= _PATIENCE:
                missing = f"digit {(quota - counts).argmax()}" if balanced or digit is not None else "any digit"
                raise CheckpointError(
                    f"{missing}: found none in {dry} that step {self.step} draws, expected one that the classifier is "
                    "sure of; train further, or lower --min_confidence"
                )
            if done == n:
                break

    def _classify(self, digits: np.ndarray, min_confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """The classes of uint8 [n, 32, 32], uint8 [n], and whether the classifier is sure of each, bool [n]."""
        with self._lock:
            if not self._classifier:
                self._classifier = self._open.enter_context(Classifier.load())
        _, probabilities = self._classifier.features_and_probabilities(images.fit(digits, SIDE))
        return probabilities.argmax(1).astype(np.uint8), probabilities.max(1) >= min_confidence

    def sample(self, n: int, digit: int | None = None, seed: int | None = None) -> np.ndarray:
        """The first `n` digits of `seed` (of class `digit`, if given), uint8 [n, 32, 32].

        A digit depends on the weights, the seed, its index and the class asked for, and on nothing else. The GAN knows
        no classes: of its digits, those are kept that the frozen classifier is sure of (`MIN_CONFIDENCE`).

        Args:
            seed: 0 to 2**63 - 1; None: a new one each time.

        Raises:
            ValueError: an argument is out of range.
            CheckpointError: the generator does not draw that digit.
        """
        nothing = np.zeros((0, self._side, self._side), np.uint8)
        return np.concatenate([nothing, *(kept.digits for kept in self.select(n, _seed(seed), digit))])

    def interpolate(
        self,
        steps: int,
        rows: int = 1,
        digits: tuple[int | None, int | None] = (None, None),
        seeds: tuple[int | None, int | None] = (None, None),
    ) -> np.ndarray:
        """`rows` paths from the first digits of one seed to those of another, uint8 [rows, steps, 32, 32].

        Args:
            steps: digits a path, its two ends included; 2 or more.
            digits: the classes that the paths start from and lead to; None: any.
            seeds: of the digits at the start and at the end; None: a new one.

        Raises:
            ValueError: an argument is out of range.
            CheckpointError: the generator does not draw one of `digits`.
        """
        _check("steps", steps, 2, 2**31)
        _check("rows", rows, 1, 2**31)
        start, stop = (
            np.concatenate([kept.z for kept in self.select(rows, _seed(seed), digit)])
            for seed, digit in zip(seeds, digits, strict=True)
        )
        z = path(start, stop, steps, self.config.z_distribution).reshape(rows * steps, -1)
        return self.draw(z).reshape(rows, steps, self._side, self._side)

    def discriminate(self, digits: np.ndarray) -> np.ndarray:
        """The probability, in D's eyes, that each of uint8 [n, 28, 28] or [n, 32, 32] is real: float32 [n].

        Read it as an order: training normalises D by the batch, of reals or of fakes, and the moving averages of reals
        that stand in for both here move its level.

        Raises:
            ValueError: `digits` is of another type or shape.
        """
        digits = np.asarray(digits)
        if digits.dtype != np.uint8 or digits.shape[1:] not in ((28, 28), (32, 32)):
            raise ValueError(f"digits: found {digits.dtype} {digits.shape}, expected uint8 [n, 28, 28] or [n, 32, 32]")
        return _in_chunks(self._judge, images.fit(digits, self._side))


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: found {value}, expected {low} to {high}")


def _in_order(call: Callable[[int], Any]) -> Iterator[Any]:
    """What `call` makes of 0, 1, 2, ..., without end: the first alone, as it may be enough, then one ahead."""
    yield call(0)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(call, 1)
        for i in itertools.count(2):
            result, ahead = ahead.result(), pool.submit(call, i)
            yield result


def _seed(seed: int | None) -> int:
    return int.from_bytes(os.urandom(7), "little") if seed is None else seed


def _in_chunks(call: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """What `call`, which takes CHUNK inputs, makes of [n, ...]: [n, ...]."""
    count = len(inputs)
    padding = np.zeros((max(-count % CHUNK, 0 if count else CHUNK), *inputs.shape[1:]), inputs.dtype)
    inputs = np.concatenate([inputs, padding])
    return np.concatenate([call(inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK)])[:count]
