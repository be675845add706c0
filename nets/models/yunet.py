"""YuNet backbone: separable units, three strides, 75,856 parameters.

Each cell predicts 16 values: class score, objectness score, box and five landmarks.

Reference: Wu et al., YuNet: a tiny millisecond-level face detector, Machine Intelligence Research
20, 2023.
"""

from __future__ import annotations

from nets.autograd.ops.pooling import upsample_nearest
from nets.autograd.tensor import Tensor
from nets.models.blocks import he_fan_out
from nets.nn.layers import BatchNorm2d, Conv2d, MaxPool2d, Module, ModuleList, ReLU, Sequential

ANSWERS = 16


class Unit(Module):
    """A 1 x 1 convolution, a depthwise 3 x 3 one, and (except in heads) batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, norm: bool = True) -> None:
        self.conv1 = Conv2d(inputs, outputs, 1)
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.bn = BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H, W) for an input (N, inputs, H, W)."""
        y = self.conv2(self.conv1(x))
        return y if self.bn is None else self.bn(y, "relu")


class YuNet(Module):
    """Images to prediction maps at strides 8, 16 and 32.

    Parameters
    ----------
    in_channels : int
    width : int
        Channels of the maps; the first layers have a quarter.
    answers : int
        Values predicted per cell.
    """

    def __init__(self, in_channels: int = 3, *, width: int = 64, answers: int = ANSWERS) -> None:
        thin = width // 4
        first = Conv2d(in_channels, thin, 3, 2, 1)
        self.stem = Sequential(first, BatchNorm2d(thin), ReLU(), Unit(thin, thin))
        self.stages = ModuleList(
            [
                Sequential(Unit(thin, thin), Unit(thin, width)),
                *(Sequential(Unit(width, width), Unit(width, width)) for _ in range(4)),
            ]
        )
        self.pool = MaxPool2d(2)
        self.lateral = ModuleList(Unit(width, width) for _ in range(3))
        self.shared = ModuleList(Unit(width, width) for _ in range(3))
        self.heads = ModuleList(Unit(width, answers, norm=False) for _ in range(3))
        he_fan_out(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return three maps (N, answers, h, w); H and W must be multiples of 32."""
        x, maps = self.stages[0](self.pool(self.stem(x))), []
        x = self.pool(self.stages[1](x))
        for stage in list(self.stages)[2:]:
            x = stage(x)
            maps.append(x)
            x = self.pool(x)
        above = None
        for level in (2, 1, 0):
            if above is not None:
                maps[level] = maps[level] + upsample_nearest(above, size=maps[level].shape[2:])
            above = maps[level] = self.lateral[level](maps[level])
        return tuple(
            head(unit(x)) for head, unit, x in zip(self.heads, self.shared, maps, strict=True)
        )
