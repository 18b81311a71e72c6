"""Random numbers in the graph: functions of the seed, the step, and the number of the call in a step.

No generator has a state, which a checkpoint would have to hold. Everything is made of Philox's integer bits (Salmon et
al. 2011). They are the same on every device and under XLA, where TensorFlow's own random floats are other ones.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_MOST_CALLS = 1 << 20  # of a step, so that no two calls of any two steps share a counter


class Philox:
    """The random numbers of one step.

    Each of several replicas gets the rows for its share of what one would draw for the whole batch. So no two have the
    same numbers, and what is drawn does not depend on how many there are.
    """

    def __init__(self, seed: int, step: tf.Tensor, replica: int = 0, replicas: int = 1) -> None:
        self._seed, self._step, self._replica, self._replicas = seed, tf.cast(step, tf.uint64), replica, replicas
        self._calls = itertools.count(1)

    def bits(self, shape: Sequence[int]) -> tf.Tensor:
        """Uniform integers, int32 of `shape`, whose first axis is the replica's share of the batch."""
        share, *others = shape
        bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=[self._replicas * share, *others],
            key=tf.constant([self._seed], tf.uint64),
            # The lower half of the counter is Philox's own.
            counter=tf.stack([tf.constant(0, tf.uint64), self._step * _MOST_CALLS + next(self._calls)]),
            dtype=tf.int32,
            alg=tf.random.Algorithm.PHILOX.value,
        )
        return bits[self._replica * share :][:share] if self._replicas > 1 else bits

    def uniform(self, shape: Sequence[int]) -> tf.Tensor:
        """Numbers that are uniform over [-1, 1], float32 of `shape`."""
        return tf.cast(self.bits(shape), tf.float32) * 2.0**-31

    def coins(self, shape: Sequence[int], probability: float) -> tf.Tensor:
        """True with a `probability` below 1, bool of `shape`."""
        return self.bits(shape) < int(probability * 2**32) - 2**31

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Standard normal numbers, float32 of `shape`: two for each pair of integers (Box and Muller 1958)."""
        share, *others = shape
        count = math.prod(others)
        radius, angle = tf.unstack(self.bits([share, 2, -(-count // 2)]), axis=1)
        shares = tf.cast(tf.bitwise.bitwise_and(radius, 2**24 - 1), tf.float32)  # 24 bits are exact in float32
        radius = tf.sqrt(-2.0 * tf.math.log((shares + 1.0) * 2.0**-24))
        angle = tf.cast(angle, tf.float32) * np.float32(math.pi * 2.0**-31)
        pairs = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], 1)
        return tf.reshape(pairs[:, :count], shape)
