"""Weights on their way into the kernels, and the gradients of weights of dense layers.

Packed weights are (blocks of 16 outputs, taps, channels, 16) floats, the last block 8 wide where
that is enough, one such array for every phase behind the other. The gradient of the weights comes
in the same order: it is computed by the register tile of all dense layers (`nets.kernels.gemm`),
held in registers while it runs over pixels: six channels of the input by sixteen of the gradient.
"""

from numba import float32, int64, void

from nets.kernels.gemm import TILE, rows_of_tile
from nets.kernels.masked import masked_load, masked_store
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    at,
    lanes_of,
    load8,
    load16,
    load_like,
    splat8,
    splat16,
    splat_like,
    store,
    tile_outer,
    tile_store,
    transpose8,
)

# Fields of `shape` for packing: the outputs that exist, the first one to pack and how many (a
# multiple of 8); input channels; what one output and one channel further add in the weights;
# phases, each the number of its taps and where they lie, in the table behind.
OUTPUTS, FIRST, COUNT, INPUTS, OUT_STEP, IN_STEP, N_PHASES, PACKING = range(8)
# Fields of `shape` for the gradient: where the first tap of the first pixel lies, what a step in
# each of three directions adds (in x and in the gradient y), the steps; BLOCK steps of the second
# direction stay in cache; K outputs, floats in the run of each tap, whether to start at zero. The
# offsets of the taps in x, and then in y, are the table behind.
X, X_0, X_1, X_2, Y, Y_0, Y_1, Y_2, N_0, N_1, N_2 = range(11)
BLOCK, K, RUN, TAPS, FRESH, GRADIENT = range(11, 17)


@device
def eight_rows(x, i, step):
    """Eight numbers of each of eight rows, which are ``step`` apart."""
    return (
        load8(x, i), load8(x, i + step), load8(x, i + 2 * step), load8(x, i + 3 * step),
        load8(x, i + 4 * step), load8(x, i + 5 * step), load8(x, i + 6 * step),
        load8(x, i + 7 * step),
    )  # fmt: skip


@device
def turn(x, i, step, y, o, along):
    """Copy an 8 x 8 matrix, transposed; its rows are ``step`` apart, the copy's ``along``."""
    a, b, c, d, e, f, g, h = transpose8(eight_rows(x, i, step))
    store(y, o, a)
    store(y, o + along, b)
    store(y, o + 2 * along, c)
    store(y, o + 3 * along, d)
    store(y, o + 4 * along, e)
    store(y, o + 5 * along, f)
    store(y, o + 6 * along, g)
    store(y, o + 7 * along, h)


@kernel(void(ro(float32, 1), rw(float32, 1), ro(int64, 1), int64, int64))
def pack_weights(w, out, shape, first, last):
    """Pack the blocks of 16 outputs first to last (counted from FIRST on)."""
    step, channels = shape[OUT_STEP], shape[INPUTS]
    for block in range(first, last):
        k = 16 * block
        lanes = min(16, shape[COUNT] - k)
        real = min(lanes, shape[OUTPUTS] - shape[FIRST] - k)
        table, before = PACKING + 1, 0
        for _ in range(shape[N_PHASES]):
            taps = shape[table - 1]
            base = (before * shape[COUNT] + k * taps) * channels
            start = int64(0)
            if taps == 1 and shape[IN_STEP] == 1 and real == 16:
                source = (shape[FIRST] + k) * step + shape[table]
                for c in range(0, channels - 7, 8):
                    turn(w, source + c, step, out, base + 16 * c, 16)
                    turn(w, source + 8 * step + c, step, out, base + 16 * c + 8, 16)
                start = channels // 8 * 8
            for c in range(start, channels):
                source = (shape[FIRST] + k) * step + c * shape[IN_STEP]
                for t in range(taps):
                    i, o = source + shape[table + t], base + (t * channels + c) * lanes
                    if real == 16 and step == 1:
                        store(out, o, load16(w, i))
                    elif real == 16:
                        for n in range(16):
                            out[o + n] = at(w, i + n * step)
                    else:
                        for n in range(real):
                            out[o + n] = at(w, i + n * step)
                        for n in range(real, lanes):
                            out[o + n] = 0
            table, before = table + taps + 1, before + taps


@kernel(void(ro(float32, 2), rw(float32, 1), ro(int64, 1), int64, int64))
def unpack_weights(parts, w, shape, first, last):
    """Write the sum over parts (parts, size), in order, where `pack_weights` reads (one phase)."""
    step, channels, taps, table = shape[OUT_STEP], shape[INPUTS], shape[PACKING], PACKING + 1
    size = parts.shape[1]
    for block in range(first, last):
        k = 16 * block
        lanes = min(16, shape[COUNT] - k)
        real, start = min(lanes, shape[OUTPUTS] - shape[FIRST] - k), int64(0)
        if taps == 1 and shape[IN_STEP] == 1 and real == 16 and parts.shape[0] == 1:
            target = (shape[FIRST] + k) * step + shape[table]
            for c in range(0, channels - 7, 8):
                i = k * channels + 16 * c
                turn(parts, i, 16, w, target + c, step)
                turn(parts, i + 8, 16, w, target + 8 * step + c, step)
            start = channels // 8 * 8
        for c in range(start, channels):
            target = (shape[FIRST] + k) * step + c * shape[IN_STEP]
            for t in range(taps):
                i = (k * taps + t * lanes) * channels + c * lanes
                o = target + shape[table + t]
                if parts.shape[0] == 1 and real == 16:
                    for n in range(16):
                        w[o + n * step] = at(parts, i + n)
                else:
                    for n in range(real):
                        total = float32(0)
                        for part in range(parts.shape[0]):
                            total += at(parts, part * size + i + n)
                        w[o + n * step] = total


