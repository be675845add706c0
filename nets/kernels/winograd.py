"""Winograd convolution at stride 1: 2.25 or 4 times fewer multiplications than the direct one.

F(m x m, r x r): an input tile d of (m + r - 1)^2 pixels becomes V = B' d B, the product M = U V
with the transformed weights U is one small matrix product for each of its elements, and
Y = A' M A are m^2 outputs. A block of tiles goes through all three steps while it lies in the
cache: V is (elements, tiles, channels) and M, for 16 output channels at a time, (elements, tiles,
16). Both live in ``scratch``; their planes are one cache line longer than needed, so that elements
of one tile do not fall into the same cache set.

A layer is a list of phases, each an ordinary convolution with its own input origin, weights and
output pixels: one for a plain layer, d x d for dilation d, s x s for a transposed convolution whose
kernel is r times the stride s. Phases that read the same input follow one another and share V.

References: Lavin & Gray, Fast algorithms for convolutional neural networks, CVPR 2016, section 4.
The points are 0, 1, -1, infinity, and for m = 4 also 2 and -2.
"""

from numba import float32, int64

from nets.kernels.conv import (
    COLS,
    LAYER,
    R_IMAGE,
    R_PIXEL,
    R_ROW,
    ROWS,
    SLOPE,
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
from nets.kernels.gemm import TILE, multiply, places, rows_of_tile
from vj.kernels.jit import device, kernel
from vj.kernels.simd import (
    WIDEST,
    fma,
    lanes_of,
    load_like,
    places_apart,
    splat8,
    splat16,
    splat_like,
    store,
    tile_add,
    tile_clamp,
    tile_slope,
    tile_store,
)

# Fields of `shape` after the shared ones; ROWS and COLS count tiles. CHANNELS is the stored input
# channels, BLOCK the tiles in a block; the phases are the table behind.
CHANNELS, BLOCK, N_PHASES, FIELDS = range(16, 20)
# A phase: input origin and the rows and columns that may be read from there, output and residual
# offset, output rows and columns, first weight.
P_X, P_DOWN, P_RIGHT, P_Y, P_R, P_ROWS, P_COLS, P_WEIGHT, PHASE = range(9)


@device
def enter2(like, x, at, step):
    """B' of F(2x2, 3x3) times a column of vectors `step` apart."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    return a - c, b + c, c - b, b - d


@device
def leave2(like, x, at, step):
    """A' of F(2x2, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    return a + b + c, b - c - d


@device
def leave3(like, x, at, step):
    """A' of F(3x3, 2x2) times a column; its B' is that of F(2x2, 3x3)."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    return a + b + c, b - c, b + c - d


@device
def enter4(like, x, at, step):
    """B' of F(4x4, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    e, f = load_like(like, x, at, 4 * step), load_like(like, x, at, 5 * step)
    two, four = splat_like(like, float32(2)), splat_like(like, float32(4))
    less2, less4 = splat_like(like, float32(-2)), splat_like(like, float32(-4))
    less5 = splat_like(like, float32(-5))
    p, q, r, s = fma(less4, b, d), fma(less4, c, e), d - b, e - c
    first, last = fma(four, a, fma(less5, c, e)), fma(four, b, fma(less5, d, f))
    return first, q + p, q - p, fma(two, r, s), fma(less2, r, s), last


@device
def leave4(like, x, at, step):
    """A' of F(4x4, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    e, f = load_like(like, x, at, 4 * step), load_like(like, x, at, 5 * step)
    two, four = splat_like(like, float32(2)), splat_like(like, float32(4))
    eight = splat_like(like, float32(8))
    s, p, t, q = b + c, b - c, d + e, d - e
    return a + s + t, fma(two, q, p), fma(four, t, s), fma(eight, q, p) + f


@device
def copy_patch(like, arena, at, row, pixel, down, right, side, scratch, patch):
    """Copy a tile of which `down` rows and `right` columns exist; the rest is zero."""
    for u in range(side):
        for v in range(side):
            value = splat_like(like, float32(0))
            if u < down and v < right:
                value = load_like(like, arena, at, u * row + v * pixel)
            store(scratch, patch + (u * side + v) * lanes_of(like), value)


@device
def enter_tile(like, enter, side, arena, at, row, pixel, down, right, scratch, out, plane):
    """V of one tile and the channels of `like`, its elements `plane` apart from `out` on."""
    lanes = lanes_of(like)
    half, patch = 0, side * side * lanes  # two small buffers at the start of scratch
    if down < side or right < side:
        copy_patch(like, arena, at, row, pixel, down, right, side, scratch, patch)
        for v in range(side):
            column = enter(like, scratch, patch + v * lanes, side * lanes)
            where = places_apart(column, half + v * lanes, side * lanes, side)
            tile_store(column, scratch, where, 0)
    else:
        for v in range(side):
            column = enter(like, arena, at + v * pixel, row)
            where = places_apart(column, half + v * lanes, side * lanes, side)
            tile_store(column, scratch, where, 0)
    for u in range(side):
        line = enter(like, scratch, half + u * side * lanes, lanes)
        tile_store(line, scratch, places_apart(line, out + u * side * plane, plane, side), 0)


@device
def multiply_tile(tile, x, where, y, target, channels, weights, at):
    """One element of V times U for as many tiles as `tile` has vectors."""
    tile = multiply(tile, x, where, 0, channels, lanes_of(tile[0]), weights, at)
    tile_store(tile, y, target, 0)


@device
def multiply_block(
    like, side, weights, first, bias, k, channels, count, x, v, v_plane, y, m, m_plane
):
    """M (at m in y) = U V (at v in x) for the outputs k to k + lanes of `like`, `count` tiles.

    The bias enters as the product of element (1, 1), which counts once in every output.
    """
    zero = splat_like(like, float32(0))
    for e in range(side * side):
        at = first + (k * side * side + e * lanes_of(like)) * channels
        start = load_like(like, bias, k, 0) if e == side + 1 else zero
        six = (start, start, start, start, start, start)
        left = count
        while left > 0:
            where = places(left, int64(0), count - left, count, v + e * v_plane, int64(0), channels)
            target = places(
                left, int64(0), count - left, count, m + e * m_plane, int64(0), int64(16)
            )
            if rows_of_tile(left) == TILE:
                multiply_tile(six, x, where, y, target, channels, weights, at)
            else:
                multiply_tile(six[:4], x, where[:4], y, target[:4], channels, weights, at)
            left -= rows_of_tile(left)


@device
def leave_tile(
    like, leave, side, scratch, m, plane, arena, bias, shape, y, r, down, right, k, lo, hi
):
    """Outputs of one tile and the channels of `like`, `down` rows and `right` columns."""
    lanes = lanes_of(like)
    for v in range(side):
        column = leave(like, scratch, m + v * plane, side * plane)
        tile_store(column, scratch, places_apart(column, v * lanes, side * lanes, side), 0)
    for u in range(down):
        line = leave(like, scratch, u * side * lanes, lanes)
        if shape[R] >= 0:
            at = r + u * shape[R_ROW]
            line = tile_add(line, arena, places_apart(line, at, shape[R_PIXEL], right - 1), 0)
        if shape[SLOPE] >= 0:
            line = tile_slope(line, load_like(like, bias, shape[SLOPE], k))
        at = y + u * shape[Y_ROW]
        where = places_apart(line, at, shape[Y_PIXEL], right - 1)
        tile_store(tile_clamp(line, lo, hi), arena, where, 0)


@device
def inputs(like, enter, side, step, arena, shape, phase, image, first, count, scratch, v, plane):
    """V of `count` tiles from tile `first` of the image on."""
    row, pixel, channels = shape[X_ROW], shape[X_PIXEL], shape[CHANNELS]
    for t in range(count):
        i, j = (first + t) // shape[COLS] * step, (first + t) % shape[COLS] * step
        at = shape[X] + image * shape[X_IMAGE] + shape[phase + P_X] + i * row + j * pixel
        down, right = shape[phase + P_DOWN] - i, shape[phase + P_RIGHT] - j
        for c in range(0, channels, lanes_of(like)):
            out = v + t * channels + c
            enter_tile(
                like, enter, side, arena, at + c, row, pixel, down, right, scratch, out, plane
            )


@device
def outputs(
    like, leave, side, step, arena, bias, shape, phase, lo, hi,
    image, first, count, scratch, m, plane, k,
):  # fmt: skip
    """Outputs of `count` tiles, the channels k on that M holds (8 or 16)."""
    for t in range(count):
        i, j = (first + t) // shape[COLS] * step, (first + t) % shape[COLS] * step
        down = min(shape[phase + P_ROWS] - i, step)
        right = min(shape[phase + P_COLS] - j, step)
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW] + j * shape[Y_PIXEL]
        r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW] + j * shape[R_PIXEL]
        y, r = y + shape[phase + P_Y] + k, r + shape[phase + P_R] + k
        for c in range(0, min(16, shape[K] - k) if right > 0 else 0, lanes_of(like)):
            leave_tile(
                like, leave, side, scratch, m + t * 16 + c, plane,
                arena, bias, shape, y + c, r + c, down, right, k + c, lo, hi,
            )  # fmt: skip


@device
def layer(enter, leave, side, step, arena, weights, bias, shape, lo, hi, first, last, scratch):
    """The tile rows first to last, a block of tiles after the other."""
    rows, cols, channels, block = shape[ROWS], shape[COLS], shape[CHANNELS], shape[BLOCK]
    wide, narrow = splat16(float32(0)), splat8(float32(0))
    v, v_plane, m_plane = 2 * side * side * 16, block * channels + 16, block * 16 + 16
    m = v + side * side * v_plane
    for image in range(first // rows, (last + rows - 1) // rows):
        end = min(last - image * rows, rows) * cols
        for tile in range(max(first - image * rows, 0) * cols, end, block):
            count = min(block, end - tile)
            for p in range(FIELDS, FIELDS + shape[N_PHASES] * PHASE, PHASE):
                if p > FIELDS and shape[p + P_X] == shape[p - PHASE + P_X]:
                    pass
                elif WIDEST == 16 and channels % 16 == 0:
                    inputs(
                        wide, enter, side, step, arena, shape, p,
                        image, tile, count, scratch, v, v_plane,
                    )  # fmt: skip
                else:
                    inputs(
                        narrow, enter, side, step, arena, shape, p,
                        image, tile, count, scratch, v, v_plane,
                    )  # fmt: skip
                for k in range(0, shape[K], 16):
                    if k + 16 <= shape[K]:
                        multiply_block(
                            wide, side, weights, shape[p + P_WEIGHT], bias, k, channels, count,
                            scratch, v, v_plane, scratch, m, m_plane,
                        )  # fmt: skip
                    else:
                        multiply_block(
                            narrow, side, weights, shape[p + P_WEIGHT], bias, k, channels, count,
                            scratch, v, v_plane, scratch, m, m_plane,
                        )  # fmt: skip
                    if WIDEST == 16 and k + 16 <= shape[K]:
                        outputs(
                            wide, leave, side, step, arena, bias, shape, p, lo, hi,
                            image, tile, count, scratch, m, m_plane, k,
                        )  # fmt: skip
                    else:
                        outputs(
                            narrow, leave, side, step, arena, bias, shape, p, lo, hi,
                            image, tile, count, scratch, m, m_plane, k,
                        )  # fmt: skip


@kernel(LAYER)
def conv_winograd2(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """3 x 3 convolution, stride 1, by F(2x2, 3x3); rows are tile rows, two output rows each."""
    layer(enter2, leave2, 4, 2, arena, weights, bias, shape, lo, hi, first, last, scratch)


@kernel(LAYER)
def conv_winograd3(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """2 x 2 convolution by F(3x3, 2x2); rows are tile rows, three output rows of a phase each."""
    layer(enter2, leave3, 4, 3, arena, weights, bias, shape, lo, hi, first, last, scratch)


@kernel(LAYER)
def conv_winograd4(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """3 x 3 convolution, stride 1, by F(4x4, 3x3); rows are tile rows, four output rows each."""
    layer(enter4, leave4, 6, 4, arena, weights, bias, shape, lo, hi, first, last, scratch)
