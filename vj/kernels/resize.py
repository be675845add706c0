"""Bilinear resize of 8-bit images, bit-equal to OpenCV's INTER_LINEAR_EXACT."""

import math

import numpy as np
from numba import int32, uint8, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import load16, splat16, store, to_u8


@device
def axis_tap(d, source, target):
    """Where pixel ``d`` of ``target`` lies among ``source``: (i, a), for pixels i and i + 1.

    They weigh 256 - a and a; ``a`` is 256 at the far end and ``i + 1`` is inside the image, unless
    the source has a single pixel: then both are 0.
    """
    position = (1.0 / (target / source)) * (d + 0.5) - 0.5
    first = math.floor(position)
    if first < 0 or source == 1:
        return 0, 0
    if first >= source - 1:
        return source - 2, 256
    return int(first), int(np.rint((position - first) * 256.0))


@device
def _blend_columns(gray, y, columns, out, row):
    step = 1 if gray.shape[1] > 1 else 0
    for x in range(columns.shape[1]):
        i, a = columns[0, x], columns[1, x]
        out[row, x] = (256 - a) * int(gray[y, i]) + a * int(gray[y, i + step])


@kernel(void(ro(uint8, 2), rw(int32, 2), rw(uint8, 2)))
def resize_bilinear(gray, scratch, out):
    """Fill ``out`` (H', W') with ``gray`` (H, W) resized.

    scratch : (4, W'): the taps of the columns and two source rows that are blended along x.
    """
    rows, cols = out.shape
    taps, blended = scratch[:2], scratch[2:]
    for x in range(cols):
        taps[0, x], taps[1, x] = axis_tap(x, gray.shape[1], cols)
    held = -2  # blended[k & 1] holds source row k, for k = held and held + 1
    for y in range(rows):
        i, b = axis_tap(y, gray.shape[0], rows)
        last = min(i + 1, gray.shape[0] - 1)
        for k in range(i, last + 1):
            if k < held or k > held + 1:
                _blend_columns(gray, k, taps, blended, k & 1)
        held = i
        upper, lower = (i & 1) * cols, (last & 1) * cols
        x = 0
        above, below, half = splat16(int32(256 - b)), splat16(int32(b)), splat16(int32(32768))
        while x + 16 <= cols:
            mix = above * load16(blended, upper + x) + below * load16(blended, lower + x)
            store(out, y * cols + x, to_u8((mix + half) >> splat16(int32(16))))
            x += 16
        while x < cols:
            mix = (256 - b) * blended[i & 1, x] + b * blended[last & 1, x]
            out[y, x] = (mix + 32768) >> 16
            x += 1
