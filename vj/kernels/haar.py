"""Responses of Haar features: weighted sums of up to three boxes, upright or tilted.

A feature is ``rects[f]`` (3, 4) ``x, y, w, h`` in the window, ``weights[f]`` (3,), ``tilted[f]``.
"""

import math

from numba import boolean, float32, float64, int32, int64, void

from vj.kernels.integral import box_sum, tilted_box_sum
from vj.kernels.jit import device, kernel, ro, rw


@device
def _sum(ii, iit, origin, pitch, rects, tilted, f, k):
    x, y, w, h = rects[f, k, 0], rects[f, k, 1], rects[f, k, 2], rects[f, k, 3]
    if tilted[f]:
        return tilted_box_sum(iit, origin, pitch, x, y, w, h)
    return box_sum(ii, origin, pitch, x, y, w, h)


@kernel(void(ro(int32, 2), ro(int64, 2), ro(int64, 2), int64, int64, rw(float32, 1)))
def window_norms(ii, squares, corners, rows, cols, out):
    """Inverse of (area * standard deviation) of each window without its outermost pixels.

    squares : (H+1, W+1) squared integral image.  corners : (n, 2) x, y of the windows of
    ``rows`` by ``cols`` pixels.  out : (n,), 0 where the window is flat.
    """
    pitch = ii.shape[1]
    area = float64((rows - 2) * (cols - 2))
    for i in range(corners.shape[0]):
        origin = corners[i, 1] * pitch + corners[i, 0]
        total = float64(box_sum(ii, origin, pitch, 1, 1, cols - 2, rows - 2))
        spread = area * float64(box_sum(squares, origin, pitch, 1, 1, cols - 2, rows - 2))
        spread -= total * total
        out[i] = float32(1.0 / math.sqrt(spread)) if spread > 0 else float32(0)


@kernel(
    void(
        ro(int32, 2),
        ro(int32, 2),
        ro(int64, 2),
        ro(float32, 1),
        ro(int32, 3),
        ro(float32, 2),
        ro(boolean, 1),
        rw(float32, 2),
    )
)
def haar_responses(ii, iit, corners, norms, rects, weights, tilted, out):
    """Fill ``out`` (n, F) in float32, rounded after every step as OpenCV's detector does.

    iit : the tilted integral image; not read where no feature is tilted.
    corners, norms : (n, 2) x, y of the windows, (n,) factor on the responses of each.
    """
    pitch = ii.shape[1]
    for i in range(corners.shape[0]):
        origin = corners[i, 1] * pitch + corners[i, 0]
        for f in range(rects.shape[0]):
            value = weights[f, 0] * float32(_sum(ii, iit, origin, pitch, rects, tilted, f, 0))
            value += weights[f, 1] * float32(_sum(ii, iit, origin, pitch, rects, tilted, f, 1))
            if weights[f, 2] != 0:
                value += weights[f, 2] * float32(_sum(ii, iit, origin, pitch, rects, tilted, f, 2))
            out[i, f] = value * norms[i]


@kernel(
    void(
        ro(int32, 2),
        ro(int32, 2),
        ro(int64, 2),
        ro(int32, 3),
        ro(float32, 2),
        ro(boolean, 1),
        rw(float32, 2),
    )
)
def haar_contrasts(ii, iit, corners, rects, weights, tilted, out):
    """Fill ``out`` (n, F) with the mean of the dark region minus the mean of the light one.

    The first box of a feature is the whole of it, and larger than the others, which it contains:
    they are the dark region where their weights are positive.
    """
    pitch = ii.shape[1]
    for i in range(corners.shape[0]):
        origin = corners[i, 1] * pitch + corners[i, 0]
        for f in range(rects.shape[0]):
            outer = _sum(ii, iit, origin, pitch, rects, tilted, f, 0)
            outer_area = rects[f, 0, 2] * rects[f, 0, 3]
            inner, inner_area = 0, 0
            for k in range(1, 3):
                if weights[f, k] != 0:
                    inner += _sum(ii, iit, origin, pitch, rects, tilted, f, k)
                    inner_area += rects[f, k, 2] * rects[f, k, 3]
            contrast = inner / inner_area - (outer - inner) / (outer_area - inner_area)
            contrast = contrast / 2 if tilted[f] else contrast  # 2 w h pixels in a tilted box
            out[i, f] = contrast if weights[f, 1] > 0 else -contrast
