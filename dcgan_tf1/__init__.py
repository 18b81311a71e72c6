"""A TF1-style, graph-mode DCGAN for handwritten digits on today's TensorFlow."""

__version__ = "0.1.0"


def load(checkpoint=None):
    """A trained GAN that draws digits: `with dcgan_tf1.load() as gan: gan.sample(10, seed=0)`.

    It has a graph and a session of its own, so that many live in one process, beside TensorFlow 2 code too.

    Args:
        checkpoint: what `run.py generate --checkpoint` takes: a step of the run in `./checkpoints`, the path of a
            folder of checkpoints or of a `weights.npz`. None: the newest of the run in `./checkpoints`, or, where
            there is none, the weights that ship.

    Returns:
        trained.TrainedGan.

    Raises:
        errors.CheckpointError: there is no such checkpoint, or it is damaged.
    """
    import warnings

    from dcgan_tf1.sampling import weights
    from dcgan_tf1.tensorflow_import import import_tensorflow

    found = weights.find_weights(checkpoint, None, warn=lambda line: warnings.warn(line, stacklevel=4))
    import_tensorflow(keras=True)  # the caller may want it
    from dcgan_tf1.sampling.trained_gan import TrainedGan

    return TrainedGan(weights.read_weights(found))
