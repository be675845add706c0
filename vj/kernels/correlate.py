"""Correlation of an image with a kernel: sums of products, by SIMD vectors along the rows.

Rows of the image enter a ring of rows in floating point, widened by what lies beyond the border.
There every output pixel is a plain sum over the kernel, taken in the same order wherever the pixel
lies: kernel rows from the top, taps from the left, each product fused with its addition.
"""

from numba import float32, float64, int32, int64, uint8, void
from numba.types import Tuple, UniTuple

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import at, fma, load8, load16, splat8, splat16, store

_BORDER = Tuple((ro(int32, 1), ro(int32, 1), int64))
_IN_F32, _OUT_F32 = ro(float32, 2), rw(float32, 2)
_IN_F64, _OUT_F64 = ro(float64, 2), rw(float64, 2)


@device
def _enter(image, y, columns, left, cval, ring, slot):
    # `columns` says which pixel stands where, -1 for cval; from `left` on they stand as they are.
    width = columns.shape[0]
    inner = min(image.shape[1], width - left) if y >= 0 else 0
    source, target = image[max(y, 0)], ring[slot, left : left + inner]  # two slices vectorise
    for x in range(inner):
        target[x] = source[x]
    for x in range(left):
        ring[slot, x] = image[y, columns[x]] if y >= 0 and columns[x] >= 0 else cval
    for x in range(left + inner, width):
        ring[slot, x] = image[y, columns[x]] if y >= 0 and columns[x] >= 0 else cval


@device
def _spill(ring, out, y, x, lanes):
    # The last vectors of a row reach beyond it: they were written to the spare row of the ring.
    for k in range(min(lanes, out.shape[1] - x)):
        out[y, x + k] = ring[ring.shape[0] - 1, k]


@device
def _one_row(ring, slots, slot, weights, step, out, y):
    # One output row: each weight is loaded once for 64 pixels.
    rows, taps = weights.shape
    pitch, cols = ring.shape[1], out.shape[1]
    spare = slots * pitch
    zero = splat16(weights.dtype.type(0))
    for x in range(0, cols, 64):
        a, b, c, d = zero, zero, zero, zero
        turn = slot
        for i in range(rows):
            place = turn * pitch + x
            turn = turn + 1 if turn + 1 < slots else 0
            for k in range(i * taps, i * taps + taps):
                w = splat16(at(weights, k))
                a = fma(w, load16(ring, place), a)
                b = fma(w, load16(ring, place + 16), b)
                c = fma(w, load16(ring, place + 32), c)
                d = fma(w, load16(ring, place + 48), d)
                place += step
        if x + 64 <= cols:
            here = y * cols + x
            store(out, here, a)
            store(out, here + 16, b)
            store(out, here + 32, c)
            store(out, here + 48, d)
        else:
            store(ring, spare, a)
            store(ring, spare + 16, b)
            store(ring, spare + 32, c)
            store(ring, spare + 48, d)
            _spill(ring, out, y, x, 64)


@device
def _taps(ring, place, weights, i, step, a, b):
    taps = weights.shape[1]
    for k in range(i * taps, i * taps + taps):
        w = splat8(at(weights, k))
        a = fma(w, load8(ring, place), a)
        b = fma(w, load8(ring, place + 8), b)
        place += step
    return a, b


@device
def _put(ring, spare, out, y, x, a, b):
    if y < out.shape[0]:
        if x + 16 <= out.shape[1]:
            store(out, y * out.shape[1] + x, a)
            store(out, y * out.shape[1] + x + 8, b)
        else:
            store(ring, spare, a)
            store(ring, spare + 8, b)
            _spill(ring, out, y, x, 16)


@device
def _four_rows(ring, slots, slot, weights, step, out, y):
    # Four output rows: each pixel is loaded once for up to four rows of the kernel.
    rows, taps = weights.shape
    pitch = ring.shape[1]
    spare = slots * pitch
    zero = splat8(weights.dtype.type(0))
    for x in range(0, out.shape[1], 16):
        a0, b0, a1, b1, a2, b2, a3, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        turn = slot
        for i in range(rows + 3):
            place = turn * pitch + x
            turn = turn + 1 if turn + 1 < slots else 0
            if 3 <= i < rows:
                for k in range(i * taps, i * taps + taps):
                    u, v = load8(ring, place), load8(ring, place + 8)
                    w = splat8(at(weights, k))
                    a0, b0 = fma(w, u, a0), fma(w, v, b0)
                    w = splat8(at(weights, k - taps))
                    a1, b1 = fma(w, u, a1), fma(w, v, b1)
                    w = splat8(at(weights, k - 2 * taps))
                    a2, b2 = fma(w, u, a2), fma(w, v, b2)
                    w = splat8(at(weights, k - 3 * taps))
                    a3, b3 = fma(w, u, a3), fma(w, v, b3)
                    place += step
            else:
                if i < rows:
                    a0, b0 = _taps(ring, place, weights, i, step, a0, b0)
                if 1 <= i <= rows:
                    a1, b1 = _taps(ring, place, weights, i - 1, step, a1, b1)
                if 2 <= i <= rows + 1:
                    a2, b2 = _taps(ring, place, weights, i - 2, step, a2, b2)
                if 3 <= i:
                    a3, b3 = _taps(ring, place, weights, i - 3, step, a3, b3)
        _put(ring, spare, out, y, x, a0, b0)
        _put(ring, spare, out, y + 1, x, a1, b1)
        _put(ring, spare, out, y + 2, x, a2, b2)
        _put(ring, spare, out, y + 3, x, a3, b3)


