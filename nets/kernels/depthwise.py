"""Depthwise convolution of any kernel size, stride and dilation; 2x2 max pooling fused if wanted.

Each channel has its own filter, so a vector is eight or sixteen channels of one pixel. Two ways
through an image: six pixels at a time, any taps; and for 3 x 3 at stride 1, where there are enough
wide registers, Winograd's F(2, 3) on two rows and two columns at a time.

References: Winograd, Arithmetic complexity of computations, SIAM 1980; Lavin & Gray, CVPR 2016.
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
from nets.kernels.gemm import TILE, places
from vj.kernels.jit import device, kernel
from vj.kernels.simd import (
    WIDEST,
    lanes_of,
    load_like,
    opaque,
    splat8,
    splat16,
    splat_like,
    store,
    tile_add,
    tile_clamp,
    tile_fma,
    tile_load,
    tile_mul_add,
    tile_slide,
    tile_slope,
    tile_store,
    vmax,
    vmin,
)

# Fields of `shape` after the shared ones: POOL is 1 or 2, SLIDE 1 for 3 x 3 taps of which a pixel
# and its right neighbour share six, and 2 for those of a layer that Winograd's algorithm computes,
# DOWN a tap's row stride, TAPS the number of tap offsets behind.
POOL, SLIDE, DOWN, TAPS, FIRST_TAP = range(16, 21)


@device
def any_taps(like, arena, weights, shape, tile, where, offset, channels, c):
    """Add all taps of six pixels, the channels of `like` from c on."""
    for t in range(shape[TAPS]):
        w = load_like(like, weights, t * channels, c)
        tile = tile_fma(tile, arena, where, shape[FIRST_TAP + t] + offset, w)
    return tile


@device
def nine_taps(like, arena, weights, tile, at, step, down, channels, c):
    """Add 3 x 3 taps of six pixels in a row, the first tap at `at`, each pixel read once a row."""
    for u in range(3):
        w = (
            load_like(like, weights, (3 * u) * channels, c),
            load_like(like, weights, (3 * u + 1) * channels, c),
            load_like(like, weights, (3 * u + 2) * channels, c),
        )
        tile = tile_slide(tile, arena, at + u * down, step, w)
    return tile


@device
def start_tile(like, bias, c):
    """Six times the bias."""
    v = load_like(like, bias, c, 0)
    return (v, v, v, v, v, v)


@device
def activate(like, tile, bias, slope, lo, hi, c):
    """PReLU if there are slopes, then the clamp."""
    if slope >= 0:
        tile = tile_slope(tile, load_like(like, bias, slope, c))
    return tile_clamp(tile, lo, hi)


@device
def rows_of(like, arena, weights, bias, shape, lo, hi, image, top, bottom):
    """Rows top to bottom of one image, as many channels at a time as `like` has lanes."""
    pool, slide, down = shape[POOL], shape[SLIDE] >= 1, shape[DOWN]
    channels, slope, cols = shape[K], shape[SLOPE], shape[COLS] * shape[POOL]
    x, x_row, x_pixel = shape[X] + image * shape[X_IMAGE], shape[X_ROW], shape[X_PIXEL]
    y, y_row, y_pixel = shape[Y] + image * shape[Y_IMAGE], shape[Y_ROW], shape[Y_PIXEL]
    r, r_row, r_pixel = shape[R] + image * shape[R_IMAGE], shape[R_ROW], shape[R_PIXEL]
    add = shape[R] >= 0
    i, j = top, int64(0)
    for done in range(0, (bottom - top) * cols, TILE):
        left = (bottom - top) * cols - done
        whole = slide and left >= TILE and j + TILE <= cols
        source = places(left, i, j, cols, x, pool * x_row, x_pixel)
        if pool == 1:
            target = places(left, i, j, cols, y, y_row, y_pixel)
            extra = places(left, i, j, cols, r, r_row, r_pixel)
            for c in range(0, channels, lanes_of(like)):
                tile = start_tile(like, bias, c)
                if whole:
                    tile = nine_taps(
                        like, arena, weights, tile, source[0] + c, x_pixel, down, channels, c
                    )
                else:
                    tile = any_taps(like, arena, weights, shape, tile, source, c, channels, c)
                if add:
                    tile = tile_add(tile, arena, extra, c)
                tile_store(activate(like, tile, bias, slope, lo, hi, c), arena, target, c)
        else:
            target = places(left // 2, i, j // 2, cols // 2, y, y_row, y_pixel)
            for c in range(0, channels, lanes_of(like)):
                a = b = start_tile(like, bias, c)
                if whole:
                    at = source[0] + c
                    a = nine_taps(like, arena, weights, a, at, x_pixel, down, channels, c)
                    at += x_row
                    b = nine_taps(like, arena, weights, b, at, x_pixel, down, channels, c)
                else:
                    a = any_taps(like, arena, weights, shape, a, source, c, channels, c)
                    at = x_row + c
                    b = any_taps(like, arena, weights, shape, b, source, at, channels, c)
                a = activate(like, a, bias, slope, lo, hi, c)
                b = activate(like, b, bias, slope, lo, hi, c)
                # Backwards: behind the last pair stand repetitions of the last pixel alone.
                store(arena, target[2] + c, vmax(vmax(a[4], a[5]), vmax(b[4], b[5])))
                store(arena, target[1] + c, vmax(vmax(a[2], a[3]), vmax(b[2], b[3])))
                store(arena, target[0] + c, vmax(vmax(a[0], a[1]), vmax(b[0], b[1])))
        j += TILE
        while j >= cols:
            j -= cols
            i += 1


@device
def enter(like, arena, at, pixel, far):
    """B' of F(2, 3) times four neighbours, the last of them `far` away."""
    a, b = load_like(like, arena, at, 0), load_like(like, arena, at, pixel)
    c, d = load_like(like, arena, at, 2 * pixel), load_like(like, arena, at, far)
    return a - c, b + c, c - b, b - d


