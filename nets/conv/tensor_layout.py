"""Where tensors lie in the arena, and what a packed layer is."""

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
LANES = 8  # channels are stored in multiples of this


def padded(channels: int) -> int:
    """Channels as stored: the next multiple of `LANES`."""
    return -(-channels // LANES) * LANES


def aligned(size: int) -> F32:
    """``size`` zeros that start at a cache line, as vectors of 16 like them."""
    array = memory.aligned(size)
    array[:] = 0
    return array


class TensorLayout(NamedTuple):
    """Where a tensor lies in the arena: strides in floats, image 0 pixel (0, 0) at ``offset``."""

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
        """In a buffer that starts at ``offset``; ``halo`` is top, left, bottom, right."""
        top, left, bottom, right = halo
        pixel = padded(channels) if pixel is None else pixel
        row = (left + width + right) * pixel
        image = (top + height + bottom) * row
        start = offset + top * row + left * pixel
        return cls(start, row, pixel, image, height, width, channels, images)

    def every(self, rows: int, cols: int) -> TensorLayout:
        """The same pixels, ``rows`` and ``cols`` apart."""
        return self._replace(row=self.row * rows, pixel=self.pixel * cols)

    def moved(self, rows: int, cols: int) -> TensorLayout:
        """The same strides from another origin."""
        return self._replace(offset=self.offset + rows * self.row + cols * self.pixel)


class Phase(NamedTuple):
    """One ordinary convolution: outputs (y, x) + stride * n, from input pixels (dy, dx) + n."""

    y: int
    x: int
    taps: tuple[tuple[int, int], ...]  # (dy, dx), where the runs start; Winograd: the first
    last: tuple[int, int]  # the last tap
    run: int  # floats that a tap reads; Winograd: 0
    weight: int  # where its weights start


@dataclass(frozen=True)
class Packed:
    """Weights in the kernel's order and the geometry that does not depend on the image size."""

    weights: F32
    bias: F32  # padded to K floats, the slopes of a PReLU behind it
    outputs: int  # K, a multiple of 8
    slope: int  # where the slopes start, -1: none
    channels: tuple[int, ...] = (0,)  # first input channel of each 16 outputs
    phases: tuple[Phase, ...] = ()
    tile: int = 0  # outputs of a Winograd tile, 0 for direct convolution


def affine(outputs: int, bias: F32 | None, slope: F32 | None) -> tuple[F32, int, int]:
    """Bias padded with zeros, PReLU slopes behind it; K; where the slopes start."""
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
    """The ``shape`` of a kernel: the parameters that all of them share, and those that follow."""
    shape = np.zeros(layout.SHARED + len(extra), np.int64)
    shape[[conv.X, conv.X_ROW, conv.X_PIXEL, conv.X_IMAGE]] = x[:4]
    shape[[conv.Y, conv.Y_ROW, conv.Y_PIXEL, conv.Y_IMAGE]] = y[:4]
    shape[[conv.R, conv.R_ROW, conv.R_PIXEL, conv.R_IMAGE]] = residual[:4] if residual else -1
    shape[[conv.ROWS, conv.COLS, conv.K, conv.SLOPE]] = rows, cols, k, slope
    shape[layout.SHARED :] = extra
    return shape
