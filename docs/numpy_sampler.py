"""Generate digits with NumPy alone from the weights that `run.py export --format npz` writes (family dcgan32).

    python numpy_sampler.py weights.npz digits.pgm

generates the first 64 digits of seed 0, the same as `run.py generate`.
"""

import json
import sys

import numpy as np

CHUNK = 500  # digits, whose z come from one counter of the random number generator


def load(path):
    """The settings of the run, and the arrays by the names of their variables."""
    with np.load(path) as file:
        arrays = dict(file)
    config = json.loads(arrays.pop("metadata").tobytes())["config"]
    return config, {name: array.astype(np.float32) for name, array in arrays.items()}


def latent(seed, chunk, z_dim, distribution="uniform"):
    """The z of the digits of `seed` from number 500 * chunk to 500 * chunk + 499: float32 [500, z_dim].

    They are uniform over [-1, 1) or standard normal, as the setting `z_distribution` says.
    """
    key, counter = np.array([seed, 3], np.uint64), np.array([0, 0, 0, chunk], np.uint64)
    bits = np.random.Philox(key=key, counter=counter).random_raw(CHUNK * z_dim)
    if distribution == "normal":
        radius = np.sqrt(-2 * np.log(((bits >> 32) + 1) * 2.0**-32))
        values = radius * np.cos((bits & 0xFFFFFFFF) * (2 * np.pi * 2.0**-32))
    else:
        values = (bits >> 40) * 2.0**-23 - 1
    return values.astype(np.float32).reshape(CHUNK, z_dim)


def generate(z, config, arrays, labels=None):
    """Turn latent vectors, float32 [n, z_dim], into digits, uint8 [n, 32, 32], or in colour [n, 32, 32, 3].

    A conditional GAN takes `labels` too, integers [n]: the places of the classes in its list of classes.
    """
    first = arrays["generator/dense/kernel"]
    one_hot = np.eye(len(first) - config["z_dim"], dtype=np.float32)
    classes = np.zeros((len(z), 0), np.float32) if labels is None else one_hot[labels]

    def deconv(x, name, stride):  # each input pixel adds the kernel, multiplied by its value, to the output
        kernel = arrays[f"generator/{name}/kernel"]  # [width, width, out channels, in channels]
        width, reach = len(kernel), x.shape[1] * stride
        out = np.zeros((len(x), reach + width, reach + width, kernel.shape[2]), np.float32)
        for i, j in np.ndindex(width, width):
            out[:, i : i + reach : stride, j : j + reach : stride] += x @ kernel[i, j].T
        margin = max(width - stride, 0) // 2
        return out[:, margin : margin + reach, margin : margin + reach]

    def activate(x, name):  # batch normalisation by moving averages, or a bias; what the class adds; then ReLU
        mean, variance, beta, bias, scale, offset = (arrays.get(f"generator/{name}/{key}") for key in KEYS)
        x = x + bias if mean is None else (x - mean) / np.sqrt(variance + 1e-3) + beta
        if scale is not None:
            x = x * (1 + classes @ scale)[:, None, None] + (classes @ offset)[:, None, None]
        return np.maximum(x, 0)

    x = activate(np.concatenate([z, classes], 1) @ first, "dense").reshape(len(z), 4, 4, -1)
    for i in range(1, len(config["g_channels"])):
        x = activate(deconv(x, f"deconv{i}", 2), f"deconv{i}")
    x = np.tanh(deconv(x, "output", 32 // x.shape[1]))
    x = x if x.shape[3] == 3 else x[..., 0]
    return np.round((x + 1) * 127.5).astype(np.uint8)


KEYS = ("moving_mean", "moving_variance", "beta", "bias", "class_scale/kernel", "class_offset/kernel")

if __name__ == "__main__":
    config, arrays = load(sys.argv[1])
    count = len(arrays["generator/dense/kernel"]) - config["z_dim"]  # of classes, which are generated in turns
    z = latent(0, 0, config["z_dim"], config["z_distribution"])[:64]
    digits = generate(z, config, arrays, np.arange(64) % count if count else None)
    picture = digits.reshape(8, 8, 32, 32, -1).swapaxes(1, 2)  # a grid of 256 x 256 pixels
    kind = b"P5" if picture.shape[4] == 1 else b"P6"
    with open(sys.argv[2], "wb") as file:
        file.write(kind + b" 256 256 255\n" + picture.tobytes())
