"""Winograd convolution of plain NHWC arrays in steps, forwards and for the gradient of the weights.

With the matrices of `nets.kernels.winograd`, outputs are A'(G g G' . B' d B)A. All of it is linear,
so the gradient of the weights is G'(B' d B . A y A')G, y being the gradient of the outputs: the
same products of matrices, one for each element of a transformed tile, between the transposed
transforms. A transform works on columns first, then on rows, eight or sixteen channels at a time.

Transformed tiles are planes of (tiles, channels), one for each element; transformed weights are
(elements, channels, 16) for each 16 outputs.
"""

from numba import float32, int64, void

from nets.kernels.winograd import enter2, enter4, leave2, leave4, multiply_block
from vj.kernels.jit import device, kernel, ro, rw
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
    tile_store,
)

WIDE = splat16 if WIDEST == 16 else splat8
# Fields of `shape`: outputs of a tile along each side (2 or 4); tiles down and right in an image;
# rows, columns, channels of the images; where the first tile begins (at most 0); from one plane of
# transformed tiles to the next.
STEP, DOWN, RIGHT, HIGH, WIDTH, CHANNELS, TOP, LEFT, PLANE, FIELDS = range(10)
BLOCK = 24  # tiles whose products stay in the cache


@device
def spread2(like, x, at, step):
    """A of F(2x2, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    return a, a + b, a - b, splat_like(like, float32(0)) - b


@device
def spread4(like, x, at, step):
    """A of F(4x4, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    two, four = splat_like(like, float32(2)), splat_like(like, float32(4))
    p, q, r, s = a + c, b + d, fma(four, c, a), two * fma(four, d, b)
    return a, p + q, p - q, r + s, r - s, d


@device
def weights2(like, x, at, step):
    """G of F(2x2, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, half = load_like(like, x, at, 2 * step), splat_like(like, float32(0.5))
    p, q = half * (a + c), half * b
    return a, p + q, p - q, c


@device
def weights4(like, x, at, step):
    """G of F(4x4, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, sixth = load_like(like, x, at, 2 * step), splat_like(like, float32(1 / 6))
    quarter, part = splat_like(like, float32(0.25)), splat_like(like, float32(1 / 24))
    p, q = splat_like(like, float32(-1 / 6)) * (a + c), sixth * b
    r, s = fma(part, a, sixth * c), splat_like(like, float32(1 / 12)) * b
    return quarter * a, p - q, p + q, r + s, r - s, c


@device
def gather2(like, x, at, step):
    """G' of F(2x2, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    half = splat_like(like, float32(0.5))
    p = half * (b + c)
    return a + p, half * (b - c), p + d


@device
def gather4(like, x, at, step):
    """G' of F(4x4, 3x3) times a column."""
    a, b = load_like(like, x, at, 0), load_like(like, x, at, step)
    c, d = load_like(like, x, at, 2 * step), load_like(like, x, at, 3 * step)
    e, f = load_like(like, x, at, 4 * step), load_like(like, x, at, 5 * step)
    sixth, part = splat_like(like, float32(1 / 6)), splat_like(like, float32(1 / 24))
    p, q = b + c, d + e
    first = fma(
        part, q, fma(splat_like(like, float32(0.25)), a, splat_like(like, float32(-1 / 6)) * p)
    )
    second = fma(splat_like(like, float32(1 / 12)), d - e, sixth * (c - b))
    return first, second, fma(sixth, q - p, f)


@device
def transform(like, matrix, taken, x, at, row, col, y, to, y_row, y_col, down, right, scratch):
    """Matrix times a tile of `taken` rows and columns times its transpose.

    Of the result `down` rows and `right` columns are written.
    """
    lanes = lanes_of(like)
    for v in range(taken):
        column = matrix(like, x, at + v * col, row)
        tile_store(column, scratch, places_apart(column, v * lanes, taken * lanes, int64(8)), 0)
    for u in range(down):
        line = matrix(like, scratch, u * taken * lanes, lanes)
        tile_store(line, y, places_apart(line, to + u * y_row, y_col, right - 1), 0)


@device
def enter(like, matrix, taken, side, x, v, shape, scratch, first, last):
    """Planes of transformed tiles, the tiles first to last."""
    step, tiles, channels = shape[STEP], shape[DOWN] * shape[RIGHT], shape[CHANNELS]
    high, wide, plane = shape[HIGH], shape[WIDTH], shape[PLANE]
    row, patch = wide * channels, 64 * lanes_of(like)
    for t in range(first, last):
        i = t % tiles // shape[RIGHT] * step + shape[TOP]
        j = t % tiles % shape[RIGHT] * step + shape[LEFT]
        at = ((t // tiles * high + i) * wide + j) * channels
        inside = i >= 0 and j >= 0 and i + taken <= high and j + taken <= wide
        for c in range(0, channels, lanes_of(like)):
            to = t * channels + c
            if inside:
                transform(
                    like, matrix, taken, x, at + c, row, channels,
                    v, to, side * plane, plane, side, side, scratch,
                )  # fmt: skip
                continue
            for a in range(taken):
                for b in range(taken):
                    value = splat_like(like, float32(0))
                    if 0 <= i + a < high and 0 <= j + b < wide:
                        value = load_like(like, x, at + c, a * row + b * channels)
                    store(scratch, patch + (a * taken + b) * lanes_of(like), value)
            transform(
                like, matrix, taken, scratch, patch, taken * lanes_of(like), lanes_of(like),
                v, to, side * plane, plane, side, side, scratch,
            )  # fmt: skip


@kernel(void(ro(float32, 1), rw(float32, 1), ro(int64, 1), rw(float32, 1), int64, int64))
def enter_inputs(x, v, shape, scratch, first, last):
    """B' d B of the tiles first to last; scratch: 2048 floats."""
    if shape[STEP] == 2:
        enter(WIDE(float32(0)), enter2, int64(4), int64(4), x, v, shape, scratch, first, last)
    else:
        enter(WIDE(float32(0)), enter4, int64(6), int64(6), x, v, shape, scratch, first, last)


@kernel(void(ro(float32, 1), rw(float32, 1), ro(int64, 1), rw(float32, 1), int64, int64))
def enter_gradients(y, v, shape, scratch, first, last):
    """A y A' of the tiles first to last; scratch: 2048 floats."""
    if shape[STEP] == 2:
        enter(WIDE(float32(0)), spread2, int64(2), int64(4), y, v, shape, scratch, first, last)
    else:
        enter(WIDE(float32(0)), spread4, int64(4), int64(6), y, v, shape, scratch, first, last)


@device
def both_weights(like, forward, back, side, w, u, channels, away, scratch):
    """Transform (9, channels, 16) weights, or transformed ones back."""
    line = channels * 16
    for c in range(0, line, lanes_of(like)):
        if away:
            transform(
                like, forward, int64(3), w, c, 3 * line, line,
                u, c, side * line, line, side, side, scratch,
            )  # fmt: skip
        else:
            transform(
                like, back, side, w, c, side * line, line,
                u, c, 3 * line, line, int64(3), int64(3), scratch,
            )  # fmt: skip


@kernel(void(ro(float32, 1), rw(float32, 1), int64, int64, int64, rw(float32, 1)))
def transform_weights(w, u, step, channels, away, scratch):
    """G g G' of the weights (9, channels, 16) where `away` is 1, or G' g G of what comes back."""
    like = WIDE(float32(0))
    if step == 2:
        both_weights(like, weights2, gather2, int64(4), w, u, channels, away == 1, scratch)
    else:
        both_weights(like, weights4, gather4, int64(6), w, u, channels, away == 1, scratch)


@device
def products(leave, side, step, v, u, bias, y, shape, k, outputs, scratch, first, last):
    """Outputs k to k + 16 of the tiles first to last."""
    wide, like, m = splat16(float32(0)), WIDE(float32(0)), 64 * 16
    channels, right, tiles = shape[CHANNELS], shape[RIGHT], shape[DOWN] * shape[RIGHT]
    high, width, plane = shape[HIGH], shape[WIDTH], BLOCK * 16 + 16
    for begin in range(first, last, BLOCK):
        count = min(BLOCK, last - begin)
        multiply_block(
            wide, side, u, -k * side * side * channels, bias, k, channels, count,
            v, begin * channels, shape[PLANE], scratch, m, plane,
        )  # fmt: skip
        for t in range(count):
            i = (begin + t) % tiles // right * step
            j = (begin + t) % tiles % right * step
            at = (((begin + t) // tiles * high + i) * width + j) * outputs + k
            for c in range(0, 16, lanes_of(like)):
                transform(
                    like, leave, side, scratch, m + t * 16 + c, side * plane, plane,
                    y, at + c, width * outputs, outputs,
                    min(step, high - i), min(step, width - j), scratch,
                )  # fmt: skip


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1),
        int64, int64, rw(float32, 1), int64, int64,
    )
)  # fmt: skip
def leave_outputs(v, u, bias, y, shape, k, outputs, scratch, first, last):
    """A'(U . V)A for the outputs k to k + 16, whose weights u are, and the tiles first to last.

    HIGH and WIDTH of `shape` are those of y here; scratch: 16384 floats.
    """
    if shape[STEP] == 2:
        products(leave2, int64(4), int64(2), v, u, bias, y, shape, k, outputs, scratch, first, last)
    else:
        products(leave4, int64(6), int64(4), v, u, bias, y, shape, k, outputs, scratch, first, last)
