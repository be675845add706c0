"""Average pooling and interpolation as separable weighted sums.

Average pooling, adaptive pooling, nearest and bilinear interpolation differ only in two tables:
which rows (columns) an output row (column) reads, and with what weights. The gradient of each is
the same computation with transposed tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import nchw, nhwc
from nets.autograd.tensor import Grads, Needs, Vjp, op
from nets.kernels import pooling_training
from nets.runtime.memory import empty
from nets.runtime.threads import SMALL, Caller, share
from vj.errors import NetError

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Taps:
    """Taps of the outputs along one axis: ``weight[t]`` times input ``source[t]``.

    The taps of output i are those from ``start[i]`` to ``start[i + 1]``.
    """

    start: Array  # (outputs + 1,) int64
    source: Array  # (taps,) int64
    weight: Array  # (taps,) float32
    inputs: int

    @cached_property
    def table(self) -> Array:
        """Starts and sources in one array, as the kernels read them."""
        return np.concatenate([self.start, self.source])

    @cached_property
    def transposed(self) -> Taps:
        """The transposed taps, for the gradient: which outputs read an input."""
        target = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        return taps(self.source, target, self.weight, self.inputs, len(self.start) - 1)

    def matrix(self) -> Array:
        """The taps as a matrix (outputs, inputs)."""
        matrix = np.zeros((len(self.start) - 1, self.inputs))
        target = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        np.add.at(matrix, (target, self.source), self.weight)
        return matrix


def taps(target: Array, source: Array, weight: Array, outputs: int, inputs: int) -> Taps:
    """Sort taps by output."""
    order = np.argsort(target, kind="stable")
    counts = np.bincount(target, minlength=outputs)
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Taps(start, source[order].astype(np.int64), weight[order].astype(np.float32), inputs)


def resample(x: Array, rows: Taps, cols: Taps) -> tuple[Array, Vjp]:
    """Return the weighted sums of an image (N, C, H, W), and their vjp."""

    def vjp(g: Array, needs: Needs) -> Grads:
        return (_weigh(g, rows.transposed, cols.transposed),)

    return _weigh(x, rows, cols), vjp


def _weigh(x: Array, rows: Taps, cols: Taps) -> Array:
    image = nhwc(x)
    n, high, wide, channels = len(x), len(rows.start) - 1, len(cols.start) - 1, x.shape[1]
    if x.dtype != np.float32:
        y = np.einsum("ia,nabc,jb->nijc", rows.matrix(), image, cols.matrix(), optimize=True)
        return nchw(np.ascontiguousarray(y, x.dtype))
    y = empty(n, high, wide, channels)
    how = np.array([*image.shape[1:], high, wide])
    given = image.reshape(-1), how, rows.table, cols.table, rows.weight, cols.weight, y.reshape(-1)

    def band(call: Caller, first: int, last: int) -> None:
        line = call.scratch("line", image.shape[2] * channels + 8)
        call(pooling_training.resample, *given, line, first, last)

    share(n * high, band, small=image.size + y.size < SMALL)
    return nchw(y)


@op
def upsample_nearest(x: Array, *, size: Pair) -> tuple[Array, Vjp]:
    """Resize images (N, C, H, W) to ``size`` (rows, cols) by nearest-neighbour interpolation.

    Raises
    ------
    NetError
        x is not (N, C, H, W), or a size is not positive.
    """
    check_size("upsample_nearest", x, size)
    return resample(x, _nearest(x.shape[2], size[0]), _nearest(x.shape[3], size[1]))


@op
def upsample_bilinear(x: Array, *, size: Pair, align_corners: bool = False) -> tuple[Array, Vjp]:
    """Resize images (N, C, H, W) to ``size`` (rows, cols) by bilinear interpolation.

    Parameters
    ----------
    x : (N, C, H, W)
    size : (rows, cols)
    align_corners : bool
        If True, the centres of the corner pixels are aligned, otherwise their outer edges.

    Raises
    ------
    NetError
        x is not (N, C, H, W), or a size is not positive.
    """
    check_size("upsample_bilinear", x, size)
    rows = _linear(x.shape[2], size[0], align_corners)
    return resample(x, rows, _linear(x.shape[3], size[1], align_corners))


def check_size(name: str, x: Array, size: Pair) -> None:
    """Raise if x is not (N, C, H, W) or a size is 0."""
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise NetError(f"{name}: x must have shape (N, C, H, W), none of them 0, got {x.shape}")
    if len(size) != 2 or min(size) < 1:
        raise NetError(f"{name}: `size` must be two positive integers (rows, cols), got {size}")


@lru_cache(256)
def _nearest(inputs: int, outputs: int) -> Taps:
    scale = np.float32(inputs) / np.float32(outputs)
    target = np.arange(outputs)
    source = np.minimum(np.floor(target.astype(np.float32) * scale), inputs - 1).astype(np.int64)
    return taps(target, source, np.ones(outputs), outputs, inputs)


@lru_cache(256)
def _linear(inputs: int, outputs: int, align_corners: bool) -> Taps:
    target = np.arange(outputs, dtype=np.float32)
    if align_corners:
        at = target * np.float32((inputs - 1) / (outputs - 1) if outputs > 1 else 0)
    else:
        scale = np.float32(inputs) / np.float32(outputs)
        at = np.maximum((target + np.float32(0.5)) * scale - np.float32(0.5), 0)
    first = np.minimum(at.astype(np.int64), inputs - 1)
    second = np.minimum(first + 1, inputs - 1)
    share = np.clip(at - first, 0, 1)
    both = np.concatenate([np.arange(outputs)] * 2)
    return taps(
        both, np.concatenate([first, second]), np.concatenate([1 - share, share]), outputs, inputs
    )
