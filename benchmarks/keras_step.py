"""The same network in Keras 3 layers, with one `tf.function` as the train step."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from dcgan_tf1.config import Config


def truncated_normal() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)


def batch_norm() -> keras.Layer:
    return layers.BatchNormalization(scale=False, momentum=0.999, epsilon=1e-3)


def make_generator(config: Config) -> keras.Sequential:
    """Images [batch, 32, 32, 1] in (-1, 1)."""
    first, *rest = config.g_channels
    with_norm = config.g_batch_norm == "all"
    model = keras.Sequential([keras.Input((config.z_dim,))])
    model.add(layers.Dense(4 * 4 * first, use_bias=False, kernel_initializer=truncated_normal()))
    model.add(batch_norm())
    model.add(layers.ReLU())
    model.add(layers.Reshape((4, 4, first)))
    for channels in rest:  # Glorot uniform is the default
        model.add(layers.Conv2DTranspose(channels, 5, strides=2, padding="same", use_bias=not with_norm))
        if with_norm:
            model.add(batch_norm())
        model.add(layers.ReLU())
    model.add(
        layers.Conv2DTranspose(
            1,
            config.output_kernel,
            strides=32 // model.output_shape[1],
            padding="same",
            use_bias=False,
            kernel_initializer=truncated_normal(),
            activation="tanh",
        )
    )
    return model


def make_discriminator(config: Config) -> keras.Sequential:
    """Logits [batch, 1]."""
    model = keras.Sequential([keras.Input((32, 32, 1))])
    for i, channels in enumerate(config.d_channels):
        kernel = truncated_normal()
        model.add(layers.Conv2D(channels, 4, 2, padding="same", use_bias=False, kernel_initializer=kernel))
        if i > 0:
            model.add(batch_norm())
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(1, kernel_initializer=truncated_normal()))
    return model


def make_step(config: Config) -> Callable[[np.ndarray, np.ndarray], None]:
    """A function of uint8 images and z that runs one training step."""
    generator, discriminator = make_generator(config), make_discriminator(config)
    # Keras's own epsilon is 1e-7, that of TF1 and PyTorch 1e-8
    g_optimizer = keras.optimizers.Adam(config.lr_g, config.beta1, config.beta2, epsilon=1e-8)
    d_optimizer = keras.optimizers.Adam(config.lr_d, config.beta1, config.beta2, epsilon=1e-8)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step(images: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        reals = tf.cast(images, tf.float32)[..., tf.newaxis] / 127.5 - 1
        reals = tf.pad(reals, [[0, 0], [2, 2], [2, 2], [0, 0]], constant_values=-1)
        fakes = generator(z, training=True)
        with tf.GradientTape() as d_tape:
            real_logits = discriminator(reals, training=True)
            fake_logits = discriminator(fakes, training=True)
            d_loss = cross_entropy(tf.ones_like(real_logits), real_logits)
            d_loss += cross_entropy(tf.zeros_like(fake_logits), fake_logits)
        weights = discriminator.trainable_variables
        d_optimizer.apply_gradients(zip(d_tape.gradient(d_loss, weights), weights, strict=True))

        weights = generator.trainable_variables
        for _ in range(config.g_steps):
            with tf.GradientTape() as g_tape:
                fake_logits = discriminator(generator(z, training=True), training=True)
                g_loss = cross_entropy(tf.ones_like(fake_logits), fake_logits)
            g_optimizer.apply_gradients(zip(g_tape.gradient(g_loss, weights), weights, strict=True))
        return d_loss, g_loss

    def step(images: np.ndarray, z: np.ndarray) -> None:
        d_loss, g_loss = train_step(images, z)
        d_loss.numpy(), g_loss.numpy()  # wait for them

    return step
