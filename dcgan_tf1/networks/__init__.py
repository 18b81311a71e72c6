"""The families of networks: one module each, of the name that it has in `config.MODELS`."""

import importlib
from types import ModuleType


def load_family(model: str) -> ModuleType:
    """The module of the family `model`, with these two functions, whose variables the caller scopes.

    `generator(z, training, config)`: latent vectors [batch, z_dim] -> images [batch, size, size, 1] in [-1, 1], where
    size is `config.image_size`. `discriminator(images, training, config)`: such images -> logits [batch, 1] of being
    real. What differs between training and drawing (batch norm, dropout) goes by `training`.
    """
    return importlib.import_module(f"{__name__}.{model}")
