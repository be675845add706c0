"""Convolutions and transposed convolutions of images."""

from __future__ import annotations

import math
from typing import Any

from nets.autograd.ops import convolution
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.pairs import Pair, count, pair
from vj.errors import NetError


class _Convolution(Module):
    """Base class of both convolutions; weights from U(-b, b), b = 1 / sqrt(fan-in)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair,
        dilation: int | Pair,
        groups: int,
    ) -> None:
        self.in_channels = count("in_channels", in_channels)
        self.out_channels = count("out_channels", out_channels)
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride, self.dilation = pair("stride", stride, 1), pair("dilation", dilation, 1)
        self.groups = count("groups", groups)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % groups:
                raise NetError(
                    f"`{name}` {getattr(self, name)} is not a multiple of groups {groups}"
                )

    def _draw(self, rows: int, cols: int, bias: bool) -> None:
        shape = (rows, cols, *self.kernel_size)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.weight = Parameter(init.uniform(shape, bound))
        self.bias = Parameter(init.uniform((self.out_channels,), bound)) if bias else None

    def input_shape(self, size: Pair | None, batch: int) -> tuple[int, ...]:
        """Return the shape of an image with the layer's input channels."""
        if size is None:
            raise NetError("the model takes images: give their `size` (rows, cols)")
        return (batch, self.in_channels, *pair("size", size, 1))


class Conv2d(_Convolution):
    """Convolution, as ``torch.nn.Conv2d``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (rows, cols)
    padding : int, (rows, cols), "same" or "valid"
        Zero padding on both sides; "same" keeps the size at stride 1.
    groups : int
        Number of channel groups; ``in_channels`` for a depthwise convolution.
    bias : bool

    Attributes
    ----------
    weight : (out_channels, in_channels / groups, rows, cols)
    bias : (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding = self._padding(padding)
        self._draw(out_channels, in_channels // groups, bias)

    def _padding(self, padding: Any) -> Pair:
        if padding == "valid":
            return 0, 0
        if padding != "same":
            return pair("padding", padding)
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        if self.stride != (1, 1) or any(n % 2 for n in reach):
            raise NetError("padding 'same' needs stride 1 and a kernel of odd size")
        return reach[0] // 2, reach[1] // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, H', W') for an input (N, C, H, W)."""
        return convolution.conv2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip


class ConvTranspose2d(_Convolution):
    """Transposed convolution, as ``torch.nn.ConvTranspose2d``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation : int or (rows, cols)
        Those of the convolution that it transposes.
    output_padding : int or (rows, cols)
        Extra rows at the bottom and columns on the right.
    groups : int
    bias : bool

    Attributes
    ----------
    weight : (in_channels, out_channels / groups, rows, cols)
    bias : (out_channels,) or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding = pair("padding", padding)
        self.output_padding = pair("output_padding", output_padding)
        self._draw(in_channels, out_channels // groups, bias)

    def input_shape(self, size: Pair | None, batch: int) -> tuple[int, ...]:
        """Return the image shape; a single pixel if no size is given, as for generators."""
        return super().input_shape(size or (1, 1), batch)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, H', W') for an input (N, C, H, W)."""
        return convolution.conv_transpose2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding,
            output_padding=self.output_padding, dilation=self.dilation, groups=self.groups,
        )  # fmt: skip
