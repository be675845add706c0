"""Pooling: the largest or the mean number of each window, and the way back to where it stood.

References: LeCun et al., Proc. IEEE 86, 1998; Zeiler & Fergus, Visualizing and understanding
convolutional networks, ECCV 2014 (switches and unpooling).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nets.graph.ir import Array
from nets.kernels import windows
from nets.ops.base import flat, nchw, nhwc
from nets.ops.memory import empty
from nets.ops.resize import (
    SMALL,
    Pair,
    Taps,
    check_size,
    resample,
    taps,
)
from nets.ops.resize import upsample_bilinear as upsample_bilinear
from nets.ops.resize import upsample_nearest as upsample_nearest
from nets.ops.threads import share
from nets.tensor import Grads, Needs, Tensor, Vjp, op
from vj.errors import NetError


class Windows(NamedTuple):
    """How windows walk over an image; pairs are (rows, cols)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool

    def outputs(self, name: str, x: Array) -> Pair:
        """How many windows there are, after a check of everything."""
        check_size(name, x, (1, 1))
        for option in ("kernel", "stride", "padding", "dilation"):
            pair, least = getattr(self, option), 0 if option == "padding" else 1
            if len(pair) != 2 or min(pair) < least:
                raise NetError(
                    f"{name}: `{option}` must be two numbers (rows, cols) of at least {least}, "
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
        # A window that ceil_mode adds must not begin behind the image and its first pad.
        return count - 1 if self.ceil_mode and (count - 1) * s >= size + p else count


@op
def max_pool2d(
    x: Array,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, Vjp]:
    """Largest number of each window of images (N, C, H, W).

    The first of equal numbers (by rows) gets the gradient; NaN is larger than any number.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel, stride, padding, dilation : pairs of int
        Along rows and columns. What is padded never wins.
    ceil_mode : bool
        Whether a window may reach beyond the padding if it begins before its end.

    Raises
    ------
    NetError
        An option is out of range, or the windows do not fit the image.
    """
    how = Windows(kernel, stride, padding, dilation, ceil_mode)
    size = how.outputs("max_pool2d", x)
    if x.dtype != np.float32 or kernel[0] * kernel[1] > 1 << 16:
        y, switches = _largest(x, how, size)
        return y, lambda g, needs: (_to_winners(g, switches, x.shape),)
    y, taps, geometry = _pool(x, how, size)
    return y, lambda g, needs: (_pool_grad(g, taps, geometry, how, x.shape),)


def max_pool2d_with_switches(
    x: Tensor,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Tensor, Array]:
    """As `max_pool2d`, and the switches.

    Returns
    -------
    y : Tensor (N, C, h, w)
    switches : (N, C, h, w) int64
        Where each of them stood in its image, as ``row * W + col``.
    """
    how = Windows(kernel, stride, padding, dilation, ceil_mode)
    y = max_pool2d(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    _, switches = _largest(x.data, how, (y.shape[2], y.shape[3]))
    return y, switches


def _pool(x: Array, how: Windows, size: Pair) -> tuple[Array, Array, Array]:
    """Winners, which tap of its window each was, and the geometry, by the kernel."""
    image = nhwc(x)
    y = empty(len(x), *size, x.shape[1])
    taps = np.empty(y.size, np.uint16)
    pairs = how.kernel, how.stride, how.padding, how.dilation
    geometry = np.array([*image.shape[1:], *size, *(n for pair in pairs for n in pair)])
    given = image.reshape(-1), geometry, y.reshape(-1), taps
    share(
        len(x) * size[0],
        lambda i, j: windows.max_pool(*given, i, j),
        small=image.size < SMALL,
    )
    return nchw(y), taps, geometry


def _pool_grad(
    g: Array, taps: Array, geometry: Array, how: Windows, shape: tuple[int, ...]
) -> Array:
    n, c, rows, cols = shape
    tables = [_holders(shape[2 + a], g.shape[2 + a], *(p[a] for p in how[:4])) for a in (0, 1)]
    gx = empty(n, rows, cols, c)
    given = flat(g), taps, geometry, *tables, gx.reshape(-1)
    share(n * rows, lambda i, j: windows.max_pool_grad(*given, i, j), small=gx.size < SMALL)
    return nchw(gx)


@lru_cache(256)
def _holders(inputs: int, outputs: int, k: int, s: int, p: int, d: int) -> Array:
    """The windows that hold each row (column), and its tap in each, for the kernel."""
    window, tap = np.divmod(np.arange(outputs * k), k)
    place = window * s - p + tap * d
    inside = (place >= 0) & (place < inputs)
    found = taps(place[inside], window[inside], tap[inside], inputs, outputs)
    return np.concatenate([found.table, found.weight.astype(np.int64)])


def _largest(x: Array, how: Windows, size: Pair) -> tuple[Array, Array]:
    """Winners, and the places in their images where they stood."""
    (rows, cols), (top, left), (dy, dx) = x.shape[2:], how.padding, how.dilation
    wide = [
        (s * (n - 1) + d * (k - 1) + 1 - have - p)
        for n, k, s, p, d, have in zip(size, *how[:4], (rows, cols), strict=True)
    ]
    pads = ((0, 0), (top, max(wide[0], 0)), (left, max(wide[1], 0)), (0, 0))
    padded = np.pad(nhwc(x), pads, constant_values=-np.inf)
    reach = [d * (k - 1) + 1 for k, d in zip(how.kernel, how.dilation, strict=True)]
    seen = sliding_window_view(padded, reach, axis=(1, 2))
    seen = seen[:, :: how.stride[0], :: how.stride[1], :, ::dy, ::dx][:, : size[0], : size[1]]
    flat = seen.reshape(*seen.shape[:4], -1)
    tap = np.argmax(flat, -1)
    i = np.arange(size[0])[:, None, None] * how.stride[0] - top + tap // how.kernel[1] * dy
    j = np.arange(size[1])[:, None] * how.stride[1] - left + tap % how.kernel[1] * dx
    switches = np.clip(i, 0, rows - 1) * cols + np.clip(j, 0, cols - 1)
    return nchw(np.take_along_axis(flat, tap[..., None], -1)[..., 0]), nchw(switches)


def _to_winners(g: Array, switches: Array, shape: tuple[int, ...]) -> Array:
    n, c, rows, cols = shape
    image = np.arange(n)[:, None, None, None] * (rows * cols)
    gx = np.zeros((n * rows * cols, c), g.dtype)
    np.add.at(gx, (nhwc(switches) + image, np.arange(c)), nhwc(g))
    return nchw(gx.reshape(n, rows, cols, c))


@op
def max_unpool2d(x: Array, *, switches: Array, size: Pair) -> tuple[Array, Vjp]:
    """Put each number back where its switch says, with zeros elsewhere.

    Parameters
    ----------
    x : (N, C, h, w)
    switches : (N, C, h, w) int64
        As `max_pool2d_with_switches` gives them.
    size : (rows, cols)
        Of the image that was pooled.

    Raises
    ------
    NetError
        The switches have another shape than x, or point out of the image.
    """
    check_size("max_unpool2d", x, size)
    if switches.shape != x.shape:
        raise NetError(
            f"max_unpool2d: `switches` of shape {switches.shape} do not fit x of shape {x.shape}"
        )
    (n, c), pixels = x.shape[:2], size[0] * size[1]
    if switches.min() < 0 or switches.max() >= pixels:
        raise NetError(
            f"max_unpool2d: `switches` from {switches.min()} to {switches.max()} do not fit an "
            f"image of {size[0]}x{size[1]} pixels"
        )
    where = nhwc(switches).reshape(n, -1, c)
    y = np.zeros((n, pixels, c), x.dtype)
    np.put_along_axis(y, where, nhwc(x).reshape(where.shape), 1)

    def vjp(g: Array, needs: Needs) -> Grads:
        flat = nhwc(g).reshape(n, pixels, c)
        found = np.take_along_axis(flat, where, 1)
        return (nchw(found.reshape(nhwc(x).shape)),)

    return nchw(y.reshape(n, *size, c)), vjp


@op
def avg_pool2d(
    x: Array,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, Vjp]:
    """Mean of each window of images (N, C, H, W).

    Parameters
    ----------
    x : (N, C, H, W)
    kernel, stride, padding : pairs of int
    ceil_mode : bool
        As for `max_pool2d`.
    count_include_pad : bool
        Whether padded zeros count; what lies beyond the padding never does.

    Raises
    ------
    NetError
        An option is out of range, or the windows do not fit the image.
    """
    how = Windows(kernel, stride, padding, (1, 1), ceil_mode)
    size = how.outputs("avg_pool2d", x)
    rows, cols = (
        _mean_taps(x.shape[2 + a], size[a], kernel[a], stride[a], padding[a], count_include_pad)
        for a in (0, 1)
    )
    return resample(x, rows, cols)


@op
def adaptive_avg_pool2d(x: Array, *, size: Pair) -> tuple[Array, Vjp]:
    """Means of ``size`` (rows, cols) regions that cover the image and overlap where they must.

    Raises
    ------
    NetError
        x is no stack of images, or a size is not positive.
    """
    check_size("adaptive_avg_pool2d", x, size)
    rows, cols = (_adaptive_taps(x.shape[2 + axis], size[axis]) for axis in (0, 1))
    return resample(x, rows, cols)


@lru_cache(256)
def _mean_taps(inputs: int, outputs: int, k: int, s: int, p: int, with_pad: bool) -> Taps:
    begin = np.arange(outputs) * s - p
    end = np.minimum(begin + k, inputs + p)
    first, last = np.maximum(begin, 0), np.minimum(end, inputs)
    return _means(first, last, end - begin if with_pad else last - first, inputs)


@lru_cache(256)
def _adaptive_taps(inputs: int, outputs: int) -> Taps:
    i = np.arange(outputs)
    first, last = i * inputs // outputs, -((-i - 1) * inputs // outputs)
    return _means(first, last, last - first, inputs)


def _means(first: Array, last: Array, divisor: Array, inputs: int) -> Taps:
    count = np.maximum(last - first, 0)
    target = np.repeat(np.arange(len(first)), count)
    source = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[target]
    return taps(target, source, (1 / divisor)[target], len(first), inputs)
