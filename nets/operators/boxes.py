"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.operators.base import need_rank, operator
from vj.errors import NetError


def _infer_nms(node: Node, boxes: Spec, scores: Spec, *limits: Spec | None) -> Spec:
    need_rank(boxes, 3, 3, "boxes")
    need_rank(scores, 3, 3, "scores")
    if boxes.dims[2] != 4 or (boxes.dims[0], boxes.dims[1]) != (scores.dims[0], scores.dims[2]):
        raise NetError(f"boxes of shape {boxes.dims} do not fit scores of shape {scores.dims}")
    return Spec(None, np.dtype(np.int64))


def _corners(boxes: Array, centred: bool) -> Array:
    if centred:
        return np.concatenate(
            [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1
        )
    return np.concatenate(
        [np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1
    )


def suppress(corners: Array, scores: Array, overlap: float, most: int) -> list[int]:
    """Return the indices of the boxes kept, best first; equal scores by index."""
    areas = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[order, :2])
        high = np.minimum(corners[best, 2:], corners[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[best] + areas[order] - shared
        order = order[~(shared > overlap * np.where(union > 0, union, 1))]
    return kept


def _scalar(value: Array | None, default: float) -> float:
    return default if value is None or value.size == 0 else float(value.ravel()[0])


@operator("NonMaxSuppression", infer=_infer_nms, inputs=(2, 5), kinds="f")
def non_max_suppression(
    node: Node,
    boxes: Array,
    scores: Array,
    most: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> Array:
    """Return rows (image, class, box) of the boxes kept."""
    keep = int(_scalar(most, 0))
    limit, floor = _scalar(overlap, 0), _scalar(least, -np.inf)
    rows = []
    for image in range(boxes.shape[0]):
        corners = _corners(boxes[image], bool(node.get("center_point_box", 0)))
        for label in range(scores.shape[1]):
            good = np.flatnonzero(scores[image, label] > floor)
            chosen = suppress(corners[good], scores[image, label, good], limit, keep)
            rows += [(image, label, int(good[k])) for k in chosen]
    return np.array(rows, np.int64).reshape(-1, 3)
