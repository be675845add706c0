"""Direct convolution: dense, strided, dilated, grouped, 1x1, transposed by phases; one kernel.

Every layer kernel of this folder is called in the same way::

    kernel(arena, weights, bias, shape, lo, hi, first, last, scratch)

arena : float32 (n,). Every activation of a network. A tensor is NHWC with a zero halo around each
    image: the float of image n, row i, column j, channel c is at
    ``offset + n * image + i * row + j * pixel + c``, also for i or j outside the image as far as
    the halo reaches, so that padding costs nothing. ``pixel`` is the channel count rounded up to a
    multiple of 8 (LANES); the channels beyond the real ones hold anything finite. Only the input of
    a direct convolution may have any ``pixel`` (3 for an image).
weights, bias : float32, packed by `nets.conv.packing`, which also writes ``shape``.
shape : int64, the geometry: the fields named below and the tables they point to.
lo, hi : float32. Activation: the output is clamped to lo..hi (-inf..inf linear, 0..inf relu,
    0..6 relu6); NaN stays NaN.
first, last : int64. Band of rows to compute, out of ``images * shape[ROWS]``: bands may run in any
    order and in any number of threads, the answer is the same to the last bit. A kernel says what
    its rows are: output rows, rows of pooled outputs, of Winograd tiles, of transposed phases.
scratch : float32, private to the calling thread, as long as `nets.conv.packing` says (0 here).

A convolution is a list of taps (offsets from the output's own input pixel), each followed by a run
of input channels; at dilation 1 a whole kernel row is one run. A transposed convolution of stride s
is s x s such convolutions (phases) with a subset of the taps, each writing every s-th pixel.
"""

from numba import float32, int64, void

from nets.kernels.gemm import TILE, multiply, places, rows_of_tile
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    lanes_of,
    load_like,
    splat8,
    splat16,
    tile_add,
    tile_clamp,
    tile_slope,
    tile_store,
)

LAYER = void(
    rw(float32, 1),
    ro(float32, 1),
    ro(float32, 1),
    ro(int64, 1),
    float32,
    float32,
    int64,
    int64,
    rw(float32, 1),
)

# Fields of `shape` that all layers share. X is where the first tap of output (0, 0) reads, X_ROW
# and X_PIXEL what one output row or column further adds; R is a residual added before the
# activation (-1: none); K counts output channels, a multiple of 8.
X, X_ROW, X_PIXEL, X_IMAGE, Y, Y_ROW, Y_PIXEL, Y_IMAGE, R, R_ROW, R_PIXEL, R_IMAGE = range(12)
ROWS, COLS, K = 12, 13, 14
SLOPE = 15  # where in `bias` the K slopes of a PReLU start (-1: none)
# Direct convolution: BLOCK rows stay in cache while all channels are computed. Tables: the first
# input channel of each 16 output channels (groups), and the phases.
BLOCK, CHANNELS, PHASES, N_PHASES, FIELDS = 16, 17, 18, 19, 20
# A phase: output and residual offset, its rows and columns, where its tap offsets start and how
# many they are, channels in the run of each tap, first weight.
P_Y, P_R, P_ROWS, P_COLS, P_TAP, P_TAPS, P_RUN, P_WEIGHT, PHASE = range(9)


@device
def conv_tile(tile, x, weights, bias, y, shape, lo, hi, phase, k, at, where, target, extra):
    """Pixels at the places `where`, the channels from k on: sum, residual, activation, store."""
    run, first = shape[phase + P_RUN], shape[phase + P_TAP]
    lanes = lanes_of(tile[0])
    for t in range(first, first + shape[phase + P_TAPS]):
        tile = multiply(tile, x, where, shape[t], run, lanes, weights, at)
        at += run * lanes
    if shape[R] >= 0:
        tile = tile_add(tile, y, extra, 0)
    if shape[SLOPE] >= 0:
        tile = tile_slope(tile, load_like(tile[0], bias, shape[SLOPE], k))
    tile_store(tile_clamp(tile, lo, hi), y, target, 0)


@device
def conv_block(like, x, weights, bias, y, shape, lo, hi, image, phase, top, bottom, k):
    """Rows top..bottom of one phase and one image, the channels k to k + lanes of `like`."""
    at = shape[phase + P_WEIGHT] + k * shape[phase + P_TAPS] * shape[phase + P_RUN]
    source = shape[X] + image * shape[X_IMAGE] + shape[shape[CHANNELS] + k // 16]
    to = shape[Y] + image * shape[Y_IMAGE] + shape[phase + P_Y] + k
    r = shape[R] + image * shape[R_IMAGE] + shape[phase + P_R] + k
    cols = shape[phase + P_COLS]
    start = load_like(like, bias, k, 0)
    six = (start, start, start, start, start, start)
    i, j, left = top, int64(0), (bottom - top) * cols
    while left > 0:
        where = places(left, i, j, cols, source, shape[X_ROW], shape[X_PIXEL])
        target = places(left, i, j, cols, to, shape[Y_ROW], shape[Y_PIXEL])
        extra = target
        if shape[R] >= 0:
            extra = places(left, i, j, cols, r, shape[R_ROW], shape[R_PIXEL])
        count = rows_of_tile(left)
        if count == TILE:
            conv_tile(six, x, weights, bias, y, shape, lo, hi, phase, k, at, where, target, extra)
        else:
            conv_tile(
                six[:4], x, weights, bias, y, shape, lo, hi, phase, k, at,
                where[:4], target[:4], extra[:4],
            )  # fmt: skip
        left -= count
        j += count
        while j >= cols:
            j -= cols
            i += 1


@device
def conv_rows(x, weights, bias, y, shape, lo, hi, first, last):
    """Rows first to last of all images, from the memory x to the memory y."""
    rows = shape[ROWS]
    for image in range(first // rows, (last + rows - 1) // rows):
        end = min(last - image * rows, rows)
        for top in range(max(first - image * rows, 0), end, shape[BLOCK]):
            for p in range(shape[N_PHASES]):
                phase = shape[PHASES] + p * PHASE
                bottom = min(top + shape[BLOCK], end, shape[phase + P_ROWS])
                for k in range(0, shape[K], 16):
                    if k + 16 <= shape[K]:
                        conv_block(
                            splat16(float32(0)),
                            x, weights, bias, y, shape, lo, hi, image, phase, top, bottom, k,
                        )  # fmt: skip
                    else:
                        conv_block(
                            splat8(float32(0)),
                            x, weights, bias, y, shape, lo, hi, image, phase, top, bottom, k,
                        )  # fmt: skip


@kernel(LAYER)
def conv_direct(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Convolution by register tiles; rows are output rows (of the largest phase).

    Input channels need not be a multiple of anything, output channels are computed in eights.
    """
    conv_rows(arena, weights, bias, arena, shape, lo, hi, first, last)
