"""Merging boxes: OpenCV's rectangle grouping, and non-maximum suppression."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.boxes import as_boxes, to_xyxy
from vj.errors import ParameterError
from vj.kernels import group as kernels

_CELL_LIMIT = (1 << 28) - 1


class Groups(NamedTuple):
    """What is left of n rectangles: k merged ones, in the order of their first members."""

    rects: NDArray[np.int32]  # (k, 4) x, y, w, h
    counts: NDArray[np.int32]  # (k,) members
    levels: NDArray[np.int32]  # (k,) highest level of the members
    weights: NDArray[np.float64]  # (k,) largest weight of the members of that level


def group_rectangles(
    rects: ArrayLike,
    threshold: int,
    eps: float = 0.2,
    levels: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Groups:
    """Merge similar rectangles exactly as ``cv2.groupRectangles`` and OpenCV's detector do.

    Two rectangles are similar if their four sides differ by at most
    ``eps * (min(w1, w2) + min(h1, h2)) / 2``; classes are the transitive closure. A class becomes
    the average of its members. It is dropped if it has no more than ``threshold`` members, or if
    it lies in another class that is stronger. The time is n log n and not n squared: rectangles
    are only compared with those in neighbouring cells of a grid.

    Parameters
    ----------
    rects : (n, 4) int
        ``x, y, w, h``.
    threshold : int
        0 or less returns the input unchanged, each with a count of 1.
    eps : float
        0 or more; 0 merges equal rectangles only.
    levels, weights : (n,) int and (n,) float, optional
        Stage and score of each; 0 if not given.

    Returns
    -------
    Groups
        ``rects, counts, levels, weights``.

    Raises
    ------
    ParameterError
        A shape is wrong or ``eps`` is negative.
    """
    boxes = _as_rects(rects)
    level = _one_each("levels", levels, len(boxes), np.int32)
    weight = _one_each("weights", weights, len(boxes), np.float64)
    if not eps >= 0 or math.isinf(eps):
        raise ParameterError(f"`eps` must be 0 or more, got {eps}")
    if threshold <= 0 or len(boxes) == 0:
        return Groups(boxes, np.ones(len(boxes), np.int32), level, weight)
    label, n_classes = _classes(boxes, float(eps))
    count = np.bincount(label, minlength=n_classes).astype(np.int32)
    total = np.stack([np.bincount(label, side, n_classes) for side in boxes.T], axis=1)
    share = np.float32(1) / count.astype(np.float32)  # OpenCV multiplies by the rounded reciprocal
    merged = np.rint(total.astype(np.float32) * share[:, None]).astype(np.int32)
    best_level, best_weight = np.empty_like(count), np.empty(n_classes, np.float64)
    keep = np.empty(n_classes, np.bool_)
    kernels.group_select(
        *(label, level, weight, merged, count, int(threshold), float(eps)),
        *(best_level, best_weight, keep),
    )
    return Groups(merged[keep], count[keep], best_level[keep], best_weight[keep])


def group_boxes(
    xyxy: ArrayLike, min_neighbors: int = 3, eps: float = 0.2
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Merge overlapping boxes of one face as OpenCV does.

    Parameters
    ----------
    xyxy : (n, 4)
        ``x1, y1, x2, y2`` in pixels; rounded to integers first.
    min_neighbors : int
        A group needs more members than this. 0 returns the boxes as they are.
    eps : float
        How far the sides of similar boxes may be apart, as a part of their size.

    Returns
    -------
    boxes : (k, 4) float32
        ``x1, y1, x2, y2``, in the order of the first member of each group.
    neighbors : (k,) int32
        Members of each group.

    Raises
    ------
    ParameterError
        ``xyxy`` has the wrong shape or a box that is no box; ``eps`` is negative.

    Examples
    --------
    >>> boxes, neighbors = group_boxes([[10, 10, 50, 50], [12, 10, 52, 50]], min_neighbors=1)
    >>> boxes.tolist(), neighbors.tolist()
    ([[11.0, 10.0, 51.0, 50.0]], [2])
    """
    corners = np.rint(_proper(as_boxes(xyxy, "xyxy"))).astype(np.int64)
    corners[:, 2:] -= corners[:, :2]
    groups = group_rectangles(corners, min_neighbors, eps)
    return to_xyxy(groups.rects), groups.counts


def nms(xyxy: ArrayLike, score: ArrayLike, iou_threshold: float = 0.3) -> NDArray[np.int64]:
    """Greedy non-maximum suppression, as in torchvision.

    Parameters
    ----------
    xyxy : (n, 4)
        ``x1, y1, x2, y2``.
    score : (n,)
        Higher is better; equal scores go by index.
    iou_threshold : float
        0 to 1. A box is dropped if its IoU with a better one that is kept is above this.

    Returns
    -------
    (k,) int64
        Indices of the boxes kept, best first.

    Raises
    ------
    ParameterError
        Shapes do not agree, a score is NaN, the threshold is outside 0 to 1.

    Examples
    --------
    >>> nms([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]], [0.5, 0.9, 0.7]).tolist()
    [1, 2]
    """
    boxes = _proper(as_boxes(xyxy, "xyxy"))
    scores = _one_each("score", score, len(boxes), np.float64)
    if np.isnan(scores).any():
        raise ParameterError("`score` holds NaN")
    if not 0 <= iou_threshold <= 1:
        raise ParameterError(f"`iou_threshold` must be 0 to 1, got {iou_threshold}")
    order = np.argsort(-scores, kind="stable")
    keep = np.empty(len(boxes), np.int64)
    gone = np.empty(len(boxes), np.bool_)
    kept = kernels.suppress(boxes, order, float(iou_threshold), gone, keep)
    return keep[:kept]


def _classes(rects: NDArray[np.int32], eps: float) -> tuple[NDArray[np.int64], int]:
    """Class of each rectangle, and their number: sort by the cell of a grid, then compare."""
    shifted = rects.astype(np.int64)
    shifted[:, :2] -= shifted[:, :2].min(axis=0)
    cells = np.minimum(eps * 2.0 ** np.arange(34), 2.0**40).astype(np.int64) + 1
    level = np.frexp(np.maximum(shifted[:, 2] + shifted[:, 3], 1).astype(np.float64))[1] - 1
    column, row = np.minimum(shifted[:, :2] // cells[level, None], _CELL_LIMIT).T
    keys = (level.astype(np.int64) << 56) | (row << 28) | column
    order = np.argsort(keys, kind="stable")
    label = np.empty(len(rects), np.int64)
    return label, kernels.group_classes(shifted, keys[order], order, cells, eps, label)


def _as_rects(rects: ArrayLike) -> NDArray[np.int32]:
    array = np.asarray(rects)
    if array.size == 0:
        return np.empty((0, 4), np.int32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ParameterError(f"`rects` must have shape (n, 4), got {array.shape}")
    if array.dtype.kind not in "iu" or np.abs(array.astype(np.float64)).max() >= 2**31:
        raise ParameterError(f"`rects` must hold 32-bit integers x, y, w, h, got {array.dtype}")
    return np.ascontiguousarray(array, np.int32)


def _proper(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise ParameterError("`xyxy` holds a box whose x2 < x1 or y2 < y1: is it x, y, w, h?")
    return boxes


def _one_each(name: str, values: ArrayLike | None, n: int, dtype: type[Any]) -> NDArray[Any]:
    array = np.zeros(n, dtype) if values is None else np.ascontiguousarray(values, dtype)
    if array.shape != (n,):
        raise ParameterError(f"`{name}` must have shape ({n},), got {array.shape}")
    return array
