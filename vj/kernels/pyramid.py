"""One band of one pyramid level: bilinear resize, integral and squared integral in a single pass.

The resize is bit-equal to OpenCV's INTER_LINEAR_EXACT: with weights in 1/256 per axis the result is one
rounded integer sum, so the axes may be blended in either order. Rows are blended first, which is
contiguous; then each output pixel gathers one pair of neighbours.

Integral images start anew at the first row of a band: differences over boxes inside the band are the
same, bands are independent of each other, and no image is too large. Sums wrap modulo 2**32, which
differences undo.

Layout of the flat int32 buffer: planes (sum, then squares, then tilted sum) of `pitch` numbers a row,
the first row and column of a plane zero. Where windows step by two columns, a row holds its even
columns first and its odd ones from `half` on, so that neighbouring windows are neighbours in memory.
"""

import math

import numpy as np
from numba import int32, int64, uint8, uint16, uint32, void
from numba.types import Tuple

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    at,
    gather8,
    last_lane,
    load8,
    load16,
    prefix_sum,
    splat8,
    splat16,
    store,
    to_i32,
    to_u16,
    to_u32,
)

# Entries of `shape`: size of the level, first row and number of rows of the band, layout.
LEVEL_ROWS, LEVEL_COLS, FIRST_ROW, BAND_ROWS, STEP, PITCH, HALF, PLANE = range(8)


@device
def _tap(source, target, k):
    """Left source index and weight of its right neighbour, in 1/256, for output index k."""
    scale = 1.0 / (target / source)
    position = scale * (k + 0.5) - 0.5
    left = math.floor(position)
    if left < 0:
        return 0, 0
    if left >= source - 1:
        return source - 1, 0
    return int(left), int(np.rint((position - left) * 256.0))


@device
def _column_taps(source, cols, step, half, index, weight):
    """Taps of the columns in the order in which a row stores them."""
    for k in range(len(index)):
        index[k] = 0
        weight[k] = 0
    for k in range(cols):
        left, right_weight = _tap(source, cols, k)
        where = k if step == 1 else (k >> 1) + (k & 1) * half
        index[where] = left
        weight[where] = right_weight


@device
def _blend_rows(gray, level_rows, y, out):
    """Blend two source rows; out[x] holds the pair x, x + 1 in its low and high 16 bits."""
    rows, cols = gray.shape
    top, weight = _tap(rows, level_rows, y)
    a = top * cols
    b = min(top + 1, rows - 1) * cols
    wa, wb = uint16(256 - weight), uint16(weight)
    last = cols - 17  # the pair of the last column reads one beyond
    x = 0
    while x <= last:
        left = to_u16(load16(gray, a + x)) * splat16(wa)
        left = left + to_u16(load16(gray, b + x)) * splat16(wb)
        right = to_u16(load16(gray, a + x + 1)) * splat16(wa)
        right = right + to_u16(load16(gray, b + x + 1)) * splat16(wb)
        store(out, x, to_u32(left) | (to_u32(right) << splat16(uint32(16))))
        x += 16
    while x < cols:
        n = min(x + 1, cols - 1)
        low = at(gray, a + x) * uint32(wa) + at(gray, b + x) * uint32(wb)
        high = at(gray, a + n) * uint32(wa) + at(gray, b + n) * uint32(wb)
        out[x] = low | (high << uint32(16))
        x += 1


@device
def _pixels(pairs, index, weight, k):
    """Eight pixels of the level, as uint32."""
    pair = gather8(pairs, index, k)
    left = to_i32(pair & splat8(uint32(0xFFFF)))
    right = to_i32(pair >> splat8(uint32(16)))
    value = (left << splat8(int32(8))) + (right - left) * load8(weight, k)
    return to_u32((value + splat8(int32(32768))) >> splat8(int32(16)))


@device
def _both(pixel):
    """A pixel and its square in one number, 12 bits above 20: sums of 16 pixels do not mix."""
    return pixel * (pixel + splat8(uint32(1 << 20)))


@device
def _fill_row(pairs, index, weight, cols, half, step, out, above, row, squares):
    """Integrate one row of pixels into the buffer, on top of the row above."""
    zero = splat8(int32(0))
    total, total2 = zero, zero
    low, shift = splat8(uint32((1 << 20) - 1)), splat8(uint32(20))
    if step == 1:
        for k in range(0, cols, 8):
            sums = prefix_sum(_both(_pixels(pairs, index, weight, k)))
            s = to_i32(sums >> shift) + total
            q = to_i32(sums & low) + total2
            total, total2 = last_lane(s), last_lane(q)
            store(out, row + k + 1, s + load8(out, above + k + 1))
            store(out, row + squares + k + 1, q + load8(out, above + squares + k + 1))
        return
    for k in range(0, (cols + 1) // 2, 8):
        odd = _both(_pixels(pairs, index, weight, half + k))
        sums = prefix_sum(_both(_pixels(pairs, index, weight, k)) + odd)
        s = to_i32(sums >> shift) + total
        q = to_i32(sums & low) + total2
        total, total2 = last_lane(s), last_lane(q)
        store(out, row + k + 1, s + load8(out, above + k + 1))
        store(out, row + squares + k + 1, q + load8(out, above + squares + k + 1))
        s = s - to_i32(odd >> shift) + load8(out, above + half + k)
        q = q - to_i32(odd & low) + load8(out, above + squares + half + k)
        store(out, row + half + k, s)
        store(out, row + squares + half + k, q)


@kernel(
    void(
        ro(uint8, 2),
        ro(int64, 1),
        Tuple((rw(int32, 1), rw(int32, 1), rw(uint32, 1))),
        rw(int32, 1),
    )
)
def fill_band(gray, shape, scratch, out):
    """Fill the sum and squared-sum planes of a band.

    gray : (H, W) uint8. shape : int64, see LEVEL_ROWS .. PLANE; a band has BAND_ROWS pixel rows and
    one more row in each plane. scratch : taps of the columns (index, weight; pitch + 16 entries) and
    one row of blended pairs (W + 16).
    """
    index, weight, pairs = scratch
    cols, step, half = shape[LEVEL_COLS], shape[STEP], shape[HALF]
    pitch, squares = shape[PITCH], shape[PLANE]
    _column_taps(gray.shape[1], cols, step, half, index, weight)
    for x in range(pitch):
        out[x] = 0
        out[squares + x] = 0
    for y in range(shape[BAND_ROWS]):
        _blend_rows(gray, shape[LEVEL_ROWS], shape[FIRST_ROW] + y, pairs)
        row = (y + 1) * pitch
        _fill_row(pairs, index, weight, cols, half, step, out, row - pitch, row, squares)
        out[row] = 0
        out[row + squares] = 0