@device
def over_pixels(tile, x, where, start, gy, begin, shape, top, bottom):
    """Add x times gy over the rows top to bottom of direction 1."""
    for i in range(top, bottom):
        xo, yo = start + i * shape[X_1], begin + i * shape[Y_1]
        for _ in range(shape[N_2]):
            tile = tile_outer(tile, x, where, xo, load_like(tile[0], gy, yo, 0))
            xo += shape[X_2]
            yo += shape[Y_2]
    return tile


@device
def six_from(c, last, step):
    """Places of the six channels from c on, the last one repeated."""
    return (
        c * step,
        min(c + 1, last) * step,
        min(c + 2, last) * step,
        min(c + 3, last) * step,
        min(c + 4, last) * step,
        min(c + 5, last) * step,
    )


@device
def one_block(like, x, gy, out, shape, d, top, bottom, k, fresh):
    """All taps and channels for the outputs k to k + lanes of `like`, over one block of pixels."""
    lanes, run, taps, zero = lanes_of(like), shape[RUN], shape[TAPS], splat_like(like, float32(0))
    for t in range(taps):
        start = shape[X] + d * shape[X_0] + shape[GRADIENT + t]
        begin = shape[Y] + d * shape[Y_0] + shape[GRADIENT + taps + t] + k
        o, c = (k * taps + t * lanes) * run, int64(0)
        while c < run:
            where, target = six_from(c, run - 1, int64(1)), six_from(c, run - 1, lanes)
            tile = (zero, zero, zero, zero, zero, zero)
            if not fresh:
                tile = (
                    load_like(like, out, o, target[0]),
                    load_like(like, out, o, target[1]),
                    load_like(like, out, o, target[2]),
                    load_like(like, out, o, target[3]),
                    load_like(like, out, o, target[4]),
                    load_like(like, out, o, target[5]),
                )
            count = rows_of_tile(run - c)
            if count == TILE:
                tile = over_pixels(tile, x, where, start, gy, begin, shape, top, bottom)
                tile_store(tile, out, target, o)
            else:
                four = over_pixels(tile[:4], x, where[:4], start, gy, begin, shape, top, bottom)
                tile_store(four, out, target[:4], o)
            c += count


@kernel(void(ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1)))
def weight_gradient(x, gy, out, shape):
    """Sum over all pixels of input times gradient, for every tap; added to `out` unless FRESH."""
    for d in range(shape[N_0]):
        for top in range(0, shape[N_1], shape[BLOCK]):
            bottom = min(top + shape[BLOCK], shape[N_1])
            fresh = shape[FRESH] == 1 and d == 0 and top == 0
            for k in range(0, shape[K], 16):
                if k + 16 <= shape[K]:
                    one_block(splat16(float32(0)), x, gy, out, shape, d, top, bottom, k, fresh)
                else:
                    one_block(splat8(float32(0)), x, gy, out, shape, d, top, bottom, k, fresh)


@kernel(void(ro(float32, 2), rw(float32, 2), int64, int64))
def sum_rows(x, out, first, last):
    """Column sums of each of the bands first to last of x, of which there are `len(out)`."""
    parts, channels = out.shape
    for part in range(first, last):
        o = part * channels
        for c in range(channels):
            out[part, c] = 0
        for i in range(part * len(x) // parts, (part + 1) * len(x) // parts):
            c = 0
            while c + 8 <= channels:
                store(out, o + c, load8(out, o + c) + load8(x, i * channels + c))
                c += 8
            while c < channels:
                out[part, c] += at(x, i * channels + c)
                c += 1


@device
def copy_run(x, i, out, o, count):
    """Copy `count` floats."""
    k = 0
    while k + 16 <= count:
        store(out, o + k, load16(x, i + k))
        k += 16
    while k < count:
        out[o + k] = at(x, i + k)
        k += 1


@device
def zero_run(out, o, count):
    """Zero `count` floats."""
    k = 0
    while k + 16 <= count:
        store(out, o + k, splat16(float32(0)))
        k += 16
    while k < count:
        out[o + k] = 0
        k += 1


@kernel(void(ro(float32, 1), rw(float32, 1), int64, int64, int64, int64))
def cut_rows(x, out, have, want, first, last):
    """Copy rows of ``have`` numbers to rows of ``want``: the rest is dropped, or zeros."""
    for row in range(first, last):
        i, o = row * have, row * want
        for c in range(0, want, 8):
            v = splat8(float32(0))
            if c < have:
                v = masked_load(x, i + c, have - c)
            # What a vector writes behind its row belongs to the next one, whose turn is next.
            masked_store(out, o + c, v, 8 if row + 1 < last and want >= 8 - want % 8 else want - c)


@kernel(
    void(
        ro(float32, 1), rw(float32, 1), int64, int64, int64, int64, int64, int64, int64, int64
    )
)  # fmt: skip
def put_frame(x, out, rows, width, high, wide, top, left, first, last):
    """Copy images of rows x width floats into the middle of high x wide ones, zeros around them.

    top rows and left floats come before. Images first to last are done.
    """
    for image in range(first, last):
        o = image * high * wide
        zero_run(out, o, top * wide)
        o += top * wide
        for i in range(rows):
            zero_run(out, o, left)
            copy_run(x, (image * rows + i) * width, out, o + left, width)
            zero_run(out, o + left + width, wide - left - width)
            o += wide
        zero_run(out, o, (high - top - rows) * wide)
