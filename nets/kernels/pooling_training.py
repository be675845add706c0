"""Windows of images (N, H, W, C) on the way forward and back: largest numbers, weighted sums.

``how`` holds the geometry, in the order of the names below. Tables tell what belongs to a row (and
others to a column): the entries of row i are those from ``table[i]`` to ``table[i + 1]``, and they
stand behind these.

Pixels of a row are written from left to right, eight channels at a time, also where fewer are left:
what is too much in a vector falls on the next pixel, which is written later. Only at the end of a
row a part of a vector is written.
"""

from numba import float32, int32, int64, uint16, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    eq,
    fma,
    gt,
    load8,
    load8_part,
    select,
    splat8,
    store,
    store_part,
    to_i32,
    to_u16,
)

(
    ROWS, COLS, CHANNELS, OUT_ROWS, OUT_COLS,
    HIGH, WIDE, DOWN, ACROSS, TOP, LEFT, ROW_STEP, COL_STEP,
) = range(13)  # fmt: skip


@device
def some(x, i, safe):
    """Eight numbers, or those that are left of the array if it is not known to be ``safe``."""
    if safe or i + 8 <= x.size:
        return load8(x, i)
    return load8_part(x, i, x.size - i)


@device
def masked_store(y, i, v, end, safe):
    """Write eight lanes, or those before ``end``."""
    if safe or i + 8 <= end:
        store(y, i, v)
    else:
        store_part(y, i, v, end - i)


@device
def winner(x, base, down, across, taps, wide, safe):
    """Largest of the numbers ``taps`` (first and last row and column), and its number of tap."""
    best = splat8(float32(-float("inf")))
    where = splat8(int32(taps[0] * wide + taps[2]))
    for u in range(taps[0], taps[1]):
        for v in range(taps[2], taps[3]):
            value = some(x, base + u * down + v * across, safe)
            # NaN wins; nothing wins against it.
            wins = gt(value, best)
            number = splat8(int32(u * wide + v))
            best = select(wins, value, best)
            where = select(wins, number, where)
            same = eq(value, value)
            where = select(same, where, select(eq(best, best), number, where))
            best = select(same, best, value)
    return best, where


@device
def winners(x, base, down, across, taps, wide, y, switches, out, channels, end, safe):
    """All channels of one window."""
    for c in range(0, channels, 8):
        best, where = winner(x, base + c, down, across, taps, wide, safe)
        masked_store(y, out + c, best, end, safe)
        masked_store(switches, out + c, to_u16(where), end, safe)


