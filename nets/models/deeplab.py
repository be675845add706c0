"""DeepLab: a ResNet with dilated last stages, and atrous spatial pyramid pooling.

The output stride is 8. A constant dilation of 2 samples the input on a grid only; hybrid dilations
of 1, 2 and 5 cover every pixel, with a larger receptive field than torchvision's 2 and 4
(`DeepLab.check`). Names are those of torchvision's ``deeplabv3_resnet50``.

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
    """Semantic segmentation of images of any size.

    Parameters
    ----------
    num_classes, in_channels : int
    depth : 18, 34 or 50
        Of the ResNet.
    width : float
        Multiplier of its channels.
    channels : int
        Channels of each branch of the pyramid.
    dilations : "hybrid", "doubling", or two sequences of int
        Dilations of the blocks of the last two stages: 1, 2, 5 repeated; 2 then 4, as in
        torchvision; or an explicit list for each stage.
    rates : tuple of int
        Dilations of the pyramid.
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
        """Return logits (N, num_classes, H, W) of images (N, in_channels, H, W)."""
        y = self.classifier(self.backbone.features(x)[-1])
        return upsample_bilinear(y, size=(x.shape[2], x.shape[3]))

    def check(self) -> Verdict:
        """Check that the 3 x 3 convolutions of the dilated stages cover every pixel."""
        return check_rates(
            [
                layer.dilation[0]
                for stage in ("layer3", "layer4")
                for layer in getattr(self.backbone, stage).modules()
                if isinstance(layer, Conv2d) and layer.kernel_size == (3, 3)
            ]
        )


def _stages(how: str | Sequence[Sequence[int]], third: int, fourth: int) -> Sequence[Sequence[int]]:
    """Return the dilations of the blocks of the last two stages."""
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
    """Atrous spatial pyramid pooling: parallel dilated convolutions and global pooling.

    Parameters
    ----------
    inputs, channels : int
        Channels of the input, and of each branch and the output.
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
        """Return (N, channels, H, W) for an input (N, inputs, H, W)."""
        return self.project(arithmetic.concat(*(branch(x) for branch in self.convs), axis=1))


class WholeImage(Module):
    """Global average pooling, broadcast back to every pixel."""

    def __init__(self, inputs: int, channels: int) -> None:
        for name, part in zip("123", conv_norm(inputs, channels, 1), strict=True):
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H, W) for an input (N, inputs, H, W)."""
        y = adaptive_avg_pool2d(x, size=(1, 1))
        for part in self.children():
            y = part(y)
        return upsample_bilinear(y, size=(x.shape[2], x.shape[3]))
