"""Softmax over the channels of each pixel: eight pixels at a time where channels are few."""

from numba import float32

from nets.kernels.conv import (
    COLS,
    LAYER,
    ROWS,
    X_IMAGE,
    X_PIXEL,
    X_ROW,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    X,
    Y,
)
from nets.kernels.pointwise import vexp
from vj.kernels.jit import device, kernel
from vj.kernels.simd import lane, lane_sum, load8, splat8, store, vmax


@device
def few_channels(arena, x, y, x_pixel, y_pixel, channels, pixels, scratch):
    """Softmax of up to eight pixels side by side, a vector for each channel."""
    top = splat8(float32(-float("inf")))
    for c in range(channels):
        for n in range(8):
            scratch[8 * c + n] = arena[x + min(n, pixels - 1) * x_pixel + c]
        top = vmax(load8(scratch, 8 * c), top)
    total = splat8(float32(0))
    for c in range(channels):
        v = vexp(load8(scratch, 8 * c) - top)
        store(scratch, 8 * c, v)
        total = total + v
    for c in range(channels):
        store(scratch, 8 * c, load8(scratch, 8 * c) / total)
        for n in range(pixels):
            arena[y + n * y_pixel + c] = scratch[8 * c + n]


@device
def many_channels(arena, x, y, channels, scratch):
    """Softmax of one pixel, eight channels at a time."""
    for c in range(channels, channels + 8):
        scratch[c] = -float("inf")
    for c in range(channels):
        scratch[c] = arena[x + c]
    best = splat8(float32(-float("inf")))
    for c in range(0, channels, 8):
        best = vmax(load8(scratch, c), best)
    top = lane(best, 0)
    for n in range(1, 8):
        top = max(top, lane(best, n))
    total = splat8(float32(0))
    for c in range(0, channels, 8):
        v = vexp(load8(scratch, c) - splat8(top))
        store(scratch, c, v)
        total = total + v
    factor = float32(1) / lane_sum(total)
    for c in range(channels):
        arena[y + c] = scratch[c] * factor


@kernel(LAYER)
def softmax(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = exp(x) / sum(exp(x)) over K channels. scratch: max(64, K + 8) floats."""
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    x_pixel, y_pixel = shape[X_PIXEL], shape[Y_PIXEL]
    for at in range(first, last):
        image, i = at // rows, at % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        if channels <= 8:
            for j in range(0, cols, 8):
                few_channels(
                    arena, x + j * x_pixel, y + j * y_pixel, x_pixel, y_pixel,
                    channels, min(8, cols - j), scratch,
                )  # fmt: skip
        else:
            for j in range(cols):
                many_channels(arena, x + j * x_pixel, y + j * y_pixel, channels, scratch)
