"""One band of one pyramid level: bilinear resize and integral images in a single pass.

The resize is bit-equal to OpenCV's INTER_LINEAR_EXACT: with weights in 1/256 per axis the result is
one rounded integer sum, so the axes may be blended in either order. Rows are blended first, which
is contiguous; then each output pixel gathers one pair of neighbours.

Integral images start anew at the first row of a band: differences over boxes inside the band are
the same, bands are independent of each other, and no image is too large. Sums wrap modulo 2**32,
which differences undo.

Layout of the flat int32 buffer: planes (sum; squares and tilted sum where the cascade reads them)
of `pitch` numbers a row, the first row and column of a plane zero. Where windows step by two
columns, a row holds its even columns first and its odd ones from `half` on, so that neighbouring
windows are neighbours in memory.
"""

import math

import numpy as np
from numba import int32, uint16, uint32

from vj.kernels.jit import device
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

# Entries of a band: its level, its pixel rows, its windows.
LEVEL, LEVEL_ROWS, LEVEL_COLS, FIRST_ROW, PIXEL_ROWS, STEP, ROWS, COLS, BATCH = range(9)
# Entries of the layout, the same for all bands of an image; NORMS: four corners for either step.
PITCH, HALF, PLANE, SQUARES, TILTED, NF_PITCH, NORMS = range(7)


@device
def column(x, step, half):
    """Where a row holds integral column x."""
    return x if step == 1 else (x >> 1) + (x & 1) * half


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
        where = column(k, step, half)
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
    x = 0
    while x <= cols - 17:  # the pair of the last column reads one beyond
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
def _pixels(taps, k):
    """Eight pixels of the level, as uint32."""
    index, weight, pairs = taps
    pair = gather8(pairs, index, k)
    left = to_i32(pair & splat8(uint32(0xFFFF)))
    right = to_i32(pair >> splat8(uint32(16)))
    value = (left << splat8(int32(8))) + (right - left) * load8(weight, k)
    return to_u32((value + splat8(int32(32768))) >> splat8(int32(16)))


@device
def _both(pixel):
    """A pixel, 20 bits up, and its square in one number: sums of 16 pixels do not mix."""
    return pixel * (pixel + splat8(uint32(1 << 20)))


@device
def _fill_row(taps, cols, step, layout, out, row, pixels, pixel_row):
    """Integrate one row of pixels on top of the row above it; keep its pixels."""
    pitch, half, squares = layout[PITCH], layout[HALF], layout[SQUARES]
    above = row - pitch
    total, total2 = splat8(int32(0)), splat8(int32(0))
    low, shift = splat8(uint32((1 << 20) - 1)), splat8(uint32(20))
    for k in range(0, cols if step == 1 else (cols + 1) // 2, 8):
        pixel = _pixels(taps, k)
        store(pixels, pixel_row + k, to_i32(pixel))
        sums = _both(pixel)
        odd = sums
        if step == 2:
            pixel = _pixels(taps, half + k)
            store(pixels, pixel_row + half + k, to_i32(pixel))
            odd = _both(pixel)
            sums = sums + odd
        sums = prefix_sum(sums)
        s = to_i32(sums >> shift) + total
        q = to_i32(sums & low) + total2
        total, total2 = last_lane(s), last_lane(q)
        k1 = k + 1
        store(out, row + k1, s + load8(out, above + k1))
        if squares:
            store(out, row + squares + k1, q + load8(out, above + squares + k1))
        if step == 2:  # the sums up to the even pixel, without the odd one
            s = s - to_i32(odd >> shift)
            q = q - to_i32(odd & low)
            k1 = half + k
            store(out, row + k1, s + load8(out, above + k1))
            if squares:
                store(out, row + squares + k1, q + load8(out, above + squares + k1))
    out[row] = 0
    if squares:
        out[row + squares] = 0


@device
def _tilt_row(y, cols, step, layout, out, pixels):
    """Row y >= 1 of the tilted integral: pixels above (x, y) within the 45 degree cone.

    T(x, y) = T(x-1, y-1) + T(x+1, y-1) - T(x, y-2) + I(x-1, y-1) + I(x-1, y-2); at the left and
    right border two of the terms cancel. (Lienhart & Maydt, ICIP 2002, section 2.2.)
    """
    pitch, half = layout[PITCH], layout[HALF]
    row = layout[TILTED] + y * pitch
    now, before = ((y - 1) & 1) * pitch, (y & 1) * pitch
    for x in range(cols + 1):
        value = int32(0)
        if x > 0:
            k = column(x - 1, step, half)
            value = out[row - pitch + k] + at(pixels, now + k)
            if y > 1:
                value += at(pixels, before + k)
        if x < cols:
            value += out[row - pitch + column(x + 1, step, half)]
        if 0 < x < cols and y > 1:
            value -= out[row - 2 * pitch + column(x, step, half)]
        out[row + column(x, step, half)] = value


@device
def fill_band(gray, band, layout, taps, pixels, out):
    """Fill the planes of a band.

    gray : (H, W) uint8. band, layout : int64, see LEVEL .. NORMS.
    taps : index and weight of the columns (int32), one row of blended pairs (uint32).
    pixels : two rows of the level (int32). out : int32, 64 more entries than the planes.
    """
    index, weight, pairs = taps
    cols, step = band[LEVEL_COLS], band[STEP]
    pitch, squares, tilted = layout[PITCH], layout[SQUARES], layout[TILTED]
    _column_taps(gray.shape[1], cols, step, layout[HALF], index, weight)
    for x in range(pitch):
        out[x] = 0
        if squares:
            out[squares + x] = 0
        if tilted:
            out[tilted + x] = 0
    for y in range(1, band[PIXEL_ROWS] + 1):
        _blend_rows(gray, band[LEVEL_ROWS], band[FIRST_ROW] + y - 1, pairs)
        _fill_row(taps, cols, step, layout, out, y * pitch, pixels, ((y - 1) & 1) * pitch)
        if tilted:
            _tilt_row(y, cols, step, layout, out, pixels)