@device
def _direct(image, border, cval, weights, step, ring, out):
    rows, columns, left = border
    slots = ring.shape[0] - 1
    together = 4 if weights.shape[0] >= 8 else 1
    entered = 0
    for y in range(0, out.shape[0], together):
        needed = min(y + together + weights.shape[0] - 1, rows.shape[0])
        while entered < needed:
            _enter(image, rows[entered], columns, left, cval, ring, entered % slots)
            entered += 1
        if together == 4:
            _four_rows(ring, slots, y % slots, weights, step, out, y)
        else:
            _one_row(ring, slots, y % slots, weights, step, out, y)


@device
def _separable(image, border, cval, factors, step, ring, out):
    rows, columns, left = border
    across, down = factors
    line, blended = ring
    slots = blended.shape[0] - 1
    entered = 0
    for y in range(out.shape[0]):
        while entered < y + down.shape[0]:
            _enter(image, rows[entered], columns, left, cval, line, 0)
            _one_row(line, 1, 0, across, step, blended, entered % slots)
            entered += 1
        _one_row(blended, slots, y % slots, down, 1, out, y)


@kernel(void(ro(uint8, 2), _BORDER, float32, _IN_F32, int64, _OUT_F32, _OUT_F32))
def correlate_u8(image, border, cval, weights, step, ring, out):
    """Fill ``out`` (H', W') with the correlation of ``image`` (H, W) and ``weights`` (rows, taps).

    border : rows (H' + rows - 1,) and columns (W' + (taps - 1) * step,) of the image that stand in
    the widened one, -1 for ``cval``; and ``left``, from where on the columns are 0, 1, 2 and so on.
    step : from one tap to the next, which is the number of channels of an interleaved image.
    ring : zeros, (rows + 4, W' rounded up to 64 + (taps - 1) * step).
    """
    _direct(image, border, cval, weights, step, ring, out)


@kernel(void(_IN_F32, _BORDER, float32, _IN_F32, int64, _OUT_F32, _OUT_F32))
def correlate_f32(image, border, cval, weights, step, ring, out):
    """`correlate_u8` of float32 images."""
    _direct(image, border, cval, weights, step, ring, out)


@kernel(void(_IN_F64, _BORDER, float64, _IN_F64, int64, _OUT_F64, _OUT_F64))
def correlate_f64(image, border, cval, weights, step, ring, out):
    """`correlate_u8` of float64 images."""
    _direct(image, border, cval, weights, step, ring, out)


@kernel(
    void(
        ro(uint8, 2), _BORDER, float32, UniTuple(_IN_F32, 2), int64, UniTuple(_OUT_F32, 2), _OUT_F32
    )
)
def separable_u8(image, border, cval, factors, step, ring, out):
    """`correlate_u8` with a kernel that is ``down`` (rows, 1) times ``across`` (1, taps).

    factors : across, down.  ring : zeros; (2, as there) and (rows + 1, W' rounded up to 64).
    """
    _separable(image, border, cval, factors, step, ring, out)


@kernel(
    void(_IN_F32, _BORDER, float32, UniTuple(_IN_F32, 2), int64, UniTuple(_OUT_F32, 2), _OUT_F32)
)
def separable_f32(image, border, cval, factors, step, ring, out):
    """`separable_u8` of float32 images."""
    _separable(image, border, cval, factors, step, ring, out)


@kernel(
    void(_IN_F64, _BORDER, float64, UniTuple(_IN_F64, 2), int64, UniTuple(_OUT_F64, 2), _OUT_F64)
)
def separable_f64(image, border, cval, factors, step, ring, out):
    """`separable_u8` of float64 images."""
    _separable(image, border, cval, factors, step, ring, out)
