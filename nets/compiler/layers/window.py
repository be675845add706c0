"""Pooling and resizing: tables say which input pixels make an output pixel."""

from __future__ import annotations

import numpy as np

from nets.compiler.layers.base import Image, Layer, Places, Step
from nets.conv.tensor_layout import F32, geometry, padded
from nets.kernels import pooling as pool_kernels
from nets.kernels import resize as resize_kernels


class Axis:
    """The windows along one axis: first tap inside the input, taps inside, divisor, taps lost."""

    def __init__(
        self, size: int, out: int, kernel: int, stride: int, dilation: int, before: int, after: int
    ) -> None:
        starts = np.arange(out) * stride - before
        self.lost = np.maximum(0, -(starts // dilation))
        self.start = starts + self.lost * dilation
        reached = np.minimum(kernel - 1, (size - 1 - starts) // dilation)
        self.count = reached - self.lost + 1
        self.padded = np.minimum(kernel - 1, (size + after - 1 - starts) // dilation) + 1
        self.dilation = dilation

    @classmethod
    def adaptive(cls, size: int, out: int) -> Axis:
        """``out`` windows that cover the axis evenly, as PyTorch's adaptive pooling has them."""
        axis = cls(size, out, size, 1, 1, 0, size)
        axis.start = np.arange(out) * size // out
        axis.count = -(-(np.arange(out) + 1) * size // out) - axis.start
        axis.padded, axis.lost = axis.count, np.zeros(out, int)
        return axis


class Pool(Layer):
    """Largest or mean number of each window."""

    kind = "pool"

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        x: Image,
        y: Image,
        axes: tuple[Axis, Axis],
        *,
        mean: bool,
        include_pad: bool = False,
        switches: str = "",
        window: int = 0,
    ) -> None:
        super().__init__(name, [source], output)
        self.switches, self.window = switches, window
        self.x, self.y, self.axes, self.mean, self.include_pad = x, y, axes, mean, include_pad

    @property
    def outputs(self) -> list[str]:
        return [self.output, self.switches] if self.switches else [self.output]

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        r = place(self.switches).slot if self.switches else None
        assert [len(axis.start) for axis in self.axes] == [*self.y[2:]]
        tables = []
        for axis, stride in zip(self.axes, (x.row, x.pixel), strict=True):
            share = axis.padded if self.include_pad else axis.count
            entries = np.stack([axis.start * stride, axis.count, share, axis.lost], 1)
            tables += entries.ravel().tolist()
        down, across = (
            axis.dilation * stride for axis, stride in zip(self.axes, (x.row, x.pixel), strict=True)
        )
        extra = [int(self.mean), down, across, self.window, *tables]
        shape = geometry(
            x, y, self.y.height, self.y.width, padded(self.y.channels), extra, residual=r
        )
        return [Step(pool_kernels.pool, shape, self.y.images * self.y.height)]


class Unpool(Layer):
    """Numbers back to where a pooling found them, by its switches."""

    kind = "unpool"

    def __init__(
        self,
        name: str,
        source: str,
        switches: str,
        output: str,
        y: Image,
        axes: tuple[Axis, Axis],
        window: int,
    ) -> None:
        super().__init__(name, [source, switches], output)
        self.y, self.axes, self.window = y, axes, window

    def steps(self, place: Places) -> list[Step]:
        x, r = (place(name).slot for name in self.inputs)
        y = place(self.output).slot
        tables: list[int] = []
        for axis in self.axes:
            first = axis.start - axis.lost * axis.dilation
            tables += np.stack([first, axis.count, axis.count, axis.lost], 1).ravel().tolist()
        extra = [self.y.height, self.window, 0, self.y.width, *tables]
        shape = geometry(x, y, x.height, x.width, padded(x.channels), extra, residual=r)
        return [Step(pool_kernels.unpool, shape, self.y.images)]


class Resize(Layer):
    """Nearest or bilinear interpolation; another array may be added on the way."""

    kind = "resize"

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        y: Image,
        index: tuple[np.ndarray, np.ndarray],
        weights: F32 | None,
    ) -> None:
        super().__init__(name, [source], output)
        self.y, self.index, self.weights = y, index, weights
        self.residual: str | None = None

    def add(self, name: str) -> None:
        """Add another array to the result."""
        self.residual = name
        self.inputs.append(name)

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        r = place(self.residual).slot if self.residual else None
        assert [len(i) for i in self.index] == [*self.y[2:]]
        tables = [*(self.index[0] * x.row).ravel(), *(self.index[1] * x.pixel).ravel()]
        shape = geometry(
            x, y, self.y.height, self.y.width, padded(self.y.channels), tables, residual=r
        )
        rows = self.y.images * self.y.height
        if self.weights is None:
            return [Step(resize_kernels.resize_nearest, shape, rows, lo=self.lo, hi=self.hi)]
        kernel = resize_kernels.resize_linear
        return [Step(kernel, shape, rows, self.weights, lo=self.lo, hi=self.hi)]
