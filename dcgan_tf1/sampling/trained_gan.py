"""A trained GAN at work: it draws digits, of one class if asked, moves from one digit to another, and judges digits."""

import contextlib
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dcgan_tf1.data import draws
from dcgan_tf1.data.draws import CHUNK
from dcgan_tf1.errors import CheckpointError, one_line
from dcgan_tf1.networks import load_family
from dcgan_tf1.networks.frozen import call_in_batches, constant_getter, session_options
from dcgan_tf1.networks.pixels import scale_images, to_uint8
from dcgan_tf1.pictures import images
from dcgan_tf1.quality import MIN_CONFIDENCE
from dcgan_tf1.quality.classifier import CLASSES, SIDE, Classifier
from dcgan_tf1.sampling.labels import check_integer, check_label, describe_classes, labels_of
from dcgan_tf1.sampling.paths import latent_path
from dcgan_tf1.sampling.weights import Weights

v1 = tf.compat.v1

_MAX_FRUITLESS = 40 * CHUNK
"""How many candidates in a row may be rejected before the search for a wanted digit is given up."""
_MAX_LEAD = 100
"""How many more digits of a class than of the rarest class may be kept when a chunk of a balanced set is drawn.

Without this limit the common classes would fill up first, and the last part of the set would hold the rare ones alone.
"""
_MAX_SEED = 2**63 - 1
_Result = TypeVar("_Result")


class Selection(NamedTuple):
    """The digits that were kept from one chunk of candidates."""

    z: np.ndarray
    """The digits' latent vectors, float32 [n, z_dim]."""
    digits: np.ndarray
    """uint8 [n, 32, 32]."""
    labels: np.ndarray | None
    """The classes, integers [n]: those that a conditional GAN was asked for, or else those that the classifier sees;
    None if any digit was wanted of an unconditional GAN, for then the classifier is not asked."""
    drawn: int
    """How many candidates have been examined so far, in this chunk and all before it."""


