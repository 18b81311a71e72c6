"""The same network and step in PyTorch: eager, or with its modules compiled."""

import sys
from collections.abc import Callable

import numpy as np

sys.modules["triton"] = None  # compiles for GPUs alone, and its LLVM ends a process that has TensorFlow's

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from dcgan_tf1.config import Config  # noqa: E402
from dcgan_tf1.machine import usable_cores  # noqa: E402


def truncated_normal(layer: nn.Module) -> nn.Module:
    nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
    return layer


def glorot_uniform(layer: nn.Module) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def batch_norm(kind: type[nn.Module], channels: int) -> nn.Module:
    layer = kind(channels, eps=1e-3, momentum=1 - 0.999)
    layer.weight.requires_grad_(False)  # offset but no scale
    return layer


class SameConvTranspose2d(nn.ConvTranspose2d):
    """TensorFlow's SAME: an odd row or column too many is cut at the end, which `padding` alone cannot say."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, bias: bool):
        padding = max(kernel - stride, 0) // 2
        output_padding = max(stride - kernel, 0)
        super().__init__(in_channels, out_channels, kernel, stride, padding, output_padding, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = (side * stride for side, stride in zip(x.shape[2:], self.stride, strict=True))
        return super().forward(x)[:, :, :height, :width]


class Generator(nn.Module):
    """Images [batch, 1, 32, 32] in (-1, 1)."""

    def __init__(self, config: Config, memory_format: torch.memory_format = torch.contiguous_format):
        super().__init__()
        channels = config.g_channels
        with_norm = config.g_batch_norm == "all"
        self.memory_format = memory_format
        self.dense = nn.Sequential(
            truncated_normal(nn.Linear(config.z_dim, 4 * 4 * channels[0], bias=False)),
            batch_norm(nn.BatchNorm1d, 4 * 4 * channels[0]),
            nn.ReLU(),
            nn.Unflatten(1, (channels[0], 4, 4)),
        )
        layers = []
        for before, after in zip(channels, channels[1:], strict=False):
            layers.append(glorot_uniform(SameConvTranspose2d(before, after, 5, 2, bias=not with_norm)))
            if with_norm:
                layers.append(batch_norm(nn.BatchNorm2d, after))
            layers.append(nn.ReLU())
        stride = 32 // (4 * 2 ** (len(channels) - 1))
        output = SameConvTranspose2d(channels[-1], 1, config.output_kernel, stride, bias=False)
        self.deconvs = nn.Sequential(*layers, truncated_normal(output), nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.deconvs(self.dense(z).contiguous(memory_format=self.memory_format))


class Discriminator(nn.Sequential):
    """Logits [batch, 1]."""

    def __init__(self, config: Config):
        layers = []
        before, side = 1, 32
        for after in config.d_channels:
            layers.append(truncated_normal(nn.Conv2d(before, after, 4, 2, padding=1, bias=False)))
            if layers[1:]:  # all but the first
                layers.append(batch_norm(nn.BatchNorm2d, after))
            layers.append(nn.LeakyReLU(0.2))
            before, side = after, side // 2
        dense = truncated_normal(nn.Linear(side * side * before, 1))
        nn.init.zeros_(dense.bias)
        super().__init__(*layers, nn.Flatten(), dense)


def cross_entropy(logits: torch.Tensor, label: float) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def make_step(
    config: Config, channels_last: bool = False, compiled: bool = False, bfloat16: bool = False
) -> Callable[[np.ndarray, np.ndarray], None]:
    """A function of uint8 images and z that runs one training step."""
    torch.set_num_threads(usable_cores())
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    generator = Generator(config, memory_format).to(memory_format=memory_format)
    discriminator = Discriminator(config).to(memory_format=memory_format)
    g_weights = [weight for weight in generator.parameters() if weight.requires_grad]
    d_weights = [weight for weight in discriminator.parameters() if weight.requires_grad]
    g_optimizer = torch.optim.Adam(g_weights, config.lr_g, (config.beta1, config.beta2))
    d_optimizer = torch.optim.Adam(d_weights, config.lr_d, (config.beta1, config.beta2))
    if compiled:
        torch.compiler.reset()  # what earlier calls compiled counts towards the limit beyond which eager code runs
        generator, discriminator = torch.compile(generator), torch.compile(discriminator)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def step(images: np.ndarray, z: np.ndarray) -> None:
        reals = torch.from_numpy(images).unsqueeze(1).float() / 127.5 - 1
        reals = F.pad(reals, (2, 2, 2, 2), value=-1).contiguous(memory_format=memory_format)
        z = torch.from_numpy(z)

        with autocast():
            fakes = generator(z)
            d_loss = cross_entropy(discriminator(reals), 1.0) + cross_entropy(discriminator(fakes.detach()), 0.0)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()

        for i in range(config.g_steps):
            with autocast():
                if i > 0:  # the first update has the fakes that the discriminator was shown
                    fakes = generator(z)
                g_loss = cross_entropy(discriminator(fakes), 1.0)
            g_optimizer.zero_grad()
            g_loss.backward(inputs=g_weights)  # without `inputs`, the discriminator's gradients too
            g_optimizer.step()

    return step
