"""Pooling over any windows, with switches if wanted, and the unpooling that uses them.

One kernel does max, average, global and adaptive pooling: tables say for every output row and
column where its window begins and how many taps of it lie inside the input.
"""

from numba import float32

from nets.kernels.conv import (
    COLS,
    LAYER,
    R_IMAGE,
    R_PIXEL,
    R_ROW,
    ROWS,
    X_IMAGE,
    X_PIXEL,
    X_ROW,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    R,
    X,
    Y,
)
from vj.kernels.jit import kernel
from vj.kernels.simd import gt, load8, select, splat8, store, vmax

# After the shared fields: MEAN is 1 for averages; DOWN and ACROSS step from tap to tap. The tables
# follow: offset, taps and divisor share of each row, then of each column, then the number of the
# first tap in its window (a window that begins in the pad has lost some) and the window's width.
MEAN, DOWN, ACROSS, WIDTH, TABLES = range(16, 21)
START, COUNT, SHARE, LOST, ENTRY = range(5)


@kernel(LAYER)
def pool(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Largest or mean number of each window, eight channels at a time (K a multiple of 8).

    Where R is not -1, it receives the switches: the number of the winning tap in its window
    (row * WIDTH + column), as a float; the first of equal ones wins.
    """
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    mean, down, across, width = shape[MEAN] == 1, shape[DOWN], shape[ACROSS], shape[WIDTH]
    switched = shape[R] >= 0
    lowest = splat8(float32(-float("inf")))
    for at in range(first, last):
        image, i = at // rows, at % rows
        row = TABLES + ENTRY * i
        top = shape[X] + image * shape[X_IMAGE] + shape[row + START]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW]
        for j in range(cols):
            col = TABLES + ENTRY * (rows + j)
            tall, wide = shape[row + COUNT], shape[col + COUNT]
            x = top + shape[col + START]
            if mean:
                factor = splat8(float32(1.0 / (shape[row + SHARE] * shape[col + SHARE])))
                for c in range(0, channels, 8):
                    total = splat8(float32(0))
                    for u in range(tall):
                        part = splat8(float32(0))
                        for v in range(wide):
                            part = part + load8(arena, x + u * down + v * across + c)
                        total = total + part
                    store(arena, y + c, total * factor)
            elif switched:
                for c in range(0, channels, 8):
                    best = load8(arena, x + c)
                    tap = float32(shape[row + LOST] * width + shape[col + LOST])
                    where = splat8(tap)
                    for u in range(tall):
                        for v in range(wide):
                            value = load8(arena, x + u * down + v * across + c)
                            wins = gt(value, best)
                            best = select(wins, value, best)
                            where = select(wins, splat8(tap + float32(u * width + v)), where)
                    store(arena, y + c, best)
                    store(arena, r + c, where)
            else:
                for c in range(0, channels, 8):
                    best = lowest
                    for u in range(tall):
                        for v in range(wide):
                            best = vmax(load8(arena, x + u * down + v * across + c), best)
                    store(arena, y + c, best)
            y += shape[Y_PIXEL]
            r += shape[R_PIXEL]


@kernel(LAYER)
def unpool(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Put each number where its switch says, 0 elsewhere; rows are whole images.

    ROWS and COLS are those of the pooled map x, R its switches. MEAN and WIDTH hold the height and
    width of y; the tables give the first row and column of each window in y, which may lie outside
    (they are pixels here, not offsets); DOWN is the dilation times the window's width.
    """
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    height, width, window = shape[MEAN], shape[WIDTH], shape[DOWN]
    for image in range(first, last):
        y = shape[Y] + image * shape[Y_IMAGE]
        for i in range(height):
            for j in range(width):
                for c in range(0, channels, 8):
                    store(arena, y + i * shape[Y_ROW] + j * shape[Y_PIXEL] + c, splat8(float32(0)))
        for i in range(rows):
            for j in range(cols):
                x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW] + j * shape[X_PIXEL]
                r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW] + j * shape[R_PIXEL]
                for c in range(channels):
                    tap = int(arena[r + c])
                    row = shape[TABLES + ENTRY * i] + tap // window
                    col = shape[TABLES + ENTRY * (rows + j)] + tap % window
                    if 0 <= row < height and 0 <= col < width:
                        arena[y + row * shape[Y_ROW] + col * shape[Y_PIXEL] + c] = arena[x + c]
