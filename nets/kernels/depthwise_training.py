"""Depthwise convolution of plain NHWC arrays, forwards and backwards, and its weight gradient.

Eight or sixteen channels of a band of rows are copied, with zeros around them, to a place in the
cache where they lie side by side. From there all outputs of the band are computed alike. One kernel
serves the convolution and its transposed one, which is the gradient of the input: their outputs
fall into phases (one for the convolution, stride x stride for the transposed one).
"""

from numba import float32, int64, void

from nets.kernels.gemm import TILE, places, rows_of_tile
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    lanes_of,
    load_like,
    splat8,
    splat16,
    splat_like,
    store,
    tile_fma,
    tile_slide,
    tile_store,
)

# Fields of `shape`: sizes of source and target, channels (a multiple of 8); how far apart the
# outputs of a phase are, and their sources; rows of the largest phase, and in a band; first row and
# column that any tap reads, columns of a band, rows that it has beyond those of its outputs.
HIGH, WIDE, OUT_HIGH, OUT_WIDE, CHANNELS, STEP_DOWN, STEP_RIGHT, WALK_DOWN, WALK_RIGHT = range(9)
ROWS, BAND, TOP, LEFT, FRAME, REACH, N_PHASES, FIELDS = range(9, 17)
# A phase: its first output, rows and columns; whether its taps are 3 x 3 neighbours; the number of
# taps, and for each its place in the band and its weight.
P_ROW, P_COL, P_ROWS, P_COLS, P_SLIDE, P_TAPS, P_FIRST = range(7)


@device
def fill_band(like, x, image, shape, top, bottom, c, band):
    """Copy what the outputs top to bottom of all phases read."""
    lanes, channels, wide = lanes_of(like), shape[CHANNELS], shape[WIDE]
    zero, low, frame = splat_like(like, float32(0)), shape[LEFT], shape[FRAME]
    inside = min(wide - low, frame)  # columns before the image's last one
    to, row = 0, top * shape[WALK_DOWN] + shape[TOP]
    for i in range(row, row + (bottom - top - 1) * shape[WALK_DOWN] + 1 + shape[REACH]):
        exists = 0 <= i < shape[HIGH]
        at = ((image * shape[HIGH] + i) * wide + low) * channels + c
        for j in range(frame):
            value = zero
            if exists and -low <= j < inside:
                value = load_like(like, x, at, j * channels)
            store(band, to, value)
            to += lanes


@device
def sum_taps(like, tile, band, where, weights, shape, phase, c):
    """Add all taps of as many outputs as `tile` has vectors."""
    for t in range(phase + P_FIRST, phase + P_FIRST + 2 * shape[phase + P_TAPS], 2):
        w = load_like(like, weights, shape[t + 1] * shape[CHANNELS], c)
        tile = tile_fma(tile, band, where, shape[t] * lanes_of(like), w)
    return tile


@device
def sum_neighbours(like, tile, band, at, weights, shape, phase, c):
    """Add 3 x 3 taps of six outputs side by side, reading each pixel once a row."""
    t, channels = phase + P_FIRST, shape[CHANNELS]
    for _ in range(3):
        w = (
            load_like(like, weights, shape[t + 1] * channels, c),
            load_like(like, weights, shape[t + 3] * channels, c),
            load_like(like, weights, shape[t + 5] * channels, c),
        )
        tile = tile_slide(tile, band, at + shape[t] * lanes_of(like), lanes_of(like), w)
        t += 6
    return tile


