"""Pooling windows: their geometry, the maximum of each and its gradient."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nets.arrays import Array
from nets.autograd.ops.base import flat, nchw, nhwc
from nets.autograd.ops.resize import Pair, check_size, taps
from nets.kernels import pooling_training as kernels
from nets.runtime.memory import empty
from nets.runtime.threads import SMALL, share_kernel
from vj.errors import NetError


class Windows(NamedTuple):
    """Geometry of sliding windows; pairs are (rows, cols)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool

    def outputs(self, name: str, x: Array) -> Pair:
        """Validate the geometry and return the number of windows (rows, cols)."""
        check_size(name, x, (1, 1))
        for option in ("kernel", "stride", "padding", "dilation"):
            pair, least = getattr(self, option), 0 if option == "padding" else 1
            if len(pair) != 2 or min(pair) < least:
                raise NetError(
                    f"{name}: `{option}` must be two integers (rows, cols) of at least {least}, "
                    f"got {pair}"
                )
        rows, cols = (self._along(name, axis, x.shape[2 + axis]) for axis in (0, 1))
        return rows, cols

    def _along(self, name: str, axis: int, size: int) -> int:
        k, s, p, d = (pair[axis] for pair in self[:4])
        reach = d * (k - 1) + 1
        if 2 * p > reach:
            raise NetError(
                f"{name}: `padding` must be at most half of the window, got {p} for a window over "
                f"{reach} pixels"
            )
        free = size + 2 * p - reach
        if free < 0:
            raise NetError(
                f"{name}: an image of {size} pixels with padding {p} is smaller than the window, "
                f"which spans {reach}"
            )
        count = (free + (s - 1) * self.ceil_mode) // s + 1
        # A window added by ceil_mode must start inside the image or its leading padding.
        return count - 1 if self.ceil_mode and (count - 1) * s >= size + p else count


def largest(x: Array, how: Windows, size: Pair) -> tuple[Array, Array]:
    """Return the maxima (N, C, h, w), and the tap of each in its window (N, h, w, C).

    Taps are numbered row by row. Ties go to the first tap, NaN propagates.
    """
    if x.dtype != np.float32 or how.kernel[0] * how.kernel[1] > 1 << 16:
        return _any_largest(x, how, size)
    image = nhwc(x)
    y = empty(len(x), *size, x.shape[1])
    winners = np.empty(y.shape, np.uint16)
    given = image.reshape(-1), _geometry(x.shape, how, size), y.reshape(-1), winners.reshape(-1)
    rows, small = len(x) * size[0], image.size < SMALL
    share_kernel(kernels.max_pool, given, rows, small=small)
    return nchw(y), winners


def to_largest(g: Array, winners: Array, shape: tuple[int, ...], how: Windows) -> Array:
    """Return the gradient of images of ``shape`` from that of their maxima."""
    n, c, rows, cols = shape
    if winners.dtype != np.uint16:
        image = np.arange(n)[:, None, None, None] * (rows * cols)
        gx = np.zeros((n * rows * cols, c), g.dtype)
        where = nhwc(switches(winners, how, (rows, cols))) + image
        np.add.at(gx, (where, np.arange(c)), nhwc(g))
        return nchw(gx.reshape(n, rows, cols, c))
    gx = empty(n, rows, cols, c)
    size = (g.shape[2], g.shape[3])
    tables = [_covering(shape[2 + a], size[a], *(p[a] for p in how[:4])) for a in (0, 1)]
    given = flat(g), winners.reshape(-1), _geometry(shape, how, size), *tables, gx.reshape(-1)
    share_kernel(kernels.max_pool_grad, given, n * rows, small=gx.size < SMALL)
    return nchw(gx)


def switches(winners: Array, how: Windows, image: Pair) -> Array:
    """Return the flat index ``row * cols + col`` of each maximum in its image."""
    _, high, wide, _ = winners.shape
    tap = winners.astype(np.int64)
    i = np.arange(high)[:, None, None] * how.stride[0] - how.padding[0]
    j = np.arange(wide)[:, None] * how.stride[1] - how.padding[1]
    i = i + tap // how.kernel[1] * how.dilation[0]
    j = j + tap % how.kernel[1] * how.dilation[1]
    return nchw(np.clip(i, 0, image[0] - 1) * image[1] + np.clip(j, 0, image[1] - 1))


def _geometry(shape: tuple[int, ...], how: Windows, size: Pair) -> Array:
    """Return the geometry array of `nets.kernels.pooling_training`."""
    pairs = how.kernel, how.stride, how.padding, how.dilation
    return np.array([*shape[2:], shape[1], *size, *(n for pair in pairs for n in pair)])


@lru_cache(256)
def _covering(inputs: int, outputs: int, k: int, s: int, p: int, d: int) -> Array:
    """Return the windows that cover each row (column), and its tap in each, for the kernel."""
    window, tap = np.divmod(np.arange(outputs * k), k)
    place = window * s - p + tap * d
    inside = (place >= 0) & (place < inputs)
    found = taps(place[inside], window[inside], tap[inside], inputs, outputs)
    return np.concatenate([found.table, found.weight.astype(np.int64)])


def _any_largest(x: Array, how: Windows, size: Pair) -> tuple[Array, Array]:
    """Return the same as `largest`, for any precision and window."""
    (top, left), (dy, dx) = how.padding, how.dilation
    reach = [d * (k - 1) + 1 for k, d in zip(how.kernel, how.dilation, strict=True)]
    down, right = (
        max(0, s * (n - 1) + r - have - p)
        for s, n, r, have, p in zip(how.stride, size, reach, x.shape[2:], how.padding, strict=True)
    )
    pads = ((0, 0), (top, down), (left, right), (0, 0))
    padded = np.pad(nhwc(x), pads, constant_values=-np.inf)
    seen = sliding_window_view(padded, reach, axis=(1, 2))
    seen = seen[:, :: how.stride[0], :: how.stride[1], :, ::dy, ::dx][:, : size[0], : size[1]]
    each = seen.reshape(*seen.shape[:4], -1)
    tap = np.argmax(each, -1)
    return nchw(np.take_along_axis(each, tap[..., None], -1)[..., 0]), tap
