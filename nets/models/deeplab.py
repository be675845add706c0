"""A DeepLab: a residual net whose last stages dilate instead of halving, and a pyramid of rates.

Maps stay 8 times smaller than the image. Rates without a rhythm, 2 all the way, look at a grid of
pixels only; hybrid rates of 1, 2 and 5 see every pixel and farther than 2 and 4, which torchvision
has (`DeepLab.check`). Names are those of torchvision's ``deeplabv3_resnet50``.

References: Chen et al., Rethinking atrous convolution for semantic image segmentation, 2017; Wang
et al., Understanding convolution for semantic segmentation, WACV 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from nets.autograd.ops import arithmetic
from nets.autograd.ops.pooling import adaptive_avg_pool2d, upsample_bilinear
from nets.autograd.tensor import Tensor
from nets.dilation import Verdict, check_rates
from nets.models.blocks import conv_norm
from nets.models.resnet import DEPTHS, ResNet
from nets.nn.layers import Conv2d, Dropout, Module, ModuleList, Sequential
from vj.errors import NetError

TOOTH = (1, 2, 5)


class DeepLab(Module):
    """Images of any size to a score of each class for every pixel.

    Parameters
    ----------
    num_classes, in_channels : int
    depth : 18, 34 or 50
        Of the residual net.
    width : float
        Factor of its channels.
    channels : int
        Of each branch of the pyramid.
    dilations : "hybrid", "doubling", or two sequences of int
        Of the blocks of the last two stages: 1, 2, 5, 1, 2, 5 and so on; 2 and then 4, as
        torchvision's; or given one by one.
    rates : tuple of int
        Of the pyramid.
    """

    def __init__(
        self,
        num_classes: int = 21,
        in_channels: int = 3,
        *,
        depth: int = 50,
        width: float = 1.0,
        channels: int = 256,
        dilations: str | Sequence[Sequence[int]] = "hybrid",
        rates: tuple[int, ...] = (12, 24, 36),
    ) -> None:
        if depth not in DEPTHS:
            raise NetError(f"DeepLab: `depth` must be one of {list(DEPTHS)}, got {depth}")
        stages = _stages(dilations, *DEPTHS[depth][1][2:])
        self.backbone = ResNet(depth, 1, in_channels, width=width, dilations=((), (), *stages))
        del self.backbone.fc
        self.classifier = Sequential(
            ASPP(self.backbone.channels, channels, rates),
            *conv_norm(channels, channels, 3),
            Conv2d(channels, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, num_classes, H, W)."""
        y = self.classifier(self.backbone.features(x)[-1])
        return upsample_bilinear(y, size=(x.shape[2], x.shape[3]))

    def check(self) -> Verdict:
        """Whether the 3 x 3 convolutions of the dilated stages see every pixel."""
        return check_rates(
            [
                layer.dilation[0]
                for stage in ("layer3", "layer4")
                for layer in getattr(self.backbone, stage).modules()
                if isinstance(layer, Conv2d) and layer.kernel_size == (3, 3)
            ]
        )


def _stages(how: str | Sequence[Sequence[int]], third: int, fourth: int) -> Sequence[Sequence[int]]:
    """Rates of the blocks of two stages of so many."""
    if how == "hybrid":
        return [list(islice(cycle(TOOTH), count)) for count in (third, fourth)]
    if how == "doubling":
        return [1] + [2] * (third - 1), [2] + [4] * (fourth - 1)
    if isinstance(how, str) or [len(stage) for stage in how] != [third, fourth]:
        raise NetError(
            f"DeepLab: `dilations` must be 'hybrid', 'doubling', or {third} and {fourth} numbers, "
            f"got {how!r}"
        )
    return how


class ASPP(Module):
    """Atrous spatial pyramid pooling: the map seen at several rates and as a whole, side by side.

    Parameters
    ----------
    inputs, channels : int
        Of the map, and of each branch and the result.
    rates : tuple of int
    """

    def __init__(self, inputs: int, channels: int, rates: tuple[int, ...]) -> None:
        self.convs = ModuleList(
            [
                conv_norm(inputs, channels, 1),
                *(conv_norm(inputs, channels, 3, dilation=rate) for rate in rates),
                WholeImage(inputs, channels),
            ]
        )
        branches = channels * len(self.convs)
        self.project = Sequential(*conv_norm(branches, channels, 1), Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H, W)."""
        return self.project(arithmetic.concat(*(branch(x) for branch in self.convs), axis=1))


class WholeImage(Module):
    """What is in the image at all, said at every pixel."""

    def __init__(self, inputs: int, channels: int) -> None:
        for name, part in zip("123", conv_norm(inputs, channels, 1), strict=True):
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H, W)."""
        y = adaptive_avg_pool2d(x, size=(1, 1))
        for part in self.children():
            y = part(y)
        return upsample_bilinear(y, size=(x.shape[2], x.shape[3]))
