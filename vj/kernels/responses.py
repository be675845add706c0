"""Responses of many features on many training samples, 16 samples at a time.

A *table* holds the integral images of samples side by side: (blocks, C, 128) float32, where C
counts the ``(rows + 1) * (cols + 1)`` points of the upright integral image, then, where tilted
features are wanted, those of the tilted one. So one load fetches the same corner of 16 samples.
Sums are integers below 2**24, which float32 holds exactly, for windows of up to 65,793 pixels.
"""

import math

from numba import boolean, float32, float64, int32, int64, uint8, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    at,
    fma,
    ge,
    load16,
    select,
    splat16,
    store,
    to_i32,
    to_u8,
    vmax,
    vmin,
)

BLOCK, LANES = 128, 16
MAX_CORNERS = 9


@kernel(void(ro(uint8, 3), boolean, rw(float32, 3), rw(float32, 1)))
def tabulate(patches, tilted, table, norms):
    """Fill ``table`` and ``norms`` from ``patches`` (n, rows, cols); spare lanes become zero.

    norms : (blocks * 128,) the detector's factor 1 / (area * standard deviation), 0 where the
    detector refuses the window because its contrast is too low.
    """
    n, rows, cols = patches.shape
    pitch = cols + 1
    area = float64((rows - 2) * (cols - 2))
    for i in range(table.shape[0] * BLOCK):
        block, lane = i // BLOCK, i % BLOCK
        norms[i] = float32(0)
        if i >= n:
            for c in range(table.shape[1]):
                table[block, c, lane] = float32(0)
            continue
        total, squares = 0, 0
        for x in range(pitch):
            table[block, x, lane] = float32(0)
        for y in range(rows):
            run = 0
            below = (y + 1) * pitch
            table[block, below, lane] = float32(0)
            for x in range(cols):
                value = int64(patches[i, y, x])
                run += value
                table[block, below + x + 1, lane] = table[
                    block, below + x + 1 - pitch, lane
                ] + float32(run)
                if 0 < y < rows - 1 and 0 < x < cols - 1:
                    total += value
                    squares += value * value
        spread = area * float64(squares) - float64(total) * float64(total)
        if spread > 0:
            norm = float32(1.0 / math.sqrt(spread))
            if area * float64(norm) < 0.1:
                norms[i] = norm
        if tilted:
            _tilted(patches, i, table, block, lane)


@device
def _tilted(patches, i, table, block, lane):
    """The second half of column ``lane``: T[y, x] sums the upward cone of the point (y, x)."""
    rows, cols = patches.shape[1], patches.shape[2]
    pitch = cols + 1
    first = (rows + 1) * pitch
    for x in range(pitch):
        table[block, first + x, lane] = float32(0)
    for y in range(1, rows + 1):
        row = first + y * pitch
        # Outside the sample there is nothing: the cone of (y, -1) is that of (y - 1, 0).
        table[block, row, lane] = table[block, row - pitch + 1, lane]
        for x in range(1, cols + 1):
            value = table[block, row - pitch + x - 1, lane] + float32(patches[i, y - 1, x - 1])
            if y > 1:
                value += float32(patches[i, y - 2, x - 1])
                if x < cols:
                    value -= table[block, row - 2 * pitch + x, lane]
            if x < cols:
                value += table[block, row - pitch + x + 1, lane]
            table[block, row + x, lane] = value


@device
def _box(table, base, offsets, o):
    return (
        load16(table, base + int64(at(offsets, o)) * BLOCK)
        - load16(table, base + int64(at(offsets, o + 1)) * BLOCK)
        - load16(table, base + int64(at(offsets, o + 2)) * BLOCK)
        + load16(table, base + int64(at(offsets, o + 3)) * BLOCK)
    )


@kernel(void(ro(float32, 3), ro(float32, 1), ro(int32, 2), ro(float32, 2), rw(float32, 2)))
def haar_values(table, norms, boxes, weights, out):
    """Fill ``out`` (F, blocks * 128) with exactly the values that the detector computes.

    boxes : (F, 12) table rows of the corners of three boxes, signs + - - +.  weights : (F, 3).
    """
    for block in range(table.shape[0]):
        for f in range(boxes.shape[0]):
            w0, w1, w2 = splat16(weights[f, 0]), splat16(weights[f, 1]), splat16(weights[f, 2])
            for lane in range(0, BLOCK, LANES):
                base = block * table.shape[1] * BLOCK + lane
                value = w0 * _box(table, base, boxes, 12 * f)
                value = value + w1 * _box(table, base, boxes, 12 * f + 4)
                if weights[f, 2] != 0:
                    value = value + w2 * _box(table, base, boxes, 12 * f + 8)
                value = value * load16(norms, block * BLOCK + lane)
                store(out, f * out.shape[1] + block * BLOCK + lane, value)


