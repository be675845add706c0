"""Comparing and merging boxes: IoU, non-maximum suppression, OpenCV's rectangle grouping."""

import numpy as np
from numba import boolean, float32, float64, int32, int64, void

from vj.kernels.jit import device, kernel, ro, rw


@device
def _iou(a, i, b, j):
    width = min(a[i, 2], b[j, 2]) - max(a[i, 0], b[j, 0])
    height = min(a[i, 3], b[j, 3]) - max(a[i, 1], b[j, 1])
    if width <= 0 or height <= 0:
        return float32(0)
    inter = width * height
    area_a = (a[i, 2] - a[i, 0]) * (a[i, 3] - a[i, 1])
    area_b = (b[j, 2] - b[j, 0]) * (b[j, 3] - b[j, 1])
    return inter / (area_a + area_b - inter)


@kernel(void(ro(float32, 2), ro(float32, 2), rw(float32, 2)))
def iou_matrix(a, b, out):
    """Intersection over union of every pair. a (n, 4), b (m, 4) xyxy; out (n, m)."""
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = _iou(a, i, b, j)


@device
def _lower_bound(keys, value):
    low, high = 0, keys.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@device
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@device
def _similar(rects, a, b, eps):
    xa, ya, wa, ha = rects[a, 0], rects[a, 1], rects[a, 2], rects[a, 3]
    xb, yb, wb, hb = rects[b, 0], rects[b, 1], rects[b, 2], rects[b, 3]
    d = eps * (min(wa, wb) + min(ha, hb)) * 0.5
    return (
        abs(xa - xb) <= d
        and abs(ya - yb) <= d
        and abs(xa + wa - xb - wb) <= d
        and abs(ya + ha - yb - hb) <= d
    )


@kernel(int64(ro(int64, 2), ro(int64, 1), ro(int64, 1), ro(int64, 1), float64, rw(int64, 1)))
def group_classes(rects, keys, order, cells, eps, label):
    """Number the classes of similar rectangles in the order of their first members.

    rects (n, 4) x, y, w, h with x, y >= 0.  cells (34,) side of the square cells of each size
    level, level = floor(log2(max(w + h, 1))).  keys (n,) sorted: level << 56 | row << 28 | column
    of the cell of the rectangle order[k], rows and columns capped at 2**28 - 1.  label (n,) out.
    Returns the number of classes.

    Similar rectangles differ by at most d <= eps * (w + h) / 2 of either, and cells[level] is no
    smaller than that, so that each need only look at 3x3 cells of its own level and of the few
    below; the classes are those of comparing all pairs.
    """
    n, most = rects.shape[0], int64((1 << 28) - 1)
    parent = label
    for i in range(n):
        parent[i] = i
    for p in range(n):
        a = order[p]
        x, y, size = rects[a, 0], rects[a, 1], max(rects[a, 2] + rects[a, 3], 1)
        top = 0
        while size >> (top + 1):
            top += 1
        level, twin = top, False
        while level >= 0 and float64(int64(2) << level) * (1 + 2 * eps) >= size and not twin:
            column, row = min(x // cells[level], most), min(y // cells[level], most)
            own = level == top  # pairs of one level: each looks forward only
            for r in range(row if own else max(row - 1, 0), min(row + 1, most) + 1):
                first = (level << 56) | (r << 28)
                last = first | min(column + 1, most)
                if own and r == row:
                    k = p + 1
                else:
                    k = _lower_bound(keys, first | max(column - 1, 0))
                while k < n and keys[k] <= last and not twin:
                    b = order[k]
                    k += 1
                    if _similar(rects, a, b, eps):
                        i, j = _root(parent, a), _root(parent, b)
                        parent[max(i, j)] = min(i, j)  # the root of a class is its first member
                        # An equal rectangle further on will find all that this one would.
                        twin = own and x == rects[b, 0] and y == rects[b, 1]
                        twin &= rects[a, 2] == rects[b, 2] and rects[a, 3] == rects[b, 3]
            level -= 1
    n_classes = 0
    for i in range(n):  # parents come before their children, so each is numbered already
        if parent[i] == i:
            label[i] = n_classes
            n_classes += 1
        else:
            label[i] = label[parent[i]]
    return n_classes


@device
def _contained(rects, count, i, j, eps):
    few, many = count[i], count[j]
    if not (many > max(3, few) or few < 3):
        return False
    x, y, w, h = rects[j, 0], rects[j, 1], rects[j, 2], rects[j, 3]
    dx, dy = np.rint(w * eps), np.rint(h * eps)
    return (
        rects[i, 0] >= x - dx
        and rects[i, 1] >= y - dy
        and rects[i, 0] + rects[i, 2] <= x + w + dx
        and rects[i, 1] + rects[i, 3] <= y + h + dy
    )


@kernel(
    void(
        *(ro(int64, 1), ro(int32, 1), ro(float64, 1), ro(int32, 2), ro(int32, 1), int64, float64),
        *(rw(int32, 1), rw(float64, 1), rw(boolean, 1)),
    )
)
def group_select(label, level, weight, rects, count, threshold, eps, out_level, out_weight, keep):
    """Find the best member of each class, and the classes neither too small nor inside another.

    label, level, weight (n,): class, stage and score of each member.  rects (k, 4) x, y, w, h and
    count (k,): average and size of each class.  out_level, out_weight (k,): highest level, and
    the largest weight of the members of that level, in OpenCV's order of comparisons, which
    decides where a weight is NaN.  keep (k,): the class has more than `threshold` members and is
    not contained in a stronger one that has.
    """
    n_classes = count.shape[0]
    for j in range(n_classes):
        out_level[j], out_weight[j] = 0, 2.2250738585072014e-308
    for i in range(label.shape[0]):
        j = label[i]
        if level[i] > out_level[j]:
            out_level[j], out_weight[j] = level[i], weight[i]
        elif level[i] == out_level[j] and weight[i] > out_weight[j]:
            out_weight[j] = weight[i]
    for i in range(n_classes):
        keep[i] = count[i] > threshold
        if keep[i]:
            for j in range(n_classes):
                if count[j] > threshold and i != j and _contained(rects, count, i, j, eps):
                    keep[i] = False
                    break


@kernel(int64(ro(float32, 2), ro(int64, 1), float64, rw(boolean, 1), rw(int64, 1)))
def suppress(boxes, order, limit, gone, keep):
    """Greedy non-maximum suppression; returns the number of boxes kept.

    boxes (n, 4) xyxy;  order (n,) best first;  gone (n,) scratch;  keep (n,) out: the first ones
    are the indices kept, best first. A box goes when its IoU with one kept is above the limit.
    """
    n, kept = order.shape[0], 0
    for k in range(n):
        gone[k] = False
    for k in range(n):
        if gone[k]:
            continue
        i = order[k]
        keep[kept] = i
        kept += 1
        for m in range(k + 1, n):
            if not gone[m] and _iou(boxes, i, boxes, order[m]) > limit:
                gone[m] = True
    return kept
