"""Convolutional variational autoencoder (VAE).

Reference: Kingma & Welling, Auto-encoding variational Bayes, ICLR 2014.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nets.autograd.ops import arithmetic
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    Linear,
    Module,
    Sequential,
)
from vj.errors import NetError


class VAE(Module):
    """VAE of square images.

    Parameters
    ----------
    in_channels : int
    size : int
        Rows and columns, 8 times a power of 2.
    latent : int
        Dimensions of the latent space.
    width : int
        Channels of the first layer; each further layer doubles them and halves the size.

    Attributes
    ----------
    generator : numpy Generator
        Source of the sampling noise in training.
    """

    def __init__(
        self, in_channels: int = 1, size: int = 32, *, latent: int = 32, width: int = 32
    ) -> None:
        stages = (size // 4).bit_length() - 1
        if size != 4 << stages or stages < 1:
            raise NetError(f"VAE: `size` must be 8 times a power of 2, got {size}")
        channels = [in_channels, *(width << i for i in range(stages))]
        self.latent, self._map = latent, (channels[-1], 4, 4)
        self.encoder = Sequential(
            *(
                Sequential(Conv2d(a, b, 4, 2, 1, bias=False), BatchNorm2d(b), LeakyReLU(0.2))
                for a, b in pairwise(channels)
            )
        )
        self.mean = Linear(16 * channels[-1], latent)
        self.log_variance = Linear(16 * channels[-1], latent)
        self.spread = Linear(latent, 16 * channels[-1])
        up = channels[:0:-1]
        self.decoder = Sequential(
            *(
                Sequential(
                    ConvTranspose2d(a, b, 4, 2, 1, bias=False), BatchNorm2d(b), LeakyReLU(0.2)
                )
                for a, b in pairwise(up)
            ),
            ConvTranspose2d(up[-1], in_channels, 4, 2, 1),
        )
        self.generator = init.child()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of the shape (N, C, size, size) of ``x``, and mean and log variance.

        In training mode the code is sampled, in evaluation mode it is the mean.
        """
        mean, log_variance = self.encode(x)
        code = self.draw(mean, log_variance) if self.training else mean
        return self.decode(code), mean, log_variance

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, (N, latent) each, of images (N, C, size, size)."""
        y = self.encoder(x)
        y = y.reshape(len(y), -1)
        return self.mean(y), self.log_variance(y)

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Sample the Gaussians by the reparametrisation trick."""
        noise = self.generator.standard_normal(mean.shape, np.float32)
        return mean + arithmetic.exp(log_variance * 0.5) * noise

    def decode(self, code: Tensor) -> Tensor:
        """Return logits (N, C, size, size) of codes (N, latent); their sigmoid is the image."""
        return self.decoder(self.spread(code).reshape(len(code), *self._map))
