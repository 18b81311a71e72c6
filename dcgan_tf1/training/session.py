"""A session on a training graph, and how its variables get into a checkpoint's files and out of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from dcgan_tf1.config import Config
from dcgan_tf1.errors import CheckpointError
from dcgan_tf1.machine import computes_in_bfloat16, cpu_model, usable_cores
from dcgan_tf1.networks.frozen import session_options
from dcgan_tf1.training.graph import Gan
from dcgan_tf1.training.step import AVERAGE
from dcgan_tf1.training.workers import Workers

v1 = tf.compat.v1

ONE_THREAD_PER_OP = {"inter_op_parallelism_threads": 2, "intra_op_parallelism_threads": 1}
"""Settings of a session that runs two ops side by side, and each on one thread."""


class TrainingSession:
    """A session that takes steps, samples, and saves and restores the variables. It is a context.

    The graph is finalized: nothing can be added to it any more.
    """

    def __init__(
        self, gan: Gan, config: Config, workers: Workers | None = None, calibration: Sequence[np.ndarray] = ()
    ) -> None:
        """Open a session on the graph of `gan`.

        Args:
            workers: those that the graph was made for; None: this process alone.
            calibration: the latent vectors, float32 [n, z_dim], and for a conditional GAN their labels, int32 [n], by
                whose statistics batch norm is calibrated, where the generator's weights are averaged.
        """
        gan.graph.finalize()
        self.gan, self._workers = gan, workers or Workers()
        self.session = self._workers.open_session(gan.graph, _session_options(config))
        self._feeds = [tensor for tensor in (gan.images, gan.z, gan.labels, gan.signal) if tensor is not None]
        self._samples = [tensor for tensor in (gan.sample_z, gan.sample_labels) if tensor is not None]
        self._calls = [
            self.session.make_callable((gan.stopping, fetches), self._feeds)
            for fetches in (gan.train_op, (gan.train_op, gan.metrics))
        ]
        self._calibration = dict(zip(self._samples, calibration, strict=False))
        self._calibrated = not self._calibration

    def __enter__(self) -> "TrainingSession":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, tf.errors.OpError):  # a call that waits for a lost worker would be waited for
            self.session.close()

    def step(
        self, batch: Sequence[np.ndarray], signal: int = 0, measured: bool = True
    ) -> tuple[int, dict[str, float] | None]:
        """Take one step; return the number of the signal for which all processes are to stop, or 0, and the metrics.

        Args:
            batch: this process's share of the images, the latent vectors and, for a conditional GAN, the labels.
            signal: the number of the signal that has come to this process, or 0.
            measured: whether the metrics are wanted; otherwise they are None.
        """
        self._calibrated = not self._calibration
        stopping, result = self._calls[measured](*batch, signal)
        return int(stopping), result[1] if measured else None

    def sample(self, z: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """The digits, uint8 [n, size, size], that the present weights or their averages make of z, float32 [n, z_dim].

        For a conditional GAN, `labels` are the numbers of the classes to generate, int32 [n].
        """
        self._calibrate()
        return self.session.run(self.gan.samples, dict(zip(self._samples, (z, labels), strict=False)))

    def is_finite(self) -> bool:
        """Whether every variable is finite."""
        return bool(self.session.run(self.gan.finite))

    def initialize(self) -> None:
        """Give the variables their initial values. All processes do so together."""
        self.session.run(self.gan.init_op)

    def synchronise(self) -> None:
        """Give all processes the chief's variables."""
        self._workers.copy_variables(self.session, self.gan)

    def compare(self) -> None:
        """Raise ClusterError unless the variables that training moves are the same in all processes."""
        self._workers.compare_variables(self.session, self.gan)

    def save(self, prefix: str) -> None:
        """Write all variables to the two files of `prefix`, in the Saver's format.

        The Saver's op is run directly, since `Saver.save` fails on paths that are not UTF-8.
        """
        self._calibrate()
        saver = self.gan.saver.saver_def
        self.session.run(saver.save_tensor_name, {saver.filename_tensor_name: os.fsencode(prefix)})

    def restore(self, prefix: Path) -> None:
        """Set every variable to the value that the files of `prefix` hold.

        Raises CheckpointError: the files do not hold exactly the variables of the graph.
        """
        expected = {variable.op.name: variable.shape.as_list() for variable in self.gan.variables}
        found = v1.train.NewCheckpointReader(os.fsencode(prefix)).get_variable_to_shape_map()
        if found != expected:  # the Saver would not mention variables that are too many
            name = min(name for name in found.keys() | expected if found.get(name) != expected.get(name))
            found, expected = (shapes.get(name, "none") for shapes in (found, expected))
            raise CheckpointError(f"{prefix}: found {name} of shape {found}, expected {expected} in this version")
        saver = self.gan.saver.saver_def
        self.session.run(saver.restore_op_name, {saver.filename_tensor_name: os.fsencode(prefix)})
        self._calibrated = True

    def start_from(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the weights of both networks, and their averages, to `arrays`, by the name of the variable.

        A discriminator that `arrays` lacks altogether stays as it is, and so do the optimizers.

        Raises CheckpointError: these are not the weights of the networks of the graph.
        """
        variables = {variable.op.name: variable for variable in self.gan.variables}
        owners = {name.partition("/")[0] for name in arrays} | {"generator"}
        # Averages and Adam's slots lie under the names of their variables.
        own = {
            name for name in variables if name.partition("/")[0] in owners and name.rpartition("/")[0] not in variables
        }
        for name in sorted(own | arrays.keys()):
            found = list(arrays[name].shape) if name in arrays else "none"
            expected = variables[name].shape.as_list() if name in own else "none"
            if found != expected:
                raise CheckpointError(f"--init_from: found {name} of shape {found}, expected {expected}")
        averages = {name + AVERAGE: array for name, array in arrays.items() if name + AVERAGE in variables}
        self.gan.load(self.session, {**arrays, **averages})

    def device(self) -> str:
        """What the session computes on."""
        gpus = [device for device in self.session.list_devices() if device.device_type == "GPU"]
        return f"GPU ({len(gpus)} found)" if gpus else f"CPU ({cpu_model()}, {usable_cores()} cores)"

    def _calibrate(self) -> None:
        """Fit batch norm's moving averages to the averaged weights of the present step, where there are some."""
        if not self._calibrated:
            self.session.run(self.gan.calibrate_op, self._calibration)
            self._calibrated = True


def fastest_precision() -> str:
    """The `--precision` in which a step takes the least time here: bfloat16 on CPUs that compute in it.

    That was measured on CPUs with AVX-512 BF16 and with AMX. On a GPU bfloat16 was not measured.
    """
    return "bfloat16" if computes_in_bfloat16() and not tf.config.list_physical_devices("GPU") else "float32"


def _session_options(config: Config) -> tf.compat.v1.ConfigProto:
    options = session_options()
    if _ops_are_short(config):
        options.MergeFrom(v1.ConfigProto(**ONE_THREAD_PER_OP))
    if config.precision == "bfloat16":
        options.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = RewriterConfig.ON
    if config.xla:
        options.graph_options.optimizer_options.global_jit_level = v1.OptimizerOptions.ON_1
    return options


def _ops_are_short(config: Config) -> bool:
    """Whether two threads that share every op would wait for each other longer than either works.

    On two cores with AMX and one thread for an op, a step of the default recipe takes 0.74 of the time in bfloat16 and
    0.89 in float32. It takes 0.68 and 0.84 with batches of 32, 0.85 and 1.02 with 128, and 0.95 and 1.04 with 256.
    Steps of `mlp` take 0.71 to 0.91, and those of four times the default's channels 1.08 and 1.13. Other numbers of
    cores were not measured.
    """
    return config.batch_size <= 128 and usable_cores() == 2 and not tf.config.list_physical_devices("GPU")
