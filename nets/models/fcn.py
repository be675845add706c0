"""Fully convolutional networks (FCN) on VGG-16 for semantic segmentation.

FCN-32s upsamples the coarsest score map 32 times; FCN-16s first adds scores from the map of stride
16, FCN-8s also from that of stride 8. ``features`` have torchvision's names for VGG-16.

Reference: Long et al., Fully convolutional networks for semantic segmentation, CVPR 2015. Unlike
there the image is not padded by 100 pixels: every layer is padded to keep the maps aligned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.models import vgg
from nets.models.blocks import he_fan_out, scaled_channels
from nets.nn import init
from nets.nn.layers import Conv2d, ConvTranspose2d, Dropout, Module, ReLU, Sequential
from vj.errors import NetError

POOL3, POOL4 = 17, 24  # indices of the features after which the stride is 8 and 16


class FCN(Module):
    """Semantic segmentation of images of any size.

    Parameters
    ----------
    num_classes, in_channels : int
    stride : 32, 16 or 8
        FCN-32s, 16s or 8s.
    width : float
        Multiplier of the channels.
    dropout : float
    """

    def __init__(
        self,
        num_classes: int = 21,
        in_channels: int = 3,
        *,
        stride: int = 8,
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        if stride not in (8, 16, 32):
            raise NetError(f"FCN: `stride` must be 8, 16 or 32, got {stride}")
        deep, hidden, n = scaled_channels(512, width), scaled_channels(4096, width), num_classes
        self.stride = stride
        self.features = vgg.features(16, in_channels, width=width, ceil_mode=True)
        self.classifier = Sequential(
            Conv2d(deep, hidden, 7, padding=3),
            ReLU(),
            Dropout(dropout),
            Conv2d(hidden, hidden, 1),
            ReLU(),
            Dropout(dropout),
        )
        he_fan_out(self)
        self.score = _score(hidden, n)
        self.score_pool4 = _score(deep, n) if stride <= 16 else None
        self.score_pool3 = _score(scaled_channels(256, width), n) if stride == 8 else None
        self.upscore2 = _enlarge(n, 2) if stride <= 16 else None
        self.upscore_pool4 = _enlarge(n, 2) if stride == 8 else None
        self.upscore = _enlarge(n, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) of images (N, in_channels, H, W)."""
        size = x.shape
        pool3 = self.features[:POOL3](x)
        pool4 = self.features[POOL3:POOL4](pool3)
        y = self.score(self.classifier(self.features[POOL4:](pool4)))
        if self.upscore2 is not None and self.score_pool4 is not None:
            y = _crop(self.upscore2(y), pool4.shape) + self.score_pool4(pool4)
        if self.upscore_pool4 is not None and self.score_pool3 is not None:
            y = _crop(self.upscore_pool4(y), pool3.shape) + self.score_pool3(pool3)
        return _crop(self.upscore(y), size)

    def load_vgg(self, state: Mapping[str, ArrayLike]) -> FCN:
        """Load a VGG-16 classifier; its linear layers become convolutions.

        Raises
        ------
        NetError
            The state is not that of a VGG-16 of the same width.
        """
        names = {"classifier.0": "classifier.0", "classifier.3": "classifier.3"}
        own = self.state_dict()
        found: dict[str, ArrayLike] = {k: v for k, v in state.items() if k.startswith("features.")}
        for theirs, ours in names.items():
            for end in ("weight", "bias"):
                if f"{theirs}.{end}" in state:
                    value = state[f"{theirs}.{end}"]
                    found[f"{ours}.{end}"] = _shaped(value, own[f"{ours}.{end}"])
        missing, _ = self.load_state_dict(found, strict=False)
        lost = [name for name in missing if not name.startswith(("score", "upscore"))]
        if lost:
            raise NetError(f"FCN: the state of VGG-16 lacks {', '.join(lost)}")
        return self


def _score(channels: int, classes: int) -> Conv2d:
    """Return a zero-initialised score layer, so that a finer map has no effect at first."""
    layer = Conv2d(channels, classes, 1)
    for parameter in layer.parameters():
        parameter.data[:] = 0
    return layer


def _enlarge(classes: int, factor: int) -> ConvTranspose2d:
    """Return a transposed convolution, initialised as per-class bilinear interpolation."""
    layer = ConvTranspose2d(classes, classes, 2 * factor, factor, factor // 2, bias=False)
    layer.weight.data = init.bilinear(layer.weight.shape)
    return layer


def _crop(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x[:, :, : shape[2], : shape[3]]


def _shaped(value: ArrayLike, like: Array) -> ArrayLike:
    array = np.asarray(value)
    return array.reshape(like.shape) if array.size == like.size else array
