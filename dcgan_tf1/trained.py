"""A trained GAN at work: it draws digits and judges them."""

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from dcgan_tf1 import data, images
from dcgan_tf1.config import IMAGE_SIZE
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.gan import scale_images, to_uint8
from dcgan_tf1.models import MODELS
from dcgan_tf1.weights import Weights

v1 = tf.compat.v1

CHUNK = 100
"""Digits that pass through a network together, always, and that one counter of `data.latent` makes the z of.

So a digit depends on the weights, the seed and its index alone, to the last bit. The value is for ever.
"""


class TrainedGan:
    """The two networks of `weights`, frozen, in a graph and a session of their own. Any thread may call it.

    Raises:
        CheckpointError: the weights are not those of the networks that their config describes.
    """

    def __init__(self, weights: Weights):
        self.config = weights.config
        self.step = weights.step
        self.dataset = weights.dataset
        unused = set(weights.arrays)

        def constant(getter: Any, name: str, shape: Any, **_: Any) -> tf.Tensor:
            found = weights.arrays[name].shape if name in weights.arrays else "none"
            if found != tuple(shape):
                raise CheckpointError(f"{weights.path}: found {name} of shape {found}, expected {tuple(shape)}")
            unused.discard(name)
            return tf.constant(weights.arrays[name])

        model = MODELS[self.config.model]
        graph = tf.Graph()
        with graph.as_default():
            z = v1.placeholder(tf.float32, [CHUNK, self.config.z_dim])
            shown = v1.placeholder(tf.uint8, [CHUNK, IMAGE_SIZE, IMAGE_SIZE])
            with v1.variable_scope("generator", custom_getter=constant):  # frozen: nothing to initialise
                drawn = to_uint8(model.generator(z, False, self.config))
            with v1.variable_scope("discriminator", custom_getter=constant):
                logits = model.discriminator(scale_images(shown), False, self.config)
            probabilities = tf.sigmoid(logits[:, 0])
        if unused:
            raise CheckpointError(f"{weights.path}: found {min(unused)}, which no network of its config has")
        options = v1.ConfigProto()
        options.gpu_options.allow_growth = True
        self._session = v1.Session(graph=graph, config=options)
        self._draw = self._session.make_callable(drawn, [z])
        self._judge = self._session.make_callable(probabilities, [shown])

    def __enter__(self) -> "TrainedGan":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the session; nothing can be drawn any more."""
        self._session.close()

    def draw(self, z: np.ndarray) -> np.ndarray:
        """The digits of latent vectors float32 [n, z_dim], uint8 [n, 32, 32]."""
        return _in_chunks(self._draw, z)

    def chunks(self, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The digits of `seed`, without end: z, float32 [CHUNK, z_dim], and uint8 [CHUNK, 32, 32]."""
        for chunk in itertools.count():
            z = data.latent(seed, data.Stream.SAMPLE, chunk, (CHUNK, self.config.z_dim))
            yield z, self._draw(z)

    def sample(self, n: int, seed: int | None = None) -> np.ndarray:
        """The first `n` digits of `seed` (None: of a new one each time), uint8 [n, 32, 32].

        A digit depends on the weights, the seed and its index alone.
        """
        chunks = itertools.islice(self.chunks(_seed(seed)), -(-n // CHUNK))
        return np.concatenate([np.zeros((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8), *(drawn for _, drawn in chunks)])[:n]

    def discriminate(self, digits: np.ndarray) -> np.ndarray:
        """The probability, in D's eyes, that each of uint8 [n, 28, 28] or [n, 32, 32] is real: float32 [n].

        Raises:
            ValueError: `digits` is of another type or shape.
        """
        digits = np.asarray(digits)
        if digits.dtype != np.uint8 or digits.shape[1:] not in ((28, 28), (32, 32)):
            raise ValueError(f"digits: found {digits.dtype} {digits.shape}, expected uint8 [n, 28, 28] or [n, 32, 32]")
        return _in_chunks(self._judge, images.pad(digits))


def _seed(seed: int | None) -> int:
    return int.from_bytes(os.urandom(7), "little") if seed is None else seed


def _in_chunks(call: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """What `call`, which takes CHUNK inputs, makes of [n, ...]: [n, ...]."""
    count = len(inputs)
    padding = np.zeros((max(-count % CHUNK, 0 if count else CHUNK), *inputs.shape[1:]), inputs.dtype)
    inputs = np.concatenate([inputs, padding])
    return np.concatenate([call(inputs[start : start + CHUNK]) for start in range(0, len(inputs), CHUNK)])[:count]
