"""Integral images (Viola & Jones 2004, section 2.1); sums of boxes in constant time and naively.

``ii[y, x]`` is the sum over the pixels above and to the left of the corner ``(x, y)``.
The tilted one (Lienhart & Maydt 2002, section 2.2) has at ``(x, y)`` the sum over the quarter plane
that opens upwards from there: the pixels with ``px + py < x + y - 1`` and ``py - px < y - x + 1``.
"""

from numba import int32, int64, uint8, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    at,
    last_lane,
    load16,
    load32,
    prefix_sum,
    splat16,
    splat32,
    store,
    to_i32,
    to_i64,
    to_u16,
)


@kernel(void(ro(uint8, 2), rw(int32, 2)))
def integral_sum(gray, out):
    """Fill ``out`` with the zero-bordered integral image of ``gray``.

    gray : (H, W).  out : (H+1, W+1); sums wrap modulo 2**32, differences of four stay right.
    """
    rows, cols = gray.shape
    pitch = cols + 1
    out[0] = 0
    for y in range(rows):
        source, above, here = y * cols, y * pitch + 1, (y + 1) * pitch + 1
        out[y + 1, 0] = 0
        run = splat32(int32(0))
        x = 0
        while x + 32 <= cols:
            # 32 pixels sum to less than 2**16, and narrow lanes are the cheap ones to add up.
            sums = to_i32(prefix_sum(to_u16(load32(gray, source + x))))
            store(out, here + x, (sums + run) + load32(out, above + x))
            run = run + last_lane(sums)
            x += 32
        while x < cols:
            out[y + 1, x + 1] = out[y + 1, x] - out[y, x] + out[y, x + 1] + int32(gray[y, x])
            x += 1


@kernel(void(ro(uint8, 2), rw(int64, 2)))
def integral_squares(gray, out):
    """Fill ``out`` with the zero-bordered integral image of ``gray ** 2``; (H, W), (H+1, W+1)."""
    rows, cols = gray.shape
    pitch = cols + 1
    out[0] = 0
    for y in range(rows):
        source, above, here = y * cols, y * pitch + 1, (y + 1) * pitch + 1
        out[y + 1, 0] = 0
        run = splat16(int64(0))
        x = 0
        while x + 16 <= cols:
            pixels = to_i32(load16(gray, source + x))
            sums = to_i64(prefix_sum(pixels * pixels))
            store(out, here + x, (sums + run) + load16(out, above + x))
            run = run + last_lane(sums)
            x += 16
        while x < cols:
            square = int64(gray[y, x]) * int64(gray[y, x])
            out[y + 1, x + 1] = out[y + 1, x] - out[y, x] + out[y, x + 1] + square
            x += 1


@kernel(void(ro(uint8, 2), rw(int32, 2)))
def integral_tilted(gray, out):
    """Fill ``out`` with the tilted integral image of ``gray``; (H, W), (H+1, W+1).

    T[y, x] = T[y-1, x-1] + T[y-1, x+1] - T[y-2, x] + gray[y-1, x-1] + gray[y-2, x-1]; beyond the
    left and right border T is equal to T one row up on the border.
    """
    rows, cols = gray.shape
    pitch = cols + 1
    out[0] = 0
    out[1, 0] = 0
    for x in range(cols):
        out[1, x + 1] = gray[0, x]
    for y in range(2, rows + 1):
        here, above, pixel = y * pitch, (y - 1) * pitch, (y - 1) * cols
        out[y, 0] = out[y - 1, 1]
        x = 1
        while x + 16 <= cols:
            sides = load16(out, above + x - 1) + load16(out, above + x + 1)
            before = load16(out, above - pitch + x)
            pixels = to_i32(load16(gray, pixel + x - 1)) + to_i32(
                load16(gray, pixel - cols + x - 1)
            )
            store(out, here + x, (sides - before) + pixels)
            x += 16
        while x < cols:
            sides = out[y - 1, x - 1] + out[y - 1, x + 1] - out[y - 2, x]
            out[y, x] = sides + int32(gray[y - 1, x - 1]) + int32(gray[y - 2, x - 1])
            x += 1
        pixels = int32(gray[y - 1, cols - 1]) + int32(gray[y - 2, cols - 1])
        out[y, cols] = out[y - 1, cols - 1] + pixels


@device
def box_sum(ii, origin, pitch, x, y, w, h):
    """Sum of an upright box, for a window whose corner has flat index ``origin`` in ``ii``."""
    top = origin + y * pitch + x
    bottom = top + h * pitch
    return at(ii, top) - at(ii, top + w) - at(ii, bottom) + at(ii, bottom + w)


@device
def tilted_box_sum(iit, origin, pitch, x, y, w, h):
    """Sum of a tilted box: from (x, y) ``w`` steps down to the right, ``h`` down to the left."""
    top = origin + y * pitch + x
    right, left = w * (pitch + 1), h * (pitch - 1)
    return at(iit, top) - at(iit, top + left) - at(iit, top + right) + at(iit, top + left + right)


@device
def _box_sums(ii, boxes, tilted, out):
    pitch = ii.shape[1]
    for i in range(boxes.shape[0]):
        x, y, w, h = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        if tilted:
            out[i] = tilted_box_sum(ii, 0, pitch, x, y, w, h)
        else:
            out[i] = box_sum(ii, 0, pitch, x, y, w, h)


@kernel(void(ro(int32, 2), ro(int64, 2), int64, rw(int64, 1)))
def box_sums(ii, boxes, tilted, out):
    """Sums of boxes from an integral image: four reads a box, whatever its size.

    ii : (H+1, W+1), tilted if ``tilted``.  boxes : (n, 4) x, y, w, h inside it.  out : (n,).
    """
    _box_sums(ii, boxes, tilted, out)


@kernel(void(ro(int64, 2), ro(int64, 2), int64, rw(int64, 1)))
def box_sums_i64(ii, boxes, tilted, out):
    """`box_sums` of a squared integral image."""
    _box_sums(ii, boxes, tilted, out)


@kernel(void(ro(uint8, 2), ro(int64, 2), int64, rw(int64, 1)))
def box_sums_naive(gray, boxes, tilted, out):
    """The same sums pixel by pixel: what an integral image is measured against."""
    for i in range(boxes.shape[0]):
        x, y, w, h = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        total = int64(0)
        if tilted:
            for py in range(y, y + w + h):
                first = max(x + y - 1 - py, py - (y - x + 2 * h))
                last = min(x + y - 2 - py + 2 * w, py - (y - x + 1))
                for px in range(first, last + 1):
                    total += int64(gray[py, px])
        else:
            for py in range(y, y + h):
                for px in range(x, x + w):
                    total += int64(gray[py, px])
        out[i] = total
