"""The families of networks. Each is a module, with the name that it has in `config.MODELS`."""

import importlib
from types import ModuleType


def load_family(model: str) -> ModuleType:
    """The module of the family `model`. It has two functions, which make variables in the caller's variable scope.

    `generator(z, classes, training, config)`: latent vectors [batch, z_dim] -> images [batch, size, size, 1] in
    [-1, 1], where size is `config.image_size`. `discriminator(images, classes, training, config)`: such images ->
    logits [batch, 1] of being real. `classes` are those of the images, float32 [batch, classes] and one-hot, and None
    for an unconditional GAN. `training` tells whether batch norm and dropout act as they do in training, or as in
    drawing.
    """
    return importlib.import_module(f"{__name__}.{model}")
