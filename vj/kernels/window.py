"""One window at a time: every stage sum, the leaf of every tree, the value of every node.

Plain and scalar, in the order and rounding of OpenCV: the reference by which a scan is explained. A
cascade travels as the tuple of flat arrays that ``Cascade.packed()`` returns.
"""

import math

import numpy as np
from numba import boolean, float32, float64, int32, int64, uint32, void
from numba.types import Tuple

from vj.kernels.integral import box_sum, tilted_box_sum
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.lbp import lbp_code

CASCADE = Tuple(
    (
        *(ro(float32, 1), ro(int32, 1), ro(int32, 1)),  # stage_limit, stage_first, tree_first
        *(ro(int32, 1), ro(int32, 1), ro(int32, 1)),  # node_left, node_right, node_feature
        *(ro(float32, 1), ro(uint32, 2), ro(float32, 1)),  # node_threshold, node_subset, leaf
        *(ro(int32, 3), ro(float32, 2), ro(boolean, 1)),  # rects, weights, tilted
    )
)


@device
def window_norm(ii, squares, origin, pitch, rows, cols):
    """1 / (area * standard deviation) without the outermost pixels; 0 if there is no contrast.

    OpenCV refuses a window whose standard deviation is not above 10 gray levels.
    """
    area = float64((rows - 2) * (cols - 2))
    total = float64(int32(box_sum(ii, origin, pitch, 1, 1, cols - 2, rows - 2)))
    square = float64(uint32(box_sum(squares, origin, pitch, 1, 1, cols - 2, rows - 2)))
    spread = area * square - total * total
    if spread <= 0:
        return float32(0)
    norm = float32(1.0 / math.sqrt(spread))
    return norm if area * float64(norm) < 0.1 else float32(0)


@device
def _haar_value(cascade, ii, iit, origin, pitch, norm, f):
    rects, weights, tilted = cascade[9], cascade[10], cascade[11]
    value = float32(0)
    for k in range(3):
        if k < 2 or weights[f, k] != 0:
            x, y, w, h = rects[f, k, 0], rects[f, k, 1], rects[f, k, 2], rects[f, k, 3]
            if tilted[f]:
                total = int32(tilted_box_sum(iit, origin, pitch, x, y, w, h))
            else:
                total = int32(box_sum(ii, origin, pitch, x, y, w, h))
            value = float32(value + float32(weights[f, k] * float32(total)))
    return float32(value * norm)


@device
def stage_sum(cascade, ii, iit, origin, norm, stage, leaves, values):
    """Sum of the leaves that a window reaches in one stage, in float64 and file order.

    origin : flat index of the corner of the window in ``ii`` and ``iit`` of one shape.
    norm : of the window; any for LBP.  leaves (T,), values (N,): written for the trees of the
    stage: the leaf that each reached, and the feature value, or the code, of the nodes on the way.
    """
    stage_first, tree_first, left, right, feature = cascade[1:6]
    threshold, subset, leaf, rects = cascade[6:10]
    is_lbp, pitch = subset.shape[0] > 0, ii.shape[1]
    total = 0.0
    for tree in range(stage_first[stage], stage_first[stage + 1]):
        first, node = tree_first[tree], 0
        while True:
            n = first + node
            f = feature[n]
            if is_lbp:
                x, y, w, h = rects[f, 0, 0], rects[f, 0, 1], rects[f, 0, 2], rects[f, 0, 3]
                code = lbp_code(ii, origin, pitch, x, y, w, h)
                values[n] = float32(code)
                go_left = (subset[n, code >> 5] >> uint32(code & 31)) & uint32(1) != 0
            else:
                values[n] = _haar_value(cascade, ii, iit, origin, pitch, norm, f)
                go_left = values[n] < threshold[n]
            node = left[n] if go_left else right[n]
            if node <= 0:
                break
        leaves[tree] = first + tree - node
        total += float64(leaf[leaves[tree]])
    return total


@kernel(
    void(
        *(CASCADE, ro(int32, 2), ro(int64, 2), ro(int32, 2), int64, int64, int64, boolean),
        *(Tuple((rw(float64, 1), rw(int32, 1), rw(float32, 1))), rw(int32, 2)),
    )
)
def evaluate_windows(cascade, ii, squares, iit, rows, cols, step, to_the_end, last, depth):
    """Fill ``depth`` with the number of stages that each window passes; -1 for no contrast.

    ii, squares, iit (H+1, W+1): integral images; the last two are read for HAAR alone, ``iit`` if a
    feature is tilted, but all must have the shape of ``ii``.  rows, cols: of the window.
    depth (ny, nx): window (step * x, step * y) each.  to_the_end: evaluate the stages after the
    one that fails too.  last: sums (S,), leaves (T,) and values (N,): scratch, or, if evaluated to
    the end, those of the last window, NaN, -1 and NaN where it did not come.
    """
    limit, is_lbp, pitch = cascade[0], cascade[7].shape[0] > 0, ii.shape[1]
    sums, leaves, values = last
    n_stages = limit.shape[0]
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            if to_the_end:
                sums[:], values[:], leaves[:] = np.nan, np.nan, -1
            origin = step * (y * pitch + x)
            norm = float32(1)
            if not is_lbp:
                norm = window_norm(ii, squares, origin, pitch, rows, cols)
            depth[y, x] = -1 if norm == 0 else 0
            failed = norm == 0
            stage = 0
            while norm != 0 and stage < n_stages and (to_the_end or not failed):
                sums[stage] = stage_sum(cascade, ii, iit, origin, norm, stage, leaves, values)
                failed |= sums[stage] < float64(limit[stage])
                stage += 1
                if not failed:
                    depth[y, x] = stage


@kernel(
    int64(
        *(CASCADE, ro(int32, 2), ro(int64, 2), ro(int32, 2), int64, int64, int64),
        *(Tuple((rw(int32, 1), rw(float32, 1))), rw(float64, 1)),
        Tuple((rw(int32, 2), rw(float64, 1))),
    )
)
def one_stage_windows(cascade, ii, squares, iit, rows, cols, step, scratch, stale, out):
    """Windows of a cascade of one stage that OpenCV reports with their reject levels.

    Those are the accepted ones, and those without contrast, with the sum that was computed last:
    ``stale`` carries it on from level to level. As `evaluate_windows`; scratch: leaves (T,) and
    values (N,). out: columns and rows (n, 2), sums (n,). Returns n.
    """
    is_lbp, pitch = cascade[7].shape[0] > 0, ii.shape[1]
    leaves, values = scratch
    windows, sums = out
    found = 0
    for y in range(0, ii.shape[0] - rows, step):
        x = 0
        while x < pitch - cols:
            norm = float32(1)
            origin = y * pitch + x
            if not is_lbp:
                norm = window_norm(ii, squares, origin, pitch, rows, cols)
            failed = False
            if norm != 0:
                stale[0] = stage_sum(cascade, ii, iit, origin, norm, 0, leaves, values)
                failed = stale[0] < float64(cascade[0][0])
            if failed:
                x += step
            else:
                windows[found, 0], windows[found, 1] = x, y
                sums[found] = stale[0]
                found += 1
            x += step
    return found
