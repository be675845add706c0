"""Depthwise convolution on plain NHWC arrays, forwards and backwards, and its weight gradient.

A vector is eight or sixteen channels of one pixel. There are no zeros around an image: a row of
outputs names the rows and columns that exist. One kernel serves the convolution and its transposed
one, which is the gradient of the input: along each axis the outputs fall into kinds (one for the
convolution, as many as the stride for the transposed one), all outputs of a kind read alike.
"""

from numba import float32, int64, void

from nets.kernels.gemm import TILE
from nets.kernels.weights import six_from
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    fma,
    load_like,
    splat8,
    splat16,
    splat_like,
    store,
    tile_fma,
    tile_slide,
    tile_store,
)

# Fields of `shape`: sizes of source and target, channels, columns of the kernel, and where the
# tables of rows and of columns lie. A table is the number of kinds and the fields of each; output
# number n of kind a is a + n * kinds. Then for each kind: how many outputs; those for which all
# taps exist, from LOW to HIGH; what the source moves on; whether the taps are three in a row; the
# number of taps, and for each its source pixel for n = 0 and its weight.
HIGH, WIDE, OUT_HIGH, OUT_WIDE, CHANNELS, SIDE, ROW_TABLE, COL_TABLE, TABLES = range(9)
K_COUNT, K_LOW, K_HIGH, K_WALK, K_SLIDE, K_TAPS, K_FIRST = range(7)


@device
def tap_weights(like, weights, shape, row, t, c):
    """The vector of weights of tap `t` in row `row` of the kernel."""
    return load_like(like, weights, (row * shape[SIDE] + shape[t + 1]) * shape[CHANNELS], c)


@device
def one_pixel(like, x, weights, shape, bias, start, down, rows, kind, n, u, c):
    """One output whose taps exist in part; `rows` taps from `u` on exist, the first at `start`."""
    total, channels = bias, shape[CHANNELS]
    for r in range(rows):
        for v in range(shape[kind + K_TAPS]):
            t = kind + K_FIRST + 2 * v
            col = shape[t] + n * shape[kind + K_WALK]
            if 0 <= col < shape[WIDE]:
                pixel = load_like(like, x, start + r * down, col * channels + c)
                row = shape[u + 2 * r + 1]
                total = fma(pixel, tap_weights(like, weights, shape, row, t, c), total)
    return total


@device
def six_pixels(like, x, weights, shape, tile, start, down, rows, kind, n, left, u, c):
    """Six outputs all of whose taps along the row exist."""
    channels, walk = shape[CHANNELS], shape[kind + K_WALK]
    first = kind + K_FIRST
    at = start + (shape[first] + n * walk) * channels + c
    for r in range(rows):
        row = shape[u + 2 * r + 1]
        if shape[kind + K_SLIDE] == 1 and left >= TILE:
            w = (
                tap_weights(like, weights, shape, row, first, c),
                tap_weights(like, weights, shape, row, first + 2, c),
                tap_weights(like, weights, shape, row, first + 4, c),
            )
            tile = tile_slide(tile, x, at, channels, w)
        else:
            where = six_from(int64(0), left - 1, walk * channels)
            for v in range(shape[kind + K_TAPS]):
                t = first + 2 * v
                off = (shape[t] - shape[first]) * channels
                w = tap_weights(like, weights, shape, row, t, c)
                tile = tile_fma(tile, x, where, at + off, w)
        at += down
    return tile


@device
def one_kind(like, x, weights, y, shape, bias, start, down, rows, kind, u, target, step, c):
    """The outputs of one kind in one row, the channels of `like` from c on."""
    low, high = shape[kind + K_LOW], shape[kind + K_HIGH]
    if rows == 0:
        low = high = 0
    for n in range(low):
        value = one_pixel(like, x, weights, shape, bias, start, down, rows, kind, n, u, c)
        store(y, target + n * step, value)
    for n in range(low, high, TILE):
        left = high - n
        tile = (bias, bias, bias, bias, bias, bias)
        tile = six_pixels(like, x, weights, shape, tile, start, down, rows, kind, n, left, u, c)
        tile_store(tile, y, six_from(int64(0), left - 1, step), target + n * step)
    for n in range(max(low, high), shape[kind + K_COUNT]):
        value = one_pixel(like, x, weights, shape, bias, start, down, rows, kind, n, u, c)
        store(y, target + n * step, value)


