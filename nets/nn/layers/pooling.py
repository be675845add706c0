"""Pooling, unpooling and upsampling layers."""

from __future__ import annotations

from typing import Any

from nets.arrays import Array
from nets.autograd.ops import pooling
from nets.autograd.tensor import Tensor
from nets.nn.layers.module import Module
from nets.nn.layers.pairs import Pair, pair
from vj.errors import NetError


class _Pool(Module):
    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair
    ) -> None:
        self.kernel_size = pair("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair("stride", stride, 1)
        self.padding = pair("padding", padding)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise NetError(
                f"`padding` {self.padding} must be at most half of the kernel {self.kernel_size}"
            )


class MaxPool2d(_Pool):
    """Maximum of each window, as ``torch.nn.MaxPool2d``.

    Parameters
    ----------
    kernel_size : int or (rows, cols)
    stride : int or (rows, cols), optional
        The kernel size by default.
    padding, dilation : int or (rows, cols)
    return_indices : bool
        If True, also return the index of each maximum, for `MaxUnpool2d`.
    ceil_mode : bool
        If True, windows that are partly outside count.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = pair("dilation", dilation, 1)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Tensor) -> Any:
        """Pool (N, C, H, W) to (N, C, H', W'), with the indices if requested."""
        pool = pooling.max_pool2d_with_switches if self.return_indices else pooling.max_pool2d
        return pool(
            x, kernel=self.kernel_size, stride=self.stride, padding=self.padding,
            dilation=self.dilation, ceil_mode=self.ceil_mode,
        )  # fmt: skip


class MaxUnpool2d(_Pool):
    """Place each value at its index, zeros elsewhere, as ``torch.nn.MaxUnpool2d``."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
    ) -> None:
        super().__init__(kernel_size, stride, padding)

    def forward(
        self, x: Tensor, indices: Array, output_size: tuple[int, ...] | None = None
    ) -> Tensor:
        """Unpool (N, C, H', W') to (N, C, H, W); ``output_size`` if pooling dropped a remainder."""
        size = tuple(
            (n - 1) * s - 2 * p + k
            for n, s, p, k in zip(
                x.shape[2:], self.stride, self.padding, self.kernel_size, strict=True
            )
        )
        if output_size is not None:
            size = tuple(output_size)[-2:]
        return pooling.max_unpool2d(x, switches=indices, size=size)


class AvgPool2d(_Pool):
    """Mean of each window, as ``torch.nn.AvgPool2d``.

    Parameters
    ----------
    kernel_size : int or (rows, cols)
    stride : int or (rows, cols), optional
        The kernel size by default.
    padding : int or (rows, cols)
    ceil_mode : bool
        If True, windows that are partly outside count.
    count_include_pad : bool
        If True, padding zeros count in the mean.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H', W') for an input (N, C, H, W)."""
        return pooling.avg_pool2d(
            x, kernel=self.kernel_size, stride=self.stride, padding=self.padding,
            ceil_mode=self.ceil_mode, count_include_pad=self.count_include_pad,
        )  # fmt: skip


class AdaptiveAvgPool2d(Module):
    """Mean pooling to a fixed output size, for any input size.

    Parameters
    ----------
    output_size : int or (rows, cols)
        None keeps the size of the input along that axis.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None:
        both = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        pair("output_size", [1 if n is None else n for n in both], 1)
        self.output_size = tuple(both)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, *output_size) for an input (N, C, H, W)."""
        size = tuple(
            n if want is None else want
            for want, n in zip(self.output_size, x.shape[2:], strict=True)
        )
        return pooling.adaptive_avg_pool2d(x, size=size)


class Upsample(Module):
    """Nearest-neighbour or bilinear upsampling, as ``torch.nn.Upsample``.

    Parameters
    ----------
    size : int or (rows, cols), optional
        Of the result; this or ``scale_factor``.
    scale_factor : float or (float, float), optional
        The result must be a whole number of pixels.
    mode : "nearest" or "bilinear"
    align_corners : bool
        If True, the corner pixels of both grids are aligned (bilinear).
    """

    def __init__(
        self,
        size: int | Pair | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        if (size is None) == (scale_factor is None):
            raise NetError("Upsample: give one of `size` and `scale_factor`")
        if mode not in ("nearest", "bilinear"):
            raise NetError(f"`mode` must be 'nearest' or 'bilinear', got {mode!r}")
        if mode == "nearest" and align_corners is not None:
            raise NetError("`align_corners` is for mode 'bilinear'")
        self.size = None if size is None else pair("size", size, 1)
        self.scale_factor, self.mode = scale_factor, mode
        self.align_corners = bool(align_corners)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H', W') for an input (N, C, H, W)."""
        size = self.size
        if size is None:
            size = self._scaled(x.shape[2], 0), self._scaled(x.shape[3], 1)
        if self.mode == "nearest":
            return pooling.upsample_nearest(x, size=size)
        return pooling.upsample_bilinear(x, size=size, align_corners=self.align_corners)

    def _scaled(self, pixels: int, axis: int) -> int:
        """Scale a size; fractional sizes are refused because libraries round them differently."""
        factor = self.scale_factor
        factor = factor[axis] if isinstance(factor, tuple) else factor
        size = pixels * float(factor or 0)
        if not size.is_integer():
            raise NetError(f"Upsample: {pixels} pixels times {factor} is not whole: give `size`")
        return int(size)
