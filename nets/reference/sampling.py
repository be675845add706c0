"""Pooling, unpooling and upsampling."""

from __future__ import annotations

import math

import numpy as np

from nets.reference.arrays import Array, Pair


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0)
) -> tuple[Array, Array]:
    """Return the maximum of each window and its index, the tap ``u * kw + v``.

    Ties go to the first tap. Indices ("switches"): Zeiler & Fergus, Visualizing and understanding
    convolutional networks, ECCV 2014.
    """
    step = stride or kernel
    count, channels, high, wide = x.shape
    rows = (high + 2 * padding[0] - kernel[0]) // step[0] + 1
    cols = (wide + 2 * padding[1] - kernel[1]) // step[1] + 1
    best = np.full((count, channels, rows, cols), -np.inf)
    switches = np.zeros(best.shape, np.int64)
    for n, c, i, j in np.ndindex(best.shape):
        for u, v in np.ndindex(*kernel):
            y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
            if 0 <= y < high and 0 <= z < wide and x[n, c, y, z] > best[n, c, i, j]:
                best[n, c, i, j], switches[n, c, i, j] = x[n, c, y, z], u * kernel[1] + v
    return best, switches


def max_unpool2d(
    x: Array, switches: Array, size: Pair, kernel: Pair, stride: Pair | None = None,
    padding: Pair = (0, 0),
) -> Array:  # fmt: skip
    """Place each value at its index, 0 elsewhere; ``size`` is that of the output."""
    step = stride or kernel
    out = np.zeros((*x.shape[:2], *size))
    for n, c, i, j in np.ndindex(x.shape):
        u, v = divmod(int(switches[n, c, i, j]), kernel[1])
        y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
        out[n, c, y, z] = x[n, c, i, j]
    return out


def avg_pool2d(
    x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0), *,
    include_pad: bool = True,
) -> Array:  # fmt: skip
    """Return the mean of each window, over its pixels or over all its taps."""
    step = stride or kernel
    count, channels, high, wide = x.shape
    rows = (high + 2 * padding[0] - kernel[0]) // step[0] + 1
    cols = (wide + 2 * padding[1] - kernel[1]) // step[1] + 1
    out = np.zeros((count, channels, rows, cols))
    for n, c, i, j in np.ndindex(out.shape):
        total, taps = 0.0, 0
        for u, v in np.ndindex(*kernel):
            y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
            if 0 <= y < high and 0 <= z < wide:
                total, taps = total + float(x[n, c, y, z]), taps + 1
        out[n, c, i, j] = total / (kernel[0] * kernel[1] if include_pad else taps)
    return out


def adaptive_avg_pool2d(x: Array, size: Pair) -> Array:
    """Return the means of ``size`` evenly spaced windows; (1, 1) is global pooling."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, *size))
    for n, c, i, j in np.ndindex(out.shape):
        top, bottom = i * high // size[0], -(-(i + 1) * high // size[0])
        left, right = j * wide // size[1], -(-(j + 1) * wide // size[1])
        out[n, c, i, j] = np.mean(x[n, c, top:bottom, left:right], dtype=float)
    return out


# --------------------------------------------------------------------------- upsampling


def upsample_nearest(x: Array, factor: int) -> Array:
    """Repeat every pixel as a block."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, high * factor, wide * factor))
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[n, c, i // factor, j // factor]
    return out


def upsample_bilinear(x: Array, factor: int) -> Array:
    """Interpolate linearly between pixel centres along both axes; the border is repeated."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, high * factor, wide * factor))
    for n, c, i, j in np.ndindex(out.shape):
        y, z = (i + 0.5) / factor - 0.5, (j + 0.5) / factor - 0.5
        top, left = math.floor(y), math.floor(z)
        for u, v in np.ndindex(2, 2):
            share = (1 - abs(y - top - u)) * (1 - abs(z - left - v))
            row, col = min(max(top + u, 0), high - 1), min(max(left + v, 0), wide - 1)
            out[n, c, i, j] += share * float(x[n, c, row, col])
    return out


def bilinear_kernel(factor: int) -> Array:
    """Return transposed-convolution weights for bilinear interpolation by ``factor``.

    With padding ``factor // 2`` (even factors) it equals `upsample_bilinear` away from the border,
    where zeros are read instead of repeated pixels. Long, Shelhamer & Darrell, CVPR 2015, 3.3.
    """
    size = 2 * factor - factor % 2
    centre = factor - 1 if size % 2 else factor - 0.5
    ramp = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(ramp, ramp)
