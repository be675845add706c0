"""VGG-16 and VGG-19, with and without batch normalisation: 138,357,544 and 143,667,240 parameters.

Names and initialisation are torchvision's.

Reference: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition,
ICLR 2015.
"""

from __future__ import annotations

from typing import Any

from nets.autograd.tensor import Tensor
from nets.models.blocks import he_fan_out, scaled_channels
from nets.nn.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from vj.errors import NetError

# Convolutions of each stage; max pooling follows each stage.
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)


class VGG(Module):
    """VGG for images of at least 32 pixels.

    Parameters
    ----------
    depth : 11, 13, 16 or 19
        Layers with weights.
    num_classes, in_channels : int
    batch_norm : bool
    dropout : float
    width : float
        Multiplier of all channels and hidden units.
    """

    def __init__(
        self,
        depth: int = 16,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
        width: float = 1.0,
    ) -> None:
        self.features = features(depth, in_channels, batch_norm=batch_norm, width=width)
        self.avgpool = AdaptiveAvgPool2d((7, 7))
        hidden = scaled_channels(4096, width)
        self.classifier = Sequential(
            Linear(scaled_channels(512, width) * 49, hidden),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, hidden),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, num_classes),
        )
        he_fan_out(self, linear=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = self.avgpool(self.features(x))
        return self.classifier(x.reshape(len(x), -1))


def features(
    depth: int,
    in_channels: int = 3,
    *,
    batch_norm: bool = False,
    width: float = 1.0,
    ceil_mode: bool = False,
) -> Sequential:
    """Return the convolutional layers, of output stride 32."""
    if depth not in STAGES:
        raise NetError(f"VGG: `depth` must be one of {', '.join(map(str, STAGES))}, got {depth}")
    layers: list[Module] = []
    for count, channels in zip(STAGES[depth], CHANNELS, strict=True):
        for _ in range(count):
            layers.append(Conv2d(in_channels, scaled_channels(channels, width), 3, padding=1))
            layers += (
                [BatchNorm2d(scaled_channels(channels, width)), ReLU()] if batch_norm else [ReLU()]
            )
            in_channels = scaled_channels(channels, width)
        layers.append(MaxPool2d(2, ceil_mode=ceil_mode))
    return Sequential(*layers)


def vgg16(**options: Any) -> VGG:
    """Build VGG-16: 13 convolutions and 3 linear layers."""
    return VGG(16, **options)


def vgg16_bn(**options: Any) -> VGG:
    """Build VGG-16 with batch normalisation."""
    return VGG(16, batch_norm=True, **options)


def vgg19(**options: Any) -> VGG:
    """Build VGG-19: 16 convolutions and 3 linear layers."""
    return VGG(19, **options)


def vgg19_bn(**options: Any) -> VGG:
    """Build VGG-19 with batch normalisation."""
    return VGG(19, batch_norm=True, **options)
