"""Max pooling, average pooling and unpooling.

References: LeCun et al., Proc. IEEE 86, 1998; Zeiler & Fergus, Visualizing and understanding
convolutional networks, ECCV 2014 (switches and unpooling).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import nchw, nhwc
from nets.autograd.ops.resize import Pair, Taps, check_size, resample, taps
from nets.autograd.ops.resize import upsample_bilinear as upsample_bilinear
from nets.autograd.ops.resize import upsample_nearest as upsample_nearest
from nets.autograd.ops.windows import Windows, largest, to_largest
from nets.autograd.ops.windows import switches as switches_of
from nets.autograd.tensor import Grads, Needs, Tensor, Vjp, op
from vj.errors import NetError


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
    """Return the maximum of each window of images (N, C, H, W).

    The gradient of ties goes to the first (by rows); NaN propagates.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel, stride, padding, dilation : pairs of int
        Along rows and columns. Padding never is the maximum.
    ceil_mode : bool
        If True, a window may reach beyond the padding if it starts before its end.

    Raises
    ------
    NetError
        An option is out of range, or the windows do not fit the image.
    """
    how = Windows(kernel, stride, padding, dilation, ceil_mode)
    y, winners = largest(x, how, how.outputs("max_pool2d", x))
    shape = x.shape
    return y, lambda g, needs: (to_largest(g, winners, shape, how),)


def max_pool2d_with_switches(
    x: Tensor,
    *,
    kernel: Pair,
    stride: Pair,
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Tensor, Array]:
    """Max pooling that also returns the index of each maximum.

    Returns
    -------
    y : Tensor (N, C, h, w)
    switches : (N, C, h, w) int64
        Index of each maximum in its image, ``row * W + col``.
    """
    how = Windows(kernel, stride, padding, dilation, ceil_mode)
    y = max_pool2d(
        x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode
    )
    _, winners = largest(x.data, how, (y.shape[2], y.shape[3]))
    return y, switches_of(winners, how, (x.shape[2], x.shape[3]))


@op
def max_unpool2d(x: Array, *, switches: Array, size: Pair) -> tuple[Array, Vjp]:
    """Place each value at its index, with zeros elsewhere.

    Parameters
    ----------
    x : (N, C, h, w)
    switches : (N, C, h, w) int64
        As returned by `max_pool2d_with_switches`.
    size : (rows, cols)
        Size of the image that was pooled.

    Raises
    ------
    NetError
        The switches differ in shape from x, or point outside the image.
    """
    check_size("max_unpool2d", x, size)
    if switches.shape != x.shape:
        raise NetError(
            f"max_unpool2d: `switches` of shape {switches.shape} do not fit x of shape {x.shape}"
        )
    (n, c, *small), pixels = x.shape, size[0] * size[1]
    if switches.size and not 0 <= switches.min() <= switches.max() < pixels:
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
        return (nchw(found.reshape(n, *small, c)),)

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
    """Return the mean of each window of images (N, C, H, W).

    Parameters
    ----------
    x : (N, C, H, W)
    kernel, stride, padding : pairs of int
    ceil_mode : bool
        As for `max_pool2d`.
    count_include_pad : bool
        If True, padded zeros count; pixels beyond the padding never do.

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
    """Return the means of ``size`` (rows, cols) evenly spaced, possibly overlapping regions.

    Raises
    ------
    NetError
        x is not (N, C, H, W), or a size is not positive.
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
