"""The families of networks. Each is a module, with the name that it has in `config.MODELS`."""

import importlib
from types import ModuleType


def load_family(model: str) -> ModuleType:
    """The module of the family `model`. It has two functions, which make variables in the caller's variable scope.

    `generator(z, training, config)`: latent vectors [batch, z_dim] -> images [batch, size, size, 1] in [-1, 1], where
    size is `config.image_size`. In a conditional GAN the class follows each vector (see `layers.with_classes`).
    `discriminator(images, classes, training, config)`: such images and their one-hot classes, or None -> logits
    [batch, 1] of being real (see `layers.judge`). `training` tells whether batch norm and dropout act as they do in
    training, or as in drawing.
    """
    return importlib.import_module(f"{__name__}.{model}")
