"""DCGAN: a convolutional generator and discriminator.

Layers and names are those of PyTorch's tutorial.

Reference: Radford et al., Unsupervised representation learning with deep convolutional generative
adversarial networks, ICLR 2016.
"""

from __future__ import annotations

from itertools import pairwise

from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    Module,
    ReLU,
    Sequential,
    Tanh,
)
from vj.errors import NetError


class Generator(Module):
    """Generator: noise to images.

    Parameters
    ----------
    latent : int
        Dimensions of the noise.
    out_channels : int
    size : int
        Rows and columns, 8 times a power of 2.
    width : int
        Channels of the second to last layer.
    """

    def __init__(
        self, latent: int = 100, out_channels: int = 3, *, size: int = 64, width: int = 64
    ) -> None:
        widths = [width << i for i in reversed(range(_stages(size)))]
        layers: list[Module] = [ConvTranspose2d(latent, widths[0], 4, 1, 0, bias=False)]
        for a, b in zip(widths, [*widths[1:], out_channels], strict=True):
            layers += [BatchNorm2d(a), ReLU(), ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
        self.latent, self.main = latent, Sequential(*layers, Tanh())
        _initialise(self)

    def forward(self, noise: Tensor) -> Tensor:
        """Return images (N, out_channels, size, size) in [-1, 1] of noise (N, latent[, 1, 1])."""
        return self.main(noise.reshape(len(noise), self.latent, 1, 1))


class Discriminator(Module):
    """Discriminator: images to the logit of being real.

    Parameters
    ----------
    in_channels : int
    size : int
        Rows and columns, 8 times a power of 2.
    width : int
        Channels of the first layer.
    """

    def __init__(self, in_channels: int = 3, *, size: int = 64, width: int = 64) -> None:
        widths = [width << i for i in range(_stages(size))]
        layers: list[Module] = [Conv2d(in_channels, width, 4, 2, 1, bias=False), LeakyReLU(0.2)]
        for a, b in pairwise(widths):
            layers += [Conv2d(a, b, 4, 2, 1, bias=False), BatchNorm2d(b), LeakyReLU(0.2)]
        self.main = Sequential(*layers, Conv2d(widths[-1], 1, 4, 1, 0, bias=False))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N,) of images (N, in_channels, size, size)."""
        return self.main(x).reshape(len(x))


def _initialise(model: Module) -> None:
    """Draw weights from N(0, 0.02), of batch normalisation from N(1, 0.02), as in the paper."""
    for layer in model.modules():
        if isinstance(layer, (Conv2d, ConvTranspose2d)):
            layer.weight.data = init.normal(layer.weight.shape, 0.02)
        elif isinstance(layer, BatchNorm2d) and layer.weight is not None:
            layer.weight.data = init.normal(layer.weight.shape, 0.02, 1.0)


def _stages(size: int) -> int:
    """Return the number of doublings from 4 to ``size`` pixels."""
    stages = (size // 4).bit_length() - 1
    if size != 4 << stages or stages < 1:
        raise NetError(f"DCGAN: `size` must be 8 times a power of 2, got {size}")
    return stages
