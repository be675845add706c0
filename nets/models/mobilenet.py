"""MobileNet v1 and v2: 4,231,976 and 3,504,872 parameters. The names of v2 are torchvision's.

References: Howard et al., MobileNets, 2017; Sandler et al., MobileNetV2: inverted residuals and
linear bottlenecks, CVPR 2018.
"""

from __future__ import annotations

from typing import Any

from nets.autograd.ops.pooling import adaptive_avg_pool2d
from nets.autograd.tensor import Tensor
from nets.models.blocks import conv_norm, he_fan_out, scaled_channels
from nets.nn.layers import BatchNorm2d, Conv2d, Dropout, Linear, Module, ReLU6, Sequential

# Channels and stride of each separable block of v1.
V1 = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
]
# Expansion, channels, blocks and first stride of each stage of v2.
V2 = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class _MobileNet(Module):
    features: Sequential
    classifier: Module

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = adaptive_avg_pool2d(self.features(x), size=(1, 1))
        return self.classifier(x.reshape(len(x), -1))


class MobileNetV1(_MobileNet):
    """A stack of depthwise separable convolutions.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplier of all channels.
    small : bool
        For images of about 32 pixels: the first layer has stride 1.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        width: float = 1.0,
        small: bool = False,
    ) -> None:
        channels = scaled_channels(32, width, 8)
        blocks = [conv_norm(in_channels, channels, 3, 1 if small else 2)]
        for wanted, stride in V1:
            outputs = scaled_channels(wanted, width, 8)
            deep = conv_norm(channels, channels, 3, stride, groups=channels)
            blocks.append(Sequential(*deep, *conv_norm(channels, outputs, 1)))
            channels = outputs
        self.features = Sequential(*blocks)
        self.classifier = Linear(channels, num_classes)
        he_fan_out(self, linear=0.01)


class MobileNetV2(_MobileNet):
    """A stack of inverted residual blocks with linear bottlenecks.

    Parameters
    ----------
    num_classes, in_channels : int
    width : float
        Multiplier of all channels; at least 1 for the last layer.
    dropout : float
    small : bool
        For images of about 32 pixels: the first layer and second stage have stride 1.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        small: bool = False,
    ) -> None:
        channels = scaled_channels(32, width, 8)
        blocks: list[Module] = [
            conv_norm(in_channels, channels, 3, 1 if small else 2, activation=ReLU6)
        ]
        for stage, (expansion, wanted, count, first) in enumerate(V2):
            for i in range(count):
                stride = first if i == 0 and not (small and stage == 1) else 1
                outputs = scaled_channels(wanted, width, 8)
                blocks.append(InvertedResidual(channels, outputs, stride, expansion))
                channels = outputs
        last = scaled_channels(1280, max(1.0, width), 8)
        self.features = Sequential(*blocks, conv_norm(channels, last, 1, activation=ReLU6))
        self.classifier = Sequential(Dropout(dropout), Linear(last, num_classes))
        he_fan_out(self, linear=0.01)


class InvertedResidual(Module):
    """1 x 1 expansion, depthwise convolution, 1 x 1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        hidden = inputs * expansion
        self.conv = Sequential(
            *([conv_norm(inputs, hidden, 1, activation=ReLU6)] if expansion != 1 else []),
            conv_norm(hidden, hidden, 3, stride, groups=hidden, activation=ReLU6),
            Conv2d(hidden, outputs, 1, bias=False),
            BatchNorm2d(outputs),
        )
        self._residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride) for an input (N, inputs, H, W)."""
        y = self.conv(x)
        return x + y if self._residual else y


def mobilenet_v1(**options: Any) -> MobileNetV1:
    """Build a `MobileNetV1`."""
    return MobileNetV1(**options)


def mobilenet_v2(**options: Any) -> MobileNetV2:
    """Build a `MobileNetV2`."""
    return MobileNetV2(**options)
