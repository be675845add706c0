"""ResNet-18, 34 and 50, with or without shortcuts: 11,689,512, 21,797,672, 25,557,032 parameters.

Names and initialisation are torchvision's. References: He et al., Deep residual learning for image
recognition, CVPR 2016; Goyal et al., 2017 (the 3 x 3 convolution of a bottleneck has the stride).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nets.autograd.ops.activation import relu
from nets.autograd.ops.pooling import adaptive_avg_pool2d
from nets.autograd.tensor import Tensor
from nets.models.blocks import conv_norm, he_fan_out, scaled_channels
from nets.nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Sequential
from vj.errors import NetError


class Block(Module):
    """Residual block of two 3 x 3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, rate: int, shortcut: bool) -> None:
        self.conv1 = Conv2d(inputs, width, 3, stride, rate, rate, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, 1, rate, rate, bias=False)
        self.bn2 = BatchNorm2d(width)
        self._join(inputs, width, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, expansion * width, H / stride, W / stride) for (N, inputs, H, W)."""
        y = self.bn1(self.conv1(x), "relu")
        return self.joined(self.conv2(y), x, self.bn2)

    def joined(self, y: Tensor, x: Tensor, norm: BatchNorm2d) -> Tensor:
        """Add the shortcut, except in plain networks, and apply the activation."""
        if not self._shortcut:
            return norm(y, "relu")
        return relu(norm(y) + (x if self.downsample is None else self.downsample(x)))

    def _join(self, inputs: int, outputs: int, stride: int, shortcut: bool) -> None:
        """Set up the shortcut, a projection only if the shapes differ."""
        self._shortcut, self.downsample = shortcut, None
        if shortcut and (stride > 1 or inputs != outputs):
            self.downsample = conv_norm(inputs, outputs, 1, stride, activation=None)


class Bottleneck(Block):
    """Bottleneck block: 1 x 1, 3 x 3 and 1 x 1 convolutions."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, rate: int, shortcut: bool) -> None:
        self.conv1, self.bn1 = Conv2d(inputs, width, 1, bias=False), BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, stride, rate, rate, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3, self.bn3 = Conv2d(width, 4 * width, 1, bias=False), BatchNorm2d(4 * width)
        self._join(inputs, 4 * width, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 4 * width, H / stride, W / stride) for (N, inputs, H, W)."""
        y = self.bn1(self.conv1(x), "relu")
        y = self.bn2(self.conv2(y), "relu")
        return self.joined(self.conv3(y), x, self.bn3)


DEPTHS: dict[int, tuple[type[Block], tuple[int, ...]]] = {
    18: (Block, (2, 2, 2, 2)), 34: (Block, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
}  # fmt: skip


class ResNet(Module):
    """Residual network for image classification.

    Parameters
    ----------
    depth : 18, 34 or 50
        Or the number of two-layer blocks (`Block`) in each stage.
    num_classes, in_channels : int
    width : float
        Multiplier of all channels.
    shortcuts : bool
        If False, build the plain network, which degrades with depth.
    small : bool
        For images of about 32 pixels: a 3 x 3 stem, no downsampling before stage two.
    dilations : sequence of sequences of int, optional
        Dilations of the blocks of each stage; a dilated stage does not downsample.
    """

    def __init__(
        self,
        depth: int | Sequence[int] = 18,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        width: float = 1.0,
        shortcuts: bool = True,
        small: bool = False,
        dilations: Sequence[Sequence[int]] = (),
    ) -> None:
        if isinstance(depth, int) and depth not in DEPTHS:
            raise NetError(f"ResNet: `depth` must be one of {list(DEPTHS)}, got {depth}")
        block, counts = DEPTHS[depth] if isinstance(depth, int) else (Block, tuple(depth))
        inputs, self._stages = scaled_channels(64, width), len(counts)
        self.conv1 = Conv2d(in_channels, inputs, *((3, 1, 1) if small else (7, 2, 3)), bias=False)
        self.bn1 = BatchNorm2d(inputs)
        self.maxpool = None if small else MaxPool2d(3, 2, 1)
        for stage, count in enumerate(counts):
            channels = scaled_channels(64 * 2**stage, width)
            rates = dilations[stage] if stage < len(dilations) else ()
            strides = [1 if stage == 0 or rates else 2] + [1] * (count - 1)
            blocks = []
            for stride, rate in zip(strides, rates or [1] * count, strict=True):
                blocks.append(block(inputs, channels, stride, rate, shortcuts))
                inputs = channels * block.expansion
            setattr(self, f"layer{stage + 1}", Sequential(*blocks))
        self.channels = inputs
        self.fc = Linear(inputs, num_classes)
        he_fan_out(self)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of every stage."""
        x, maps = self.bn1(self.conv1(x), "relu"), []
        x = x if self.maxpool is None else self.maxpool(x)
        for stage in range(self._stages):
            x = getattr(self, f"layer{stage + 1}")(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = adaptive_avg_pool2d(self.features(x)[-1], size=(1, 1))
        return self.fc(x.reshape(len(x), -1))


def resnet18(**options: Any) -> ResNet:
    """Build ResNet-18: eight blocks of two layers."""
    return ResNet(18, **options)


def resnet34(**options: Any) -> ResNet:
    """Build ResNet-34: sixteen blocks of two layers."""
    return ResNet(34, **options)


def resnet50(**options: Any) -> ResNet:
    """Build ResNet-50: sixteen blocks of three layers."""
    return ResNet(50, **options)