@device
def one_band(like, x, weights, bias, y, shape, band, image, top, bottom, c):
    """Outputs top to bottom of all phases, the channels of `like` from c on."""
    fill_band(like, x, image, shape, top, bottom, c, band)
    lanes, channels, start = lanes_of(like), shape[CHANNELS], load_like(like, bias, c, 0)
    row, pixel = shape[WALK_DOWN] * shape[FRAME] * lanes, shape[WALK_RIGHT] * lanes
    phase = int64(FIELDS)
    for _ in range(shape[N_PHASES]):
        i, j, cols = int64(0), int64(0), shape[phase + P_COLS]
        left = (min(bottom, shape[phase + P_ROWS]) - top) * cols
        line = image * shape[OUT_HIGH] + top * shape[STEP_DOWN] + shape[phase + P_ROW]
        to = (line * shape[OUT_WIDE] + shape[phase + P_COL]) * channels + c
        to_row = shape[STEP_DOWN] * shape[OUT_WIDE] * channels
        while left > 0:
            where = places(left, i, j, cols, int64(0), row, pixel)
            target = places(left, i, j, cols, to, to_row, shape[STEP_RIGHT] * channels)
            count = rows_of_tile(left)
            six = (start, start, start, start, start, start)
            if count == TILE:
                if shape[phase + P_SLIDE] == 1 and j + TILE <= cols and left >= TILE:
                    six = sum_neighbours(like, six, band, where[0], weights, shape, phase, c)
                else:
                    six = sum_taps(like, six, band, where, weights, shape, phase, c)
                tile_store(six, y, target, 0)
            else:
                four = sum_taps(like, six[:4], band, where[:4], weights, shape, phase, c)
                tile_store(four, y, target[:4], 0)
            left -= count
            j += count
            while j >= cols:
                j -= cols
                i += 1
        phase += P_FIRST + 2 * shape[phase + P_TAPS]


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1),
        rw(float32, 1), int64, int64,
    )
)  # fmt: skip
def depthwise(x, weights, bias, y, shape, band, first, last):
    """Compute the bands first to last of all images; weights (taps, channels), bias (channels)."""
    channels, bands = shape[CHANNELS], (shape[ROWS] + shape[BAND] - 1) // shape[BAND]
    wide, narrow = splat16(float32(0)), splat8(float32(0))
    for at in range(first, last):
        image, top = at // bands, at % bands * shape[BAND]
        bottom = min(top + shape[BAND], shape[ROWS])
        for c in range(0, channels - 15, 16):
            one_band(wide, x, weights, bias, y, shape, band, image, top, bottom, c)
        if channels % 16:
            c = channels - 8
            one_band(narrow, x, weights, bias, y, shape, band, image, top, bottom, c)


@device
def place_of_tap(shape, t, lanes):
    """Where tap `t` of the only phase reads, the last one repeated."""
    return shape[FIELDS + P_FIRST + 2 * min(t, shape[FIELDS + P_TAPS] - 1)] * lanes


@device
def nine_weights(like, x, gy, out, shape, band, image, first, c):
    """Gradient of nine weights from tap `first` on, summed over one image."""
    lanes, channels, zero = lanes_of(like), shape[CHANNELS], splat_like(like, float32(0))
    nine = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
    where = (
        place_of_tap(shape, first, lanes),
        place_of_tap(shape, first + 1, lanes),
        place_of_tap(shape, first + 2, lanes),
        place_of_tap(shape, first + 3, lanes),
        place_of_tap(shape, first + 4, lanes),
        place_of_tap(shape, first + 5, lanes),
        place_of_tap(shape, first + 6, lanes),
        place_of_tap(shape, first + 7, lanes),
        place_of_tap(shape, first + 8, lanes),
    )
    row, pixel = shape[WALK_DOWN] * shape[FRAME] * lanes, shape[WALK_RIGHT] * lanes
    for top in range(0, shape[ROWS], shape[BAND]):
        bottom = min(top + shape[BAND], shape[ROWS])
        fill_band(like, x, image, shape, top, bottom, c, band)
        at = (image * shape[OUT_HIGH] + top) * shape[OUT_WIDE] * channels + c
        for i in range(bottom - top):
            source = i * row
            for _ in range(shape[OUT_WIDE]):
                nine = tile_fma(nine, band, where, source, load_like(like, gy, at, 0))
                source += pixel
                at += channels
    taps = shape[FIELDS + P_TAPS]
    for t in range(min(9, taps - first)):
        store(out, (image * taps + first + t) * channels + c, nine[t])


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1), rw(float32, 1), int64, int64
    )
)  # fmt: skip
def depthwise_gradient(x, gy, out, shape, band, first, last):
    """Gradient (images, taps, channels) of the weights for the images first to last."""
    channels = shape[CHANNELS]
    for image in range(first, last):
        for t in range(0, shape[FIELDS + P_TAPS], 9):
            for c in range(0, channels - 15, 16):
                nine_weights(splat16(float32(0)), x, gy, out, shape, band, image, t, c)
            if channels % 16:
                c = channels - 8
                nine_weights(splat8(float32(0)), x, gy, out, shape, band, image, t, c)
