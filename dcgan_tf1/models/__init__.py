"""The families of networks: one file each, with a `generator` and a `discriminator`, named in one table."""

from dcgan_tf1.models import dcgan32

MODELS = {"dcgan32": dcgan32}
