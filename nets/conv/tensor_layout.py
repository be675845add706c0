"""Tensor layouts in the arena, and packed layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.kernels import conv, layout
from nets.runtime import memory

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
LANES = 8  # stored channels are a multiple of this


def padded(channels: int) -> int:
    """Round channels up to the next multiple of `LANES`, as stored."""
    return -(-channels // LANES) * LANES


def aligned(size: int) -> F32:
    """Return ``size`` zeros aligned to a cache line, for vectors of 16 floats."""
    array = memory.aligned(size)
    array[:] = 0
    return array


class TensorLayout(NamedTuple):
    """Layout of a tensor in the arena: strides in floats, image 0 pixel (0, 0) at ``offset``."""

    offset: int
    row: int
    pixel: int
    image: int
    height: int
    width: int
    channels: int
    images: int = 1

    @classmethod
    def packed(
        cls,
        offset: int,
        height: int,
        width: int,
        channels: int,
        *,
        images: int = 1,
        halo: tuple[int, int, int, int] = (0, 0, 0, 0),
        pixel: int | None = None,
    ) -> TensorLayout:
        """Return the layout in a buffer at ``offset``; ``halo`` is top, left, bottom, right."""
        top, left, bottom, right = halo
        pixel = padded(channels) if pixel is None else pixel
        row = (left + width + right) * pixel
        image = (top + height + bottom) * row
        start = offset + top * row + left * pixel
        return cls(start, row, pixel, image, height, width, channels, images)

    def every(self, rows: int, cols: int) -> TensorLayout:
        """Return the layout of every ``rows``-th row and ``cols``-th column."""
        return self._replace(row=self.row * rows, pixel=self.pixel * cols)

    def moved(self, rows: int, cols: int) -> TensorLayout:
        """Return a layout of equal strides from another origin."""
        return self._replace(offset=self.offset + rows * self.row + cols * self.pixel)


class Phase(NamedTuple):
    """One plain convolution: outputs (y, x) + stride * n, from input pixels (dy, dx) + n."""

    y: int
    x: int
    taps: tuple[tuple[int, int], ...]  # (dy, dx), start of each run; Winograd: the first tap
    last: tuple[int, int]  # the last tap
    run: int  # floats that a tap reads; Winograd: 0
    weight: int  # offset of its weights


@dataclass(frozen=True)
class Packed:
    """Weights in kernel order, and the geometry independent of the image size."""

    weights: F32
    bias: F32  # padded to K floats, followed by the slopes of a PReLU
    outputs: int  # K, a multiple of 8
    slope: int  # offset of the slopes, -1 if there are none
    channels: tuple[int, ...] = (0,)  # first input channel of each 16 outputs
    phases: tuple[Phase, ...] = ()
    tile: int = 0  # outputs of a Winograd tile, 0 for direct convolution


def affine(outputs: int, bias: F32 | None, slope: F32 | None) -> tuple[F32, int, int]:
    """Return the zero-padded bias followed by PReLU slopes; K; the offset of the slopes."""
    stored = padded(outputs)
    flat = aligned(2 * stored)
    if bias is not None:
        flat[:outputs] = bias
    if slope is None:
        return flat[:stored], stored, -1
    flat[stored : stored + outputs] = slope
    return flat, stored, stored


def geometry(
    x: TensorLayout,
    y: TensorLayout,
    rows: int,
    cols: int,
    k: int,
    extra: Sequence[int] = (),
    *,
    residual: TensorLayout | None = None,
    slope: int = -1,
) -> I64:
    """Return the ``shape`` array of a kernel: the common parameters, then its own."""
    shape = np.zeros(layout.SHARED + len(extra), np.int64)
    shape[[conv.X, conv.X_ROW, conv.X_PIXEL, conv.X_IMAGE]] = x[:4]
    shape[[conv.Y, conv.Y_ROW, conv.Y_PIXEL, conv.Y_IMAGE]] = y[:4]
    shape[[conv.R, conv.R_ROW, conv.R_PIXEL, conv.R_IMAGE]] = residual[:4] if residual else -1
    shape[[conv.ROWS, conv.COLS, conv.K, conv.SLOPE]] = rows, cols, k, slope
    shape[layout.SHARED :] = extra
    return shape
