"""Winograd convolution, 3 x 3 at stride 1: 2.25 or 4 times fewer multiplications than direct.

F(m x m, 3 x 3), m = 2 or 4: an input tile d of (m + 2)^2 pixels becomes V = B' d B, the product
M = U V with the transformed weights is one small matrix product for each of the (m + 2)^2 elements,
and Y = A' M A are m^2 outputs. A block of tiles goes through all three steps while it lies in the
cache: V is (elements, tiles, channels) and M, for 16 output channels at a time, (elements, tiles,
16). Both live in ``scratch``; their planes are a cache line longer than needed, so that the elements
of a tile do not fall into the same cache set.

References: Lavin & Gray, Fast algorithms for convolutional neural networks, CVPR 2016, section 4.
The points are 0, 1, -1, infinity, and for m = 4 also 2 and -2.
"""

from numba import float32

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
from nets.kernels.gemm import TILE, multiply, places
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

# Fields of `shape` after the shared ones. ROWS and COLS count tiles, HEIGHT and WIDTH pixels.
# CHANNELS is the stored input channels, BLOCK the tiles in a block.
HEIGHT, WIDTH, CHANNELS, BLOCK, FIELDS = range(16, 21)


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
def multiply_block(like, side, weights, bias, k, channels, count, scratch, v, v_plane, m, m_plane):
    """M = U V for the output channels k to k + lanes of `like` and `count` tiles.

    The bias enters as the product of element (1, 1), which counts once in every output.
    """
    zero = splat_like(like, float32(0))
    for e in range(side * side):
        at = (k * side * side + e * lanes_of(like)) * channels
        start = load_like(like, bias, k, 0) if e == side + 1 else zero
        for done in range(0, count, TILE):
            where = places(count - done, 0, done, count, v + e * v_plane, 0, channels)
            tile = (start, start, start, start, start, start)
            tile = multiply(tile, scratch, where, 0, channels, lanes_of(like), weights, at)
            where = places(count - done, 0, done, count, m + e * m_plane, 0, 16)
            tile_store(tile, scratch, where, 0)


@device
def leave_tile(
    like, leave, side, scratch, m, plane, arena, bias, shape, y, r, down, right, k, lo, hi
):
    """Outputs of one tile and the channels of `like`, as far as they lie inside the image."""
    lanes = lanes_of(like)
    for v in range(side):
        column = leave(like, scratch, m + v * plane, side * plane)
        tile_store(column, scratch, places_apart(column, v * lanes, side * lanes, side), 0)
    for u in range(min(side - 2, down)):
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
def inputs(like, enter, side, arena, shape, image, first, count, scratch, v, plane):
    """V of `count` tiles from tile `first` of the image on."""
    row, pixel, channels = shape[X_ROW], shape[X_PIXEL], shape[CHANNELS]
    step = side - 2
    for t in range(count):
        i, j = (first + t) // shape[COLS] * step, (first + t) % shape[COLS] * step
        at = shape[X] + image * shape[X_IMAGE] + i * row + j * pixel
        down, right = shape[HEIGHT] + 2 - i, shape[WIDTH] + 2 - j
        for c in range(0, channels, lanes_of(like)):
            out = v + t * channels + c
            enter_tile(
                like, enter, side, arena, at + c, row, pixel, down, right, scratch, out, plane
            )


@device
def outputs(
    like, leave, side, arena, bias, shape, lo, hi, image, first, count, scratch, m, plane, k
):
    """Outputs of `count` tiles, the channels k on that M holds (8 or 16)."""
    step = side - 2
    for t in range(count):
        i, j = (first + t) // shape[COLS] * step, (first + t) % shape[COLS] * step
        down, right = shape[HEIGHT] - i, shape[WIDTH] - j
        for c in range(0, min(16, shape[K] - k), lanes_of(like)):
            y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW] + j * shape[Y_PIXEL] + k + c
            r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW] + j * shape[R_PIXEL] + k + c
            leave_tile(
                like, leave, side, scratch, m + t * 16 + c, plane,
                arena, bias, shape, y, r, down, right, k + c, lo, hi,
            )  # fmt: skip


@device
def layer(enter, leave, side, arena, weights, bias, shape, lo, hi, first, last, scratch):
    """The tile rows first to last, a block of tiles after the other."""
    rows, cols, channels, block = shape[ROWS], shape[COLS], shape[CHANNELS], shape[BLOCK]
    wide, narrow = splat16(float32(0)), splat8(float32(0))
    v, v_plane, m_plane = 2 * side * side * 16, block * channels + 16, block * 16 + 16
    m = v + side * side * v_plane
    for image in range(first // rows, (last + rows - 1) // rows):
        end = min(last - image * rows, rows) * cols
        for tile in range(max(first - image * rows, 0) * cols, end, block):
            count = min(block, end - tile)
            if WIDEST == 16 and channels % 16 == 0:
                inputs(wide, enter, side, arena, shape, image, tile, count, scratch, v, v_plane)
            else:
                inputs(narrow, enter, side, arena, shape, image, tile, count, scratch, v, v_plane)
            for k in range(0, shape[K], 16):
                if k + 16 <= shape[K]:
                    multiply_block(
                        wide, side, weights, bias, k, channels, count,
                        scratch, v, v_plane, m, m_plane,
                    )  # fmt: skip
                else:
                    multiply_block(
                        narrow, side, weights, bias, k, channels, count,
                        scratch, v, v_plane, m, m_plane,
                    )  # fmt: skip
                if WIDEST == 16 and k + 16 <= shape[K]:
                    outputs(
                        wide, leave, side, arena, bias, shape, lo, hi,
                        image, tile, count, scratch, m, m_plane, k,
                    )  # fmt: skip
                else:
                    outputs(
                        narrow, leave, side, arena, bias, shape, lo, hi,
                        image, tile, count, scratch, m, m_plane, k,
                    )  # fmt: skip


@kernel(LAYER)
def conv_winograd2(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """3 x 3 convolution, stride 1, by F(2x2, 3x3); rows are tile rows, two output rows each."""
    layer(enter2, leave2, 4, arena, weights, bias, shape, lo, hi, first, last, scratch)


@kernel(LAYER)
def conv_winograd4(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """3 x 3 convolution, stride 1, by F(4x4, 3x3); rows are tile rows, four output rows each."""
    layer(enter4, leave4, 6, arena, weights, bias, shape, lo, hi, first, last, scratch)
