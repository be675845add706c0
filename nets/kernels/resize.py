"""Nearest and bilinear interpolation by tables of source pixels, a second map added on the way."""

from nets.kernels.conv import (
    COLS,
    LAYER,
    R_IMAGE,
    R_PIXEL,
    R_ROW,
    ROWS,
    X_IMAGE,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    R,
    X,
    Y,
)
from nets.kernels.pointwise import clamped
from vj.kernels.jit import kernel
from vj.kernels.simd import fma, load8, splat8, store

TABLES = 16  # offsets of the source rows, then of the source columns (two each if bilinear)


@kernel(LAYER)
def resize_nearest(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = clamp(x at the tabled pixels + r), K a multiple of 8; R of -1 adds nothing."""
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    add = shape[R] >= 0
    for at in range(first, last):
        image, i = at // rows, at % rows
        x = shape[X] + image * shape[X_IMAGE] + shape[TABLES + i]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW]
        for j in range(cols):
            source = x + shape[TABLES + rows + j]
            for c in range(0, channels, 8):
                v = load8(arena, source + c)
                if add:
                    v = v + load8(arena, r + c)
                store(arena, y + c, clamped(v, lo, hi))
            y += shape[Y_PIXEL]
            r += shape[R_PIXEL]


@kernel(LAYER)
def resize_linear(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """As `resize_nearest` between two rows and two columns; weights holds the share of the second.

    weights: one number for each output row, then one for each output column.
    """
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    add = shape[R] >= 0
    for at in range(first, last):
        image, i = at // rows, at % rows
        x = shape[X] + image * shape[X_IMAGE]
        upper, lower = x + shape[TABLES + 2 * i], x + shape[TABLES + 2 * i + 1]
        down = splat8(weights[i])
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW]
        for j in range(cols):
            col = TABLES + 2 * (rows + j)
            left, right = shape[col], shape[col + 1]
            across = splat8(weights[rows + j])
            for c in range(0, channels, 8):
                a, b = load8(arena, upper + left + c), load8(arena, upper + right + c)
                d, e = load8(arena, lower + left + c), load8(arena, lower + right + c)
                top, bottom = fma(across, b - a, a), fma(across, e - d, d)
                v = fma(down, bottom - top, top)
                if add:
                    v = v + load8(arena, r + c)
                store(arena, y + c, clamped(v, lo, hi))
            y += shape[Y_PIXEL]
            r += shape[R_PIXEL]