class TrainedGan:
    """A generator and a discriminator with fixed weights. Any number of threads may use one object.

    It has a graph and a session of its own; `close`, or the end of a `with` block, frees them. Digits have the size
    of the family of networks: where the methods say [..., 32, 32], `dcgan28` and `mlp` give [..., 28, 28]. In colour
    (`config.channels`) there are 3 channels behind.

    Raises:
        CheckpointError: the weights do not fit the networks that their config describes.
    """

    def __init__(self, weights: Weights):
        self.config = weights.config
        self.step = weights.step
        self.dataset = weights.dataset
        self.classes: tuple[str, ...] = tuple(weights.dataset.get("classes", ()))
        """The names of the classes that a conditional GAN draws; of an unconditional one, nothing."""
        self._labels = labels_of(self.classes)
        self._side = self.config.image_size
        self._shape = self.config.image_shape(self._side)
        model = load_family(self.config.model)
        used: set[str] = set()
        constant = constant_getter(weights.arrays, weights.path, used)
        graph = tf.Graph()
        with graph.as_default():
            z = v1.placeholder(tf.float32, [CHUNK, self.config.z_dim])
            shown = v1.placeholder(tf.uint8, [CHUNK, *self._shape])
            classes = v1.placeholder(tf.float32, [CHUNK, len(self.classes)])
            known = classes if self.classes else None
            with v1.variable_scope("generator", custom_getter=constant):
                drawn = to_uint8(model.generator(z, known, False, self.config))
            with v1.variable_scope("discriminator", custom_getter=constant):
                logits = model.discriminator(scale_images(shown, self._side), known, False, self.config)
            probabilities = tf.sigmoid(logits[:, 0])
        unused = weights.arrays.keys() - used
        if unused:
            raise CheckpointError(f"{weights.path}: found {min(unused)}, which no network of its config has")
        session = v1.Session(graph=graph, config=session_options())
        self._resources = contextlib.ExitStack()
        self._resources.callback(session.close)
        self._run_generator = session.make_callable([drawn], [z, classes])
        self._run_discriminator = session.make_callable([probabilities], [shown, classes])
        self._classifier: Classifier | None = None
        self._classifier_lock = threading.Lock()

    def __enter__(self) -> "TrainedGan":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the sessions. After that every method that needs one raises RuntimeError."""
        self._resources.close()

    def draw(self, z: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> np.ndarray:
        """Draw the digits of given latent vectors.

        Args:
            z: [n, z_dim], finite numbers; training's lie in [-1, 1) or are standard normal (`Config.z_distribution`).
            labels: the classes to draw, integers [n]; only a conditional GAN takes them, and it needs them.

        Returns:
            uint8 [n, 32, 32]. A digit does not depend on the others that are drawn with it.

        Raises:
            ValueError: `z` has another shape, or holds something else than finite numbers; `labels` are missing, are
                not the classes of this GAN, or were given to an unconditional one.
        """
        vectors = _as_array("z", z)
        expected = f"expected finite numbers [n, {self.config.z_dim}]"
        if vectors.dtype.kind not in "iuf" or vectors.shape[1:] != (self.config.z_dim,):
            raise _value_error(f"z: found {_kind(vectors)}, {expected}")
        with np.errstate(over="ignore"):  # the next lines look at what became infinite
            vectors = vectors.astype(np.float32)
        if not np.isfinite(vectors).all():
            raise _value_error(f"z: found NaN, infinity or a number beyond float32, {expected}")
        return self._draw(vectors, self._checked_classes(labels, len(vectors)))

    def sample(self, n: int, digit: int | None = None, seed: int | None = None) -> np.ndarray:
        """Draw the first `n` digits of `seed`, or its first `n` digits of the class `digit`.

        A digit depends on the weights, the seed, its index and the class asked for, and on nothing else. A conditional
        GAN draws that class; asked for any, it draws its classes in turns. An unconditional GAN knows no classes: of
        its digits, those are kept that the classifier gives at least the probability MIN_CONFIDENCE.

        Args:
            n: 0 or more.
            digit: the class wanted, one of `classes`, or 0 to 9 for an unconditional GAN; None: any.
            seed: 0 to 2**63 - 1; None: another one on each call.

        Returns:
            uint8 [n, 32, 32].

        Raises:
            ValueError: an argument is of the wrong type or out of range.
            CheckpointError: the generator does not draw that digit.
        """
        nothing = np.zeros((0, *self._shape), np.uint8)
        parts = self.select(n, _random_seed() if seed is None else seed, digit)
        return np.concatenate([nothing, *(part.digits for part in parts)])

    def select(
        self, n: int, seed: int, digit: int | None = None, balanced: bool = False, min_confidence: float | None = None
    ) -> Iterator[Selection]:
        """Draw the first `n` digits of `seed` that are wanted, chunk by chunk, in the order in which they are drawn.

        Args:
            n: 0 or more.
            seed: 0 to 2**63 - 1.
            digit: the class wanted, as `sample` takes it; None: any.
            balanced: whether all classes shall have the same number of digits, give or take one. A conditional GAN
                draws as many of each in any case.
            min_confidence: the probability, 0 to 1, that the classifier must give a digit's class. None stands for
                MIN_CONFIDENCE if a class or balance is wanted; otherwise all digits are kept, without labels. A
                conditional GAN asks no classifier, and takes None alone.

        Raises:
            ValueError: an argument is of the wrong type or out of range, or both `digit` and `balanced` are given.
            CheckpointError: the generator draws no wanted digit, or the classifier's weights are damaged.
        """
        check_integer("n", n, 0, 2**63 - 1)
        check_integer("seed", seed, 0, _MAX_SEED)
        check_label("digit", digit, self.classes)
        if not isinstance(balanced, bool | np.bool_):
            raise _value_error(f"balanced: found {balanced!r}, expected True or False")
        if balanced and digit is not None:
            raise _value_error(f"balanced: found True and digit {digit}, expected one of the two")
        if min_confidence is not None:
            is_number = isinstance(min_confidence, float | int | np.floating) and not isinstance(min_confidence, bool)
            if not is_number or not 0 <= min_confidence <= 1:
                raise _value_error(f"min_confidence: found {min_confidence!r}, expected a number from 0 to 1")
            if self.classes:
                raise _value_error(f"min_confidence: found {min_confidence}, expected None for a conditional GAN")
        elif digit is not None or balanced:
            min_confidence = MIN_CONFIDENCE
        if self.classes:
            return self._select_by_class(int(n), int(seed), digit)
        return self._select(int(n), int(seed), _Quotas(n, digit, bool(balanced)), min_confidence)

    def interpolate(
        self,
        steps: int,
        rows: int = 1,
        digits: tuple[int | None, int | None] = (None, None),
        seeds: tuple[int | None, int | None] = (None, None),
    ) -> np.ndarray:
        """Draw `rows` paths that lead from the first digits of one seed to the first digits of another.

        Args:
            steps: how many digits make a path, its two ends included; 2 or more.
            rows: 1 or more.
            digits: the classes of the digits at the start and at the end, as `sample` takes them; None: any.
            seeds: of the digits at the start and at the end, 0 to 2**63 - 1; None: another one on each call.

        Returns:
            uint8 [rows, steps, 32, 32].

        Raises:
            ValueError: an argument is of the wrong type or out of range.
            CheckpointError: the generator does not draw one of `digits`.
        """
        check_integer("steps", steps, 2, 2**31)
        check_integer("rows", rows, 1, 2**31)
        for name, pair in (("digits", digits), ("seeds", seeds)):
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise _value_error(f"{name}: found {pair!r}, expected two, for the start and the end")
        for digit, seed in zip(digits, seeds, strict=True):
            check_label("digits", digit, self.classes)
            if seed is not None:
                check_integer("seeds", seed, 0, _MAX_SEED)
        ends = [
            list(self.select(rows, _random_seed() if seed is None else seed, digit))
            for seed, digit in zip(seeds, digits, strict=True)
        ]
        start, stop = (np.concatenate([part.z for part in parts]) for parts in ends)
        z = latent_path(start, stop, steps, self.config.z_distribution)
        first, last = (np.concatenate([self._one_hot(part.labels, len(part.z)) for part in parts]) for parts in ends)
        share = np.linspace(0, 1, steps, dtype=np.float32)[:, np.newaxis]
        # The class changes evenly along the path.
        classes = (1 - share) * first[:, np.newaxis] + share * last[:, np.newaxis]
        shape = rows, steps, *self._shape
        return self._draw(z.reshape(rows * steps, -1), classes.reshape(rows * steps, -1)).reshape(shape)

    def discriminate(self, digits: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> np.ndarray:
        """Compute the probability, as the discriminator sees it, that each digit is real.

        The probabilities order digits, and their level means little: in training, batch normalisation uses the
        statistics of a batch of either reals or fakes, and here it uses the moving averages of reals for both.

        Args:
            digits: uint8 [n, 28, 28] or [n, 32, 32].
            labels: the classes that they are said to be of, as `draw` takes them.

        Returns:
            float32 [n].

        Raises:
            ValueError: `digits` has another type or shape, or `labels` are wrong as for `draw`.
        """
        shown = _as_array("digits", digits)
        shapes = [self.config.image_shape(side) for side in (28, 32)]
        if shown.dtype != np.uint8 or shown.shape[1:] not in shapes:
            expected = " or ".join(f"[{', '.join(map(str, ('n', *shape)))}]" for shape in shapes)
            raise _value_error(f"digits: found {_kind(shown)}, expected uint8 {expected}")
        classes = self._checked_classes(labels, len(shown))
        (probabilities,) = call_in_batches(self._run_discriminator, CHUNK, images.fit(shown, self._side), classes)
        return probabilities

    def _draw(self, z: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The digits of float32 [n, z_dim] and float32 [n, classes]: uint8 [n, 32, 32]."""
        (digits,) = call_in_batches(self._run_generator, CHUNK, z, classes)
        return digits

    def _one_hot(self, labels: np.ndarray | None, count: int) -> np.ndarray:
        """The one-hot classes of `count` labels, float32 [count, classes]. A label that is no class gives zeros, and an
        unconditional GAN has no classes.
        """
        if labels is None or not self.classes:
            return np.zeros((count, len(self.classes)), np.float32)
        return (labels[:, np.newaxis] == self._labels).astype(np.float32)

    def _checked_classes(self, labels: npt.ArrayLike | None, count: int) -> np.ndarray:
        """The one-hot classes of `count` labels that a caller gave: float32 [count, classes].

        Raises:
            ValueError: see `draw`.
        """
        if not self.classes:
            if labels is not None:
                raise _value_error("labels: found some, expected None, since this GAN is unconditional")
            return self._one_hot(None, count)
        expected = f"expected {count} of the classes {describe_classes(self.classes)}"
        found = _as_array("labels", () if labels is None else labels)
        if labels is None or found.shape != (count,) or (count and found.dtype.kind not in "iu"):
            raise _value_error(f"labels: found {'none' if labels is None else _kind(found)}, {expected}")
        classes = self._one_hot(found, count)
        if not classes.any(1).all():
            raise _value_error(f"labels: found {found[~classes.any(1)][0]}, {expected}")
        return classes

    def latent(self, n: int, seed: int) -> np.ndarray:
        """The latent vectors of the first `n` digits of `seed`, float32 [n, z_dim].

        Raises:
            ValueError: an argument is of the wrong type or out of range.
        """
        check_integer("n", n, 0, 2**31)
        check_integer("seed", seed, 0, _MAX_SEED)
        chunks = [self._latent(seed, chunk) for chunk in range(math.ceil(n / CHUNK))]
        return np.concatenate([np.zeros((0, self.config.z_dim), np.float32), *chunks])[:n]

    def _latent(self, seed: int, chunk: int) -> np.ndarray:
        """The latent vectors of one chunk of the digits of `seed`, float32 [CHUNK, z_dim]."""
        shape = (CHUNK, self.config.z_dim)
        return draws.latent(seed, draws.Stream.SAMPLE, chunk, shape, self.config.z_distribution)

    def _select_by_class(self, n: int, seed: int, digit: int | None) -> Iterator[Selection]:
        """The same as `select` for a conditional GAN, of arguments that were checked."""
        turns = self._labels if digit is None else np.array([digit], self._labels.dtype)

        def draw_chunk(chunk: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            z = self._latent(seed, chunk)
            labels = turns[(chunk * CHUNK + np.arange(CHUNK)) % len(turns)]
            return z, self._draw(z, self._one_hot(labels, CHUNK)), labels

        for chunk, drawn in enumerate(_computed_ahead(draw_chunk) if n else ()):
            end = min(n, (chunk + 1) * CHUNK)
            z, digits, labels = (part[: end - chunk * CHUNK] for part in drawn)
            yield Selection(z, digits, labels, end)
            if end == n:
                return

    def _select(self, n: int, seed: int, quotas: "_Quotas", min_confidence: float | None) -> Iterator[Selection]:
        """The same as `select`, of arguments that were checked."""

        def draw_chunk(chunk: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
            z = self._latent(seed, chunk)
            digits = self._draw(z, self._one_hot(None, CHUNK))
            if min_confidence is None:
                return z, digits, None, np.arange(CHUNK)
            labels, probabilities = self._classify(digits)
            return z, digits, labels, np.flatnonzero(probabilities >= min_confidence)

        kept_in_all = fruitless = 0
        for chunk, (z, digits, labels, acceptable) in enumerate(_computed_ahead(draw_chunk) if n else ()):
            chosen = acceptable[: n - kept_in_all] if labels is None else quotas.choose(labels, acceptable)
            kept_in_all += len(chosen)
            if len(chosen):
                fruitless = 0
                examined = CHUNK if kept_in_all < n else int(chosen[-1]) + 1
                kept_labels = None if labels is None else labels[chosen]
                yield Selection(z[chosen], digits[chosen], kept_labels, chunk * CHUNK + examined)
            else:
                fruitless += CHUNK
            if kept_in_all == n:
                return
            if fruitless >= _MAX_FRUITLESS:
                raise CheckpointError(
                    f"{quotas.most_wanted()}: found none in {fruitless} digits that the weights of step {self.step} "
                    "draw, expected one that the classifier is sure of; train further, or lower --min_confidence"
                )

    def _classify(self, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The most probable class of each of uint8 [n, 32, 32], uint8 [n], and its probability, float32 [n]."""
        with self._classifier_lock:
            if self._classifier is None:
                self._classifier = self._resources.enter_context(Classifier.load())
        _, probabilities = self._classifier.features_and_probabilities(images.fit(digits, SIDE))
        return probabilities.argmax(1).astype(np.uint8), probabilities.max(1)


class _Quotas:
    """Decides which classified digits are kept: `n` in all, of one class, of any, or equally many of each.

    Args:
        n: how many digits are wanted.
        digit: the only class wanted; None: any.
        balanced: whether equally many of each class are wanted; the first classes get what is left over.
    """

    def __init__(self, n: int, digit: int | None, balanced: bool):
        classes = np.arange(CLASSES)
        self._total = n
        self._balanced = balanced
        self._any_class = digit is None and not balanced
        if balanced:
            self._wanted = n // CLASSES + (classes < n % CLASSES)
        else:
            self._wanted = np.where(self._any_class | (classes == digit), n, 0)
        self._kept = np.zeros(CLASSES, int)

    def choose(self, labels: np.ndarray, acceptable: np.ndarray) -> np.ndarray:
        """Choose from one chunk, and count what was chosen.

        Args:
            labels: the classes of the chunk's digits, uint8 [CHUNK].
            acceptable: the ascending indices of the digits whose class is certain enough, integers [k].

        Returns:
            The ascending indices of the digits that are kept, integers [k].
        """
        limit = np.minimum(self._wanted, self._kept.min() + _MAX_LEAD) if self._balanced else self._wanted
        missing = self._total - int(self._kept.sum())
        chosen: list[int] = []
        for index in acceptable:
            label = labels[index]
            if len(chosen) < missing and self._kept[label] < limit[label]:
                self._kept[label] += 1
                chosen.append(index)
        return np.array(chosen, int)

    def most_wanted(self) -> str:
        """What the most digits are missing of, for an error message."""
        return "any digit" if self._any_class else f"digit {(self._wanted - self._kept).argmax()}"


def _computed_ahead(compute: Callable[[int], _Result]) -> Iterator[_Result]:
    """Yield `compute` of 0, 1, 2, ... without end, each computed in a thread while the caller works on the one before.

    The first is computed alone, because it is often the only one that is needed.
    """
    yield compute(0)
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(compute, 1)
        for index in itertools.count(2):
            result = upcoming.result()
            upcoming = pool.submit(compute, index)
            yield result


def _random_seed() -> int:
    """An unpredictable seed of 56 bits."""
    return int.from_bytes(os.urandom(7), "little")


def _value_error(message: str) -> ValueError:
    return ValueError(one_line(message))


def _as_array(name: str, value: npt.ArrayLike) -> np.ndarray:
    """`value` as an array; a ValueError that names it if it is none, such as a list of rows of different lengths."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise _value_error(f"{name}: found {type(value).__name__}, expected an array; {error}") from error


def _kind(array: np.ndarray) -> str:
    """The type and the shape of `array`, for an error message."""
    return f"{array.dtype} {list(array.shape)}"
