"""Sampling: the weights of a trained GAN, and digits drawn with them."""