@device
def inside(start, step, taps, size):
    """First and last of the taps that lie inside."""
    first = max(0, (-start + step - 1) // step)
    return first, min(taps, (size - start + step - 1) // step)


@kernel(void(ro(float32, 1), ro(int64, 1), rw(float32, 1), rw(uint16, 1), int64, int64))
def max_pool(x, how, y, switches, first, last):
    """Largest number of each window, and which tap of it that was (row * WIDE + column).

    The first of equal ones wins, NaN wins over all. Output rows first to last of all images.
    """
    rows, cols, channels = how[ROWS], how[COLS], how[CHANNELS]
    high, wide = how[OUT_ROWS], how[OUT_COLS]
    down, across = how[ROW_STEP] * cols * channels, how[COL_STEP] * channels
    for at in range(first, last):
        image, i = at // high, at % high
        top = i * how[DOWN] - how[TOP]
        u0, u1 = inside(top, how[ROW_STEP], how[HIGH], rows)
        end = (at + 1) * wide * channels
        for j in range(wide):
            left = j * how[ACROSS] - how[LEFT]
            v0, v1 = inside(left, how[COL_STEP], how[WIDE], cols)
            base = ((image * rows + top) * cols + left) * channels
            out = (at * wide + j) * channels
            taps = (u0, u1, v0, v1)
            reach = base + (u1 - 1) * down + (v1 - 1) * across + channels + 8
            if reach <= x.size and out + channels + 8 <= end:
                winners(
                    x, base, down, across, taps, how[WIDE], y, switches, out, channels, end, True
                )
            else:
                winners(
                    x, base, down, across, taps, how[WIDE], y, switches, out, channels, end, False
                )


@device
def won(g, switches, k, number, gx, out, channels, end, fresh, safe):
    """Add the gradients of a window to the numbers that won it, or put them there."""
    nothing = splat8(float32(0))
    for c in range(0, channels, 8):
        hit = eq(to_i32(some(switches, k + c, safe)), number)
        part = select(hit, some(g, k + c, safe), nothing)
        if not fresh:
            part = part + some(gx, out + c, safe)
        masked_store(gx, out + c, part, end, safe)


@kernel(
    void(
        ro(float32, 1), ro(uint16, 1), ro(int64, 1), ro(int64, 1), ro(int64, 1), rw(float32, 1),
        int64, int64,
    )
)  # fmt: skip
def max_pool_grad(g, switches, how, row_table, col_table, gx, first, last):
    """Sum of the gradients of the windows that each number won; input rows first to last.

    The tables name the windows that hold a row or column and, after all of these, its tap in each.
    """
    rows, cols, channels = how[ROWS], how[COLS], how[CHANNELS]
    high, wide = how[OUT_ROWS], how[OUT_COLS]
    outs, ends = rows + 1, cols + 1
    taps, tips = outs + row_table[rows], ends + col_table[cols]
    nothing = splat8(float32(0))
    for at in range(first, last):
        image, i = at // rows, at % rows
        end = (at + 1) * cols * channels
        for j in range(cols):
            out = (at * cols + j) * channels
            fresh = True
            for a in range(row_table[i], row_table[i + 1]):
                row = (image * high + row_table[outs + a]) * wide
                tap = row_table[taps + a] * how[WIDE]
                for b in range(col_table[j], col_table[j + 1]):
                    k = (row + col_table[ends + b]) * channels
                    number = splat8(int32(tap + col_table[tips + b]))
                    if k + channels + 8 <= g.size and out + channels + 8 <= end:
                        won(g, switches, k, number, gx, out, channels, end, fresh, True)
                    else:
                        won(g, switches, k, number, gx, out, channels, end, fresh, False)
                    fresh = False
            if fresh:
                for c in range(0, channels, 8):
                    masked_store(gx, out + c, nothing, end, False)


@device
def pour(x, i, weight, y, out, count, end, fresh, safe):
    """Add ``weight`` times count numbers of x to y, or put them there if it is ``fresh``."""
    if fresh:
        for c in range(0, count, 8):
            masked_store(y, out + c, some(x, i + c, safe) * weight, end, safe)
    else:
        for c in range(0, count, 8):
            v = fma(some(x, i + c, safe), weight, some(y, out + c, safe))
            masked_store(y, out + c, v, end, safe)


@kernel(
    void(
        ro(float32, 1), ro(int64, 1), ro(int64, 1), ro(int64, 1), ro(float32, 1), ro(float32, 1),
        rw(float32, 1), rw(float32, 1), int64, int64,
    )
)  # fmt: skip
def resample(x, how, row_table, col_table, row_weights, col_weights, y, line, first, last):
    """Sums over rows and columns of x, each times its weight; output rows first to last.

    The tables name the rows (columns) of x that a row (column) of y is made of; the weights stand
    in the same order. ``line`` is room for a row of x and eight numbers.
    """
    rows, cols, channels = how[ROWS], how[COLS], how[CHANNELS]
    high, wide = how[OUT_ROWS], how[OUT_COLS]
    sources, places, run = high + 1, wide + 1, cols * channels
    nothing = splat8(float32(0))
    for at in range(first, last):
        image, i = at // high, at % high
        for a in range(row_table[i], row_table[i + 1]):
            base, weight = (image * rows + row_table[sources + a]) * run, splat8(row_weights[a])
            fresh = a == row_table[i]
            if base + run + 8 <= x.size:
                pour(x, base, weight, line, 0, run, line.size, fresh, True)
            else:
                pour(x, base, weight, line, 0, run, line.size, fresh, False)
        filled, end = row_table[i] < row_table[i + 1], (at + 1) * wide * channels
        for j in range(wide):
            out = (at * wide + j) * channels
            start = col_table[j]
            for b in range(start, col_table[j + 1]):
                k, weight = col_table[places + b] * channels, splat8(col_weights[b])
                if out + channels + 8 <= end:
                    pour(line, k, weight, y, out, channels, end, b == start, True)
                else:
                    pour(line, k, weight, y, out, channels, end, b == start, False)
            if not filled or start == col_table[j + 1]:
                for c in range(0, channels, 8):
                    masked_store(y, out + c, nothing, end, False)
