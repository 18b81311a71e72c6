"""A TF1-style, graph-mode DCGAN for handwritten digits on today's TensorFlow."""

__version__ = "0.1.0"
