"""Sampling: a trained GAN, and what is made of the digits that it generates."""
