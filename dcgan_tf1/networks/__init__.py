"""The families of networks. Each is a module, with the name that it has in `config.MODELS`."""

import importlib
from types import ModuleType


def load_family(model: str) -> ModuleType:
    """The module of the family `model`. It has two functions, which make variables in the caller's variable scope.

    `generator(z, classes, forward, config)`: latent vectors [batch, z_dim] -> images [batch, size, size, channels] in
    [-1, 1], where size is `config.image_size`. `discriminator(images, classes, forward, config)`: such images -> logits
    [batch, 1] of being real. `classes` are those of the images, float32 [batch, classes] and one-hot, and None for an
    unconditional GAN. `forward` is a `layers.ForwardPass`, which batch norm and dropout need.
    """
    return importlib.import_module(f"{__name__}.{model}")