@kernel(
    void(
        ro(float32, 3),
        ro(float32, 1),
        ro(int32, 2),
        ro(float32, 2),
        ro(int32, 1),
        ro(float32, 1),
        ro(float32, 1),
        rw(uint8, 2),
    )
)
def haar_bins(table, norms, corners, signs, counts, low, scale, out):
    """Fill ``out`` (F, blocks * 128) with values quantised to ``(value - low) * scale``, 0..255.

    corners, signs : (F, 9) table rows and factors of the distinct corners of each feature, of
    which ``counts`` (6, 8 or 9) are used.  low, scale : (F,).
    """
    bottom, top = splat16(float32(0)), splat16(float32(255))
    for block in range(table.shape[0]):
        for f in range(corners.shape[0]):
            o, many = MAX_CORNERS * f, counts[f]
            s0, s1, s2 = splat16(signs[f, 0]), splat16(signs[f, 1]), splat16(signs[f, 2])
            s3, s4, s5 = splat16(signs[f, 3]), splat16(signs[f, 4]), splat16(signs[f, 5])
            s6, s7, s8 = splat16(signs[f, 6]), splat16(signs[f, 7]), splat16(signs[f, 8])
            first, step = splat16(low[f]), splat16(scale[f])
            for lane in range(0, BLOCK, LANES):
                base = block * table.shape[1] * BLOCK + lane
                v = s0 * load16(table, base + int64(at(corners, o)) * BLOCK)
                v = fma(s1, load16(table, base + int64(at(corners, o + 1)) * BLOCK), v)
                v = fma(s2, load16(table, base + int64(at(corners, o + 2)) * BLOCK), v)
                v = fma(s3, load16(table, base + int64(at(corners, o + 3)) * BLOCK), v)
                v = fma(s4, load16(table, base + int64(at(corners, o + 4)) * BLOCK), v)
                v = fma(s5, load16(table, base + int64(at(corners, o + 5)) * BLOCK), v)
                if many > 6:
                    v = fma(s6, load16(table, base + int64(at(corners, o + 6)) * BLOCK), v)
                    v = fma(s7, load16(table, base + int64(at(corners, o + 7)) * BLOCK), v)
                    if many > 8:
                        v = fma(s8, load16(table, base + int64(at(corners, o + 8)) * BLOCK), v)
                v = (v * load16(norms, block * BLOCK + lane) - first) * step
                level = to_u8(to_i32(vmin(vmax(v, bottom), top)))
                store(out, f * out.shape[1] + block * BLOCK + lane, level)


@device
def _bit(table, base, offsets, o, centre, bit):
    none, one = splat16(int32(0)), splat16(int32(bit))
    return select(ge(_box(table, base, offsets, o), centre), one, none)


@kernel(void(ro(float32, 3), ro(int32, 2), rw(uint8, 2)))
def lbp_bins(table, boxes, out):
    """Fill ``out`` (F, blocks * 128) with multi-block LBP codes.

    boxes : (F, 36) table rows of the corners of nine cells: the centre, then the neighbours
    clockwise from the top left.
    """
    for block in range(table.shape[0]):
        for f in range(boxes.shape[0]):
            o = 36 * f
            for lane in range(0, BLOCK, LANES):
                base = block * table.shape[1] * BLOCK + lane
                centre = _box(table, base, boxes, o)
                code = _bit(table, base, boxes, o + 4, centre, 128)
                code = code | _bit(table, base, boxes, o + 8, centre, 64)
                code = code | _bit(table, base, boxes, o + 12, centre, 32)
                code = code | _bit(table, base, boxes, o + 16, centre, 16)
                code = code | _bit(table, base, boxes, o + 20, centre, 8)
                code = code | _bit(table, base, boxes, o + 24, centre, 4)
                code = code | _bit(table, base, boxes, o + 28, centre, 2)
                code = code | _bit(table, base, boxes, o + 32, centre, 1)
                store(out, f * out.shape[1] + block * BLOCK + lane, to_u8(code))
