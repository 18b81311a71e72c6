"""What can be asked of a trained GAN: how many digits of which seed, and of which class."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from dcgan_tf1.arguments import argument_error, check_integer, check_number
from dcgan_tf1.config import LARGEST_SEED
from dcgan_tf1.data.classes import find_class
from dcgan_tf1.quality import MIN_CONFIDENCE


@dataclasses.dataclass(frozen=True)
class Request:
    """The first digits of a seed that are wanted."""

    n: int
    """How many, 0 or more."""
    label: str | int | None = None
    """The class wanted, by its name; see `find_class`. None: any."""
    seed: int | None = None
    """0 to 2**63 - 1; None: another one each time."""
    balanced: bool = False
    """Whether all classes shall have the same number of digits, give or take one. A conditional GAN generates as many
    of each in any case."""
    min_confidence: float | None = None
    """The probability, 0 to 1, that the classifier must give a digit's class. None stands for MIN_CONFIDENCE if a class
    or balance is wanted; otherwise all digits are kept. A conditional GAN asks no classifier, and takes None alone."""

    def resolve(self, names: Sequence[str]) -> "Request":
        """The same request of a GAN whose classes have `names`, with the seed and the confidence that None stands for.

        Raises ValueError: a value is of the wrong type or out of range, or both `label` and `balanced` are given.
        """
        check_integer("n", self.n, 0, 2**63 - 1)
        seed = int.from_bytes(os.urandom(7), "little") if self.seed is None else self.seed
        check_integer("seed", seed, 0, LARGEST_SEED)
        find_class("label", self.label, names)
        if not isinstance(self.balanced, bool | np.bool_):
            raise argument_error("balanced", repr(self.balanced), "True or False")
        if self.balanced and self.label is not None:
            raise argument_error("balanced", f"True and label {self.label}", "one of the two")
        confidence = self.min_confidence
        if confidence is not None:
            check_number("min_confidence", confidence, 0, 1)
            if names:
                raise argument_error("min_confidence", confidence, "None for a conditional GAN")
        elif not names and (self.balanced or self.label is not None):
            confidence = MIN_CONFIDENCE
        return dataclasses.replace(self, n=int(self.n), seed=int(seed), min_confidence=confidence)