@kernel(
    void(ro(float32, 1), ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1), int64, int64)
)
def channelwise(x, weights, bias, y, shape, first, last):
    """Rows first to last of the outputs of all images; weights (taps, channels), bias (channels).

    The channels are a multiple of 8.
    """
    channels, wide = shape[CHANNELS], shape[OUT_WIDE]
    kinds_down, kinds_right = shape[shape[ROW_TABLE]], shape[shape[COL_TABLE]]
    down = shape[WIDE] * channels
    row_size = shape[shape[ROW_TABLE] + 1]
    col_size = shape[shape[COL_TABLE] + 1]
    for at in range(first, last):
        image, i = at // shape[OUT_HIGH], at % shape[OUT_HIGH]
        kind = shape[ROW_TABLE] + 2 + i % kinds_down * row_size
        n, taps = i // kinds_down, shape[kind + K_TAPS]
        u, rows, source = kind + K_FIRST, 0, int64(0)
        for v in range(taps):  # the rows that exist follow one another
            row = shape[kind + K_FIRST + 2 * v] + n * shape[kind + K_WALK]
            if 0 <= row < shape[HIGH]:
                if rows == 0:
                    u, source = kind + K_FIRST + 2 * v, row
                rows += 1
        apart = int64(0)
        if rows > 1:
            apart = shape[u + 2] - shape[u]
        start = (image * shape[HIGH] + source) * down
        for a in range(kinds_right):
            cols = shape[COL_TABLE] + 2 + a * col_size
            target, step = (at * wide + a) * channels, kinds_right * channels
            c = int64(0)
            while c + 16 <= channels:
                one_kind(
                    splat16(float32(0)), x, weights, y, shape,
                    load_like(splat16(float32(0)), bias, c, 0),
                    start, apart * down, rows, cols, u, target + c, step, c,
                )  # fmt: skip
                c += 16
            if c < channels:
                one_kind(
                    splat8(float32(0)), x, weights, y, shape,
                    load_like(splat8(float32(0)), bias, c, 0),
                    start, apart * down, rows, cols, u, target + c, step, c,
                )  # fmt: skip


@device
def pixel_or_zero(like, x, start, col, wide, channels):
    """A pixel of a row, zeros beyond its ends."""
    if 0 <= col < wide:
        return load_like(like, x, start, col * channels)
    return splat_like(like, float32(0))


@device
def edge(like, three, x, gy, start, begin, n, cols, walk, wide, channels):
    """Add one pixel for which a tap may not exist."""
    g = load_like(like, gy, begin, n * channels)
    a = pixel_or_zero(like, x, start, cols[0] + n * walk, wide, channels)
    b = pixel_or_zero(like, x, start, cols[1] + n * walk, wide, channels)
    c = pixel_or_zero(like, x, start, cols[2] + n * walk, wide, channels)
    return (fma(a, g, three[0]), fma(b, g, three[1]), fma(c, g, three[2]))


@device
def three_taps(like, x, gy, out, shape, image, u, v, c):
    """Gradient of three weights of a row of the kernel, eight or sixteen channels, one image."""
    channels, wide, zero = shape[CHANNELS], shape[WIDE], splat_like(like, float32(0))
    rows, kind = shape[ROW_TABLE] + 2, shape[COL_TABLE] + 2
    low, high, walk = shape[kind + K_LOW], shape[kind + K_HIGH], shape[kind + K_WALK]
    last = shape[kind + K_TAPS] - 1
    cols = (
        shape[kind + K_FIRST + 2 * v],
        shape[kind + K_FIRST + 2 * min(v + 1, last)],
        shape[kind + K_FIRST + 2 * min(v + 2, last)],
    )
    where = (cols[0] * channels, cols[1] * channels, cols[2] * channels)
    even = odd = (zero, zero, zero)
    for i in range(shape[OUT_HIGH]):
        row = shape[rows + K_FIRST + 2 * u] + i * shape[rows + K_WALK]
        if 0 <= row < shape[HIGH]:
            start = (image * shape[HIGH] + row) * wide * channels + c
            begin = (image * shape[OUT_HIGH] + i) * shape[OUT_WIDE] * channels + c
            for n in range(low):
                even = edge(like, even, x, gy, start, begin, n, cols, walk, wide, channels)
            xo, yo = start + low * walk * channels, begin + low * channels
            for _ in range((high - low) // 2):
                even = tile_fma(even, x, where, xo, load_like(like, gy, yo, 0))
                xo += walk * channels
                odd = tile_fma(odd, x, where, xo, load_like(like, gy, yo, channels))
                xo += walk * channels
                yo += 2 * channels
            for n in range(high - (high - low) % 2, shape[OUT_WIDE]):
                even = edge(like, even, x, gy, start, begin, n, cols, walk, wide, channels)
    row_taps = shape[rows + K_TAPS]
    base = ((image * row_taps + u) * shape[SIDE] + v) * channels + c
    for t in range(min(3, last + 1 - v)):
        store(out, base + t * channels, even[t] + odd[t])


@kernel(void(ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1), int64, int64))
def channelwise_gradient(x, gy, out, shape, first, last):
    """Gradient (images, taps, channels) of the weights for the images first to last."""
    channels = shape[CHANNELS]
    for image in range(first, last):
        for u in range(shape[shape[ROW_TABLE] + 2 + K_TAPS]):
            for v in range(0, shape[SIDE], 3):
                c = int64(0)
                while c + 16 <= channels:
                    three_taps(splat16(float32(0)), x, gy, out, shape, image, u, v, c)
                    c += 16
                if c < channels:
                    three_taps(splat8(float32(0)), x, gy, out, shape, image, u, v, c)