@device
def two_by_two(like, arena, at, step, below, pixel, far, a, b, c, start):
    """Outputs of two rows and columns from four rows, `step` apart, the last one `below`."""
    first = enter(like, arena, at, pixel, far)
    m = tile_mul_add(first, a, start)
    second = enter(like, arena, at + step, pixel, far)
    m, n = tile_mul_add(second, b, m), tile_mul_add(second, a, start)
    third = enter(like, arena, at + 2 * step, pixel, far)
    m, n = tile_mul_add(third, c, m), tile_mul_add(third, b, n)
    n = tile_mul_add(enter(like, arena, at + below, pixel, far), c, n)
    return (m[0] + m[1] + m[2], m[1] - m[2] - m[3], n[0] + n[1] + n[2], n[1] - n[2] - n[3])


@device
def rows_by_winograd(like, arena, weights, bias, shape, lo, hi, image, top, bottom):
    """The same for 3 x 3 at stride 1, two rows and two columns at a time.

    F(2, 3) along the row, each transformed row serving the output rows above and below it: 24
    multiply-adds and 24 additions, which other units execute, instead of 36 multiply-adds.
    """
    pool, channels, slope = shape[POOL], shape[K], shape[SLOPE]
    pixel, step, out = shape[X_PIXEL], shape[X_ROW], shape[Y_PIXEL]
    rows, cols, first = bottom * pool, shape[COLS] * pool, shape[TAPS] * channels
    add, r_pixel, plain = shape[R] >= 0, shape[R_PIXEL], shape[R] < 0 and slope < 0
    for i in range(top * pool, rows, 2):
        single = i + 1 == rows  # then the second row repeats the first one
        y_row, r_row = (0, 0) if single else (shape[Y_ROW], shape[R_ROW])
        below = 2 * step if single else 3 * step
        for c in range(0, channels, lanes_of(like)):
            x = shape[X] + image * shape[X_IMAGE] + i * step + c
            y = shape[Y] + image * shape[Y_IMAGE] + i // pool * shape[Y_ROW] + c
            r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW] + c
            u = tile_load(like, weights, first + c, channels)
            v = tile_load(like, weights, first + 4 * channels + c, channels)
            w = tile_load(like, weights, first + 8 * channels + c, channels)
            zero, low, high = (
                splat_like(like, float32(0)),
                splat_like(like, lo),
                splat_like(like, hi),
            )
            start = (zero, load_like(like, bias, c, 0), zero, zero)
            done = 0
            if plain and pool == 2:  # the two loops that matter, written for speed
                for _ in range(cols // 2):
                    x, y = opaque(x), opaque(y)
                    tile = two_by_two(like, arena, x, step, below, pixel, 3 * pixel, u, v, w, start)
                    best = vmax(vmax(tile[0], tile[1]), vmax(tile[2], tile[3]))
                    store(arena, y, vmin(high, vmax(low, best)))
                    x, y = x + 2 * pixel, y + out
                done = cols
            elif plain:
                for _ in range(cols // 2):
                    x, y = opaque(x), opaque(y)
                    tile = two_by_two(like, arena, x, step, below, pixel, 3 * pixel, u, v, w, start)
                    where = (y, y + out, y + y_row, y + y_row + out)
                    tile_store(tile_clamp(tile, lo, hi), arena, where, 0)
                    x, y = x + 2 * pixel, y + 2 * out
                done = cols // 2 * 2
            for j in range(done, cols, 2):
                beside, far = min(1, cols - 1 - j), min(3, cols + 1 - j) * pixel
                tile = two_by_two(like, arena, x, step, below, pixel, far, u, v, w, start)
                if add:
                    at, right = r + j * r_pixel, beside * r_pixel
                    where = (at, at + right, at + r_row, at + r_row + right)
                    tile = tile_add(tile, arena, where, 0)
                if slope >= 0:
                    tile = tile_slope(tile, load_like(like, bias, slope, c))
                tile = tile_clamp(tile, lo, hi)
                if pool == 1:
                    where = (y, y + beside * out, y + y_row, y + y_row + beside * out)
                    tile_store(tile, arena, where, 0)
                else:
                    store(arena, y, vmax(vmax(tile[0], tile[1]), vmax(tile[2], tile[3])))
                x, y = x + 2 * pixel, y + 2 // pool * out


@kernel(LAYER)
def conv_depthwise(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Depthwise convolution; rows are rows of the output (of the pooled one where POOL is 2).

    With POOL 2 the output is the maximum of 2 x 2 results; an odd last row or column is dropped, a
    residual ignored.
    """
    rows = shape[ROWS]
    for image in range(first // rows, (last + rows - 1) // rows):
        top, bottom = max(first - image * rows, 0), min(last - image * rows, rows)
        if WIDEST == 16 and shape[K] % 16 == 0:
            wide = splat16(float32(0))
            if shape[SLIDE] == 2:
                rows_by_winograd(wide, arena, weights, bias, shape, lo, hi, image, top, bottom)
            else:
                rows_of(wide, arena, weights, bias, shape, lo, hi, image, top, bottom)
        else:
            narrow = splat8(float32(0))
            rows_of(narrow, arena, weights, bias, shape, lo, hi, image, top, bottom)
