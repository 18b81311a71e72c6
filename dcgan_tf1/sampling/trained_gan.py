"""A trained GAN at work: it generates images, of one class if asked, and judges images."""

import contextlib
import functools
import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dcgan_tf1.arguments import argument_error, as_array, check_integer, describe
from dcgan_tf1.config import LARGEST_SEED
from dcgan_tf1.data import draws
from dcgan_tf1.data.classes import find_class, find_classes, one_hot
from dcgan_tf1.data.draws import CHUNK
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.networks import inference
from dcgan_tf1.networks.frozen import call_in_batches, constant_getter, session_options
from dcgan_tf1.pictures import images
from dcgan_tf1.quality.classifier import SIDE, Classifier
from dcgan_tf1.runs.weights import Weights
from dcgan_tf1.sampling import paths
from dcgan_tf1.sampling.request import Request
from dcgan_tf1.sampling.search import Chunk, Selection, search

v1 = tf.compat.v1


class TrainedGan:
    """A generator and a discriminator with fixed weights. Any number of threads may use one object.

    It has a graph and a session of its own; `close`, or the end of a `with` block, frees them. Digits have the size
    of the family of networks: where the methods say [..., 32, 32], `dcgan28` and `mlp` give [..., 28, 28]. In colour
    (`config.channels`) there are 3 channels behind.

    Raises CheckpointError: the weights do not fit the networks that their config describes.
    """

    def __init__(self, weights: Weights) -> None:
        self.config = weights.config
        self.step = weights.step
        self.dataset = weights.dataset
        self.classes: tuple[str, ...] = tuple(weights.dataset.get("classes", ()))  # of an unconditional GAN, none
        used: set[str] = set()
        constant = constant_getter(weights.arrays, weights.path, used)
        graph = tf.Graph()
        with graph.as_default():
            z = v1.placeholder(tf.float32, [CHUNK, self.config.z_dim])
            shown = v1.placeholder(tf.uint8, [CHUNK, *self.config.image_shape(self.config.image_size)])
            classes = v1.placeholder(tf.float32, [CHUNK, len(self.classes)])
            known = classes if self.classes else None
            generated = inference.generate(z, known, self.config, constant)
            finite = tf.reduce_all(tf.math.is_finite(generated.pixels), [1, 2, 3])
            probabilities = inference.discriminate(shown, known, self.config, constant)
        unused = weights.arrays.keys() - used
        if unused:
            raise CheckpointError(f"{weights.path}: found {min(unused)}, which no network of its config has")
        session = v1.Session(graph=graph, config=session_options())
        self._resources = contextlib.ExitStack()
        self._resources.callback(session.close)
        self._path = weights.path
        self._run_generator = session.make_callable([generated.images, finite], [z, classes])
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

    def generate(self, z: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> np.ndarray:
        """Generate the digits of given latent vectors, uint8 [n, 32, 32]. None depends on the others beside it.

        Args:
            z: [n, z_dim], finite numbers; training's lie in [-1, 1) or are standard normal (`Config.z_distribution`).
            labels: the classes to generate, [n], as `sample` takes them; only a conditional GAN takes them, and it
                needs them.

        Raises ValueError: `z` or `labels` are something else.
        """
        vectors = as_array("z", z)
        expected = f"finite numbers [n, {self.config.z_dim}]"
        if vectors.dtype.kind not in "iuf" or vectors.shape[1:] != (self.config.z_dim,):
            raise argument_error("z", describe(vectors), expected)
        with np.errstate(over="ignore"):  # the next lines look at what became infinite
            vectors = vectors.astype(np.float32)
        if not np.isfinite(vectors).all():
            raise argument_error("z", "NaN, infinity or a number beyond float32", expected)
        return self.generate_mixed(vectors, self._one_hot(labels, len(vectors)))

    def generate_mixed(self, z: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """The digits of float32 [n, z_dim] and of shares of classes, float32 [n, classes], which are not checked.

        Raises CheckpointError: the generator makes NaN of one.
        """
        digits, finite = call_in_batches(self._run_generator, CHUNK, z, classes)
        if not finite.all():
            raise CheckpointError(f"{self._path}: the generator makes NaN, expected numbers; use other weights")
        return digits

    def sample(self, n: int, label: str | int | None = None, seed: int | None = None) -> np.ndarray:
        """Generate the first `n` digits of `seed`, or its first `n` of the class `label`: uint8 [n, 32, 32].

        A digit depends on the weights, the seed, its index and the class asked for, and on nothing else. A conditional
        GAN generates that class; asked for any, it generates its classes in turns. An unconditional GAN knows no
        classes: of its digits, those are kept that the classifier gives at least the probability MIN_CONFIDENCE.

        Args:
            n: 0 or more.
            label: the class wanted, by its name, one of `classes`, or "0" to "9" for an unconditional GAN; None: any.
                Where all names are integers, it may be the integer.
            seed: 0 to 2**63 - 1; None: another one on each call.

        Raises:
            ValueError: an argument is of the wrong type or out of range.
            CheckpointError: the generator makes no such digit.
        """
        nothing = np.zeros((0, *self.config.image_shape(self.config.image_size)), np.uint8)
        return np.concatenate([nothing, *(part.digits for part in self.select(Request(n, label, seed)))])

    def select(self, request: Request) -> Iterator[Selection]:
        """Generate the digits that are wanted, chunk by chunk and in their order.

        The classes of the selections are those that a conditional GAN was asked for, or else those that the classifier
        sees; without a `min_confidence` an unconditional GAN asks none.

        Raises:
            ValueError: a value of the request is of the wrong type or out of range.
            CheckpointError: the generator makes no wanted digit, or the classifier's weights are damaged.
        """
        request = request.resolve(self.classes)
        wanted = find_class("label", request.label, self.classes)
        if not self.classes:
            return search(functools.partial(self._candidates, request, None), request.n, wanted, request.balanced)
        # It generates what is wanted, so there is nothing to search for.
        turns = np.arange(len(self.classes)) if wanted is None else np.array([wanted])
        return search(functools.partial(self._candidates, request, turns), request.n)

    def discriminate(self, digits: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> np.ndarray:
        """Compute the probability, as the discriminator sees it, that each digit is real: float32 [n].

        The probabilities order digits, and their level means little: in training, batch normalisation uses the
        statistics of a batch of either reals or fakes, and here it uses the moving averages of reals for both.

        Args:
            digits: uint8 [n, 28, 28] or [n, 32, 32].
            labels: the classes that they are said to be of, as `generate` takes them.

        Raises ValueError: `digits` has another type or shape, or `labels` are wrong as for `generate`.
        """
        shown = as_array("digits", digits)
        shapes = [self.config.image_shape(side) for side in (28, 32)]
        if shown.dtype != np.uint8 or shown.shape[1:] not in shapes:
            expected = " or ".join(f"[{', '.join(map(str, ('n', *shape)))}]" for shape in shapes)
            raise argument_error("digits", describe(shown), f"uint8 {expected}")
        classes = self._one_hot(labels, len(shown))
        shown = images.fit(shown, self.config.image_size)
        (probabilities,) = call_in_batches(self._run_discriminator, CHUNK, shown, classes)
        return probabilities

    interpolate = paths.interpolate

    def latent(self, n: int, seed: int) -> np.ndarray:
        """The latent vectors of the first `n` digits of `seed`, float32 [n, z_dim]; ValueError as for `sample`."""
        check_integer("n", n, 0, 2**31)
        check_integer("seed", seed, 0, LARGEST_SEED)
        return np.concatenate([self._latent(seed, chunk) for chunk in range(n // CHUNK + 1)])[:n]

    def _one_hot(self, labels: npt.ArrayLike | None, count: int) -> np.ndarray:
        return one_hot(find_classes(labels, count, self.classes), count, self.classes)

    def _latent(self, seed: int, chunk: int) -> np.ndarray:
        """The latent vectors of one chunk of the digits of `seed`, float32 [CHUNK, z_dim]."""
        shape = (CHUNK, self.config.z_dim)
        return draws.latent(seed, draws.Stream.SAMPLE, chunk, shape, self.config.z_distribution)

    def _candidates(self, request: Request, turns: np.ndarray | None, chunk: int) -> Chunk:
        """One chunk of the digits of a resolved request, of the classes `turns` in turns, and which are sure enough."""
        z = self._latent(request.seed or 0, chunk)
        indices = None if turns is None else turns[(chunk * CHUNK + np.arange(CHUNK)) % len(turns)]
        digits = self.generate_mixed(z, one_hot(indices, CHUNK, self.classes))
        sure = np.ones(CHUNK, bool)
        if request.min_confidence is not None:
            with self._classifier_lock:
                if self._classifier is None:
                    self._classifier = self._resources.enter_context(Classifier.load())
            _, probabilities = self._classifier.features_and_probabilities(images.fit(digits, SIDE))
            indices, sure = probabilities.argmax(1), probabilities.max(1) >= request.min_confidence
        return Selection(z, digits, indices, (chunk + 1) * CHUNK), sure
