"""A TF1-style, graph-mode DCGAN for handwritten digits on today's TensorFlow."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from dcgan_tf1.sampling.trained_gan import TrainedGan

__version__ = "0.1.0"


def load(checkpoint: "str | os.PathLike[str] | int | None" = None) -> "TrainedGan":
    """A trained GAN that generates digits: `with dcgan_tf1.load() as gan: gan.sample(10, seed=0)`.

    It has a graph and a session of its own, so that several can live in one process, beside TensorFlow 2 code too.

    Args:
        checkpoint: a step of the run in `./checkpoints`, or the path of a folder of checkpoints or of a `weights.npz`,
            or the name of weights that ship, as `run.py generate --checkpoint` takes it: `unconditional` (digits
            without classes) or `fashion` (clothes). None: the newest checkpoint of the run in `./checkpoints`, or,
            without a run, the weights that ship.

    Raises errors.CheckpointError if there is no such checkpoint, or it is damaged.
    """
    import warnings

    from dcgan_tf1.runs import weights
    from dcgan_tf1.tensorflow_import import import_tensorflow

    found = weights.find_weights(checkpoint, None, warn=lambda line: warnings.warn(line, stacklevel=4))
    import_tensorflow(keras=True)  # the caller may want it
    from dcgan_tf1.sampling.trained_gan import TrainedGan

    return TrainedGan(weights.read_weights(found))
