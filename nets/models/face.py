"""Anchor-free face detectors: a backbone, maps at strides 8, 16 and 32, one shared head.

Each cell predicts 16 values: class and objectness logits, a box, five landmarks. Faces of all sizes
look alike in the map of their stride, so the maps share one head, which trains on three times as
many faces; only the feature statistics differ, so each map has its own batch normalisation. The
backbone is built of plain 3 x 3 convolutions in residual blocks, which Winograd's algorithm
computes at less than half their cost (`FaceNet`), or of separable units (`nets.models.yunet`).

References: He et al., CVPR 2016 (blocks); Lin et al., Feature pyramid networks, CVPR 2017; Tian et
al., FCOS, ICCV 2019 (a shared head); Guo et al., Sample and computation redistribution, ICLR 2022.
"""

from __future__ import annotations

import numpy as np

from nets.autograd.ops.activation import relu, sigmoid
from nets.autograd.ops.arithmetic import concat, permute, reshape
from nets.autograd.ops.pooling import upsample_nearest
from nets.autograd.tensor import Tensor
from nets.models.blocks import conv_norm, he_fan_out
from nets.models.yunet import Unit
from nets.nn.layers import BatchNorm2d, Conv2d, MaxPool2d, Module, ModuleList, Sequential

STRIDES = (8, 16, 32)
PARTS = {"cls": (0, 1), "obj": (1, 2), "bbox": (2, 6), "kps": (6, 16)}  # values predicted per cell
ANSWERS = 16
RARE = 0.01  # initial face probability of a cell, before training (as in RetinaNet)


class Block(Module):
    """Residual block of two 3 x 3 convolutions."""

    def __init__(self, channels: int) -> None:
        self.conv1 = conv_norm(channels, channels)
        self.conv2 = conv_norm(channels, channels, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return an output of the input's shape."""
        return relu(self.conv2(self.conv1(x)) + x)


class FaceNet(Module):
    """Face detection network: images to the predictions of all cells.

    Parameters
    ----------
    stem : (int, int)
        Channels at strides 2 and 4.
    width : int
        Channels at strides 8, 16 and 32.
    depths : four int
        Blocks at strides 4, 8, 16 and 32.
    separable : bool
        If True, separable units replace the blocks: fewer weights and MACs.
    """

    def __init__(
        self,
        stem: tuple[int, int] = (16, 32),
        width: int = 64,
        depths: tuple[int, int, int, int] = (1, 1, 1, 1),
        separable: bool = False,
    ) -> None:
        def stage(inputs: int, outputs: int, depth: int) -> Sequential:
            """Return a stage: downsampling by 2, then the blocks."""
            if not separable:
                blocks = [Block(outputs) for _ in range(depth)]
                return Sequential(conv_norm(inputs, outputs, 3, 2), *blocks)
            units = [Unit(outputs, outputs) for _ in range(depth)]
            return Sequential(MaxPool2d(2), Unit(inputs, outputs), *units)

        self.stem = conv_norm(3, stem[0], 3, 2)
        self.stage4 = stage(stem[0], stem[1], depths[0])
        self.stages = ModuleList(
            stage(inputs, width, depth)
            for inputs, depth in zip((stem[1], width, width), depths[1:], strict=True)
        )
        self.lateral = ModuleList(conv_norm(width, width, 1) for _ in range(2))
        last = Conv2d(width, width, 3, padding=1, groups=width if separable else 1, bias=False)
        self.head = Sequential(*([Conv2d(width, width, 1)] if separable else []), last)
        self.norms = ModuleList(BatchNorm2d(width) for _ in STRIDES)
        self.answer = Conv2d(width, ANSWERS, 1)
        he_fan_out(self)
        self.answer.weight.data *= 0.1
        assert self.answer.bias is not None
        self.answer.bias.data[:2] = np.log(RARE / (1 - RARE))

    def answers(self, x: Tensor) -> list[Tensor]:
        """Return raw predictions (N, cells, 16), one array for each stride."""
        x, maps = self.stage4(self.stem(x)), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        for level in (1, 0):
            above = self.lateral[level](maps[level + 1])
            maps[level] = maps[level] + upsample_nearest(above, size=maps[level].shape[2:])
        seen = [norm(self.head(m), "relu") for norm, m in zip(self.norms, maps, strict=True)]
        found = [permute(self.answer(m), axes=(0, 2, 3, 1)) for m in seen]
        return [reshape(a, shape=(a.shape[0], -1, ANSWERS)) for a in found]

    def cells(self, x: Tensor) -> Tensor:
        """Return raw predictions of all cells (N, P, 16), stride after stride, for training."""
        return concat(*self.answers(x), axis=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return YuNet's twelve outputs, grouped by kind; H and W must be multiples of 32."""
        raw = self.answers(x)
        return tuple(
            sigmoid(part) if kind in ("cls", "obj") else part
            for kind, (first, last) in PARTS.items()
            for part in (each[..., first:last] for each in raw)
        )
