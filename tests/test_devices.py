"""The training step can be placed on a GPU whole: every op in it has a kernel there."""

import pytest
from tensorflow.python.framework import kernels

from dcgan_tf1.config import MODELS, PRESETS, Config
from dcgan_tf1.training.gan import build_gan


@pytest.mark.parametrize("recipe", [*({"preset": name} for name in PRESETS), *({"model": name} for name in MODELS)])
def test_every_op_of_the_step_has_a_gpu_kernel(recipe):
    waiting, seen = [build_gan(Config(**recipe)).train_op], set()
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
    for kind in {op.type for op in seen}:
        devices = {kernel.device_type for kernel in kernels.get_registered_kernels_for_op(kind).kernel}
        assert devices & {"GPU", "DEFAULT"}, kind
