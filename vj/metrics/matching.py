"""Which detection found which box: greedy by score, one detection a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Verdict on each detection of one picture, in the order given.

    Attributes
    ----------
    verdict : (n,) int8
        1 hit, 0 false alarm, -1 inside a region to ignore (counts neither way).
    box : (n,) int32
        Index of the box that was found, -1 without one.
    found_by : (m,) int32
        For each annotated box the detection that found it, -1 for a miss.
    """

    verdict: NDArray[np.int8]
    box: NDArray[np.int32]
    found_by: NDArray[np.int32]


def match(
    xyxy: ArrayLike,
    score: ArrayLike,
    boxes: ArrayLike,
    ignore: ArrayLike = (),
    *,
    iou: float = 0.5,
) -> Match:
    """Match detections with annotated boxes.

    Detections are served by falling score (equal scores in the order given); each takes the free
    box of largest intersection over union if that reaches ``iou``. One without a box that lies at
    least half (of its own area) in a single region of ``ignore`` does not count.

    Parameters
    ----------
    xyxy : (n, 4)
        Detections, lower-right exclusive.
    score : (n,)
        Anything monotone.
    boxes, ignore : (m, 4) and (k, 4)
        Annotation, lower-right exclusive.
    iou : float
        0 to 1.

    Raises
    ------
    ParameterError
        ``iou`` is not within 0 to 1, or the lengths differ.
    """
    found, want, skip = (np.asarray(a, np.float64).reshape(-1, 4) for a in (xyxy, boxes, ignore))
    value = np.asarray(score, np.float64).ravel()
    if len(value) != len(found):
        raise ParameterError(f"`score` has {len(value)} entries for {len(found)} detections")
    if not 0 < iou <= 1:
        raise ParameterError(f"`iou` must be above 0 and at most 1, got {iou}")
    overlap, _ = _overlaps(found, want)
    _, covered = _overlaps(found, skip)
    verdict = np.zeros(len(found), np.int8)
    box = np.full(len(found), -1, np.int32)
    found_by = np.full(len(want), -1, np.int32)
    for k in np.argsort(-value, kind="stable"):
        free = np.where(found_by < 0, overlap[k], 0.0)
        best = int(free.argmax()) if len(want) else -1
        if best >= 0 and free[best] >= iou:
            verdict[k], box[k], found_by[best] = 1, best, k
        elif len(skip) and covered[k].max() >= 0.5:
            verdict[k] = -1
    return Match(verdict, box, found_by)


def _overlaps(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, m) intersection over union, and intersection over the area of ``a``.

    In float64, unlike `vj.boxes.iou`: annotations have decimals, and a detection exactly on the
    limit must fall on the same side as in other evaluations.
    """
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = np.maximum(size, 0).prod(axis=2)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        union = inter / (area_a[:, None] + area_b[None, :] - inter)
        return np.nan_to_num(union), np.nan_to_num(inter / area_a[:, None])
