"""The whole training step can be placed on a GPU: every op in it has a kernel there."""

import pytest
from tensorflow.python.framework import kernels
from test_step import op_types

from dcgan_tf1.config import Config
from dcgan_tf1.training.graph import build_gan


@pytest.mark.parametrize("recipe", [{}, {"preset": "reference"}, {"model": "dcgan28"}, {"model": "mlp"}])
def test_every_op_of_the_step_has_a_gpu_kernel(recipe):
    for op_type in op_types(build_gan(Config(**recipe))):
        devices = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(op_type).kernel}
        assert devices & {"GPU", "DEFAULT"}, op_type
