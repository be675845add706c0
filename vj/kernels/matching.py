"""Scores of a template at every place of an image, from the sums of products there."""

import math

import numpy as np
from numba import float32, float64, int32, int64, void

from vj.kernels.integral import box_sum
from vj.kernels.jit import kernel, ro, rw


@kernel(
    void(
        ro(float64, 2),
        ro(int32, 2),
        ro(int64, 2),
        int64,
        int64,
        int64,
        int64,
        int64,
        rw(float32, 2),
    )
)
def template_scores(products, ii, squares, rows, cols, total, total_squares, method, out):
    """Fill ``out`` (H', W') with the scores of a template of ``rows`` by ``cols`` pixels.

    products : (H', W') sums of image times template, integers but for rounding errors.
    ii, squares : integral images of the image; sums may wrap modulo 2**32.
    total, total_squares : sums of the template and of its squares.
    method : 0 sum of squared differences, 2 of products, 4 of products about the means; or 1 more,
    divided by the root of both norms: 0 where a norm is 0, but a difference to nothing is 1.
    """
    pitch = ii.shape[1]
    area = int64(rows * cols)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            origin = y * pitch + x
            product = int64(np.rint(products[y, x]))
            energy = box_sum(squares, origin, pitch, 0, 0, cols, rows)
            if method < 2:
                value, norms = float64(energy - 2 * product + total_squares), 0.0
            else:
                value, norms = float64(product), 0.0
            if method < 4:
                norms = float64(energy) * float64(total_squares)
            else:
                here = int64(int32(box_sum(ii, origin, pitch, 0, 0, cols, rows)))
                value = float64(area * product - here * total)
                norms = float64(area * energy - here * here)
                norms *= float64(area * total_squares - total * total)
                if method == 4:
                    value /= area
            if method & 1:
                if norms > 0:
                    value = min(value / math.sqrt(norms), 1.0)
                else:
                    value = 1.0 if method == 1 and value > 0 else 0.0
            out[y, x] = value
