"""Which cell learns which face.

`assign_by_size` lays it down beforehand: the cells around the centre of a face, in the grid whose
stride suits its size. `assign_by_cost` is SimOTA: of all cells near a face those that are good at
it already, as many as overlap it well.

References: Tian et al., FCOS, ICCV 2019, section 3.2; Ge et al., YOLOX, arXiv:2107.08430, 2021,
section 2.1 (SimOTA); Ge et al., OTA, CVPR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.detectors.training.encode import F32, centres, encode_boxes, encode_points
from vj.boxes import iou

Mask = NDArray[np.bool_]
BACKGROUND, IGNORED = -1, -2
UP_TO = {8: 40.0, 16: 96.0, 32: np.inf}  # pixels of the largest face of each grid, by its size
RADIUS, MOST = 2.5, 10  # SimOTA: strides about a centre, and cells of a face
FAR = np.float32(100)  # cost of a cell not both in the box and near its centre; others are below 70


class Assignment(NamedTuple):
    """What every cell of one image learns.

    ``face`` (P,) int32: number of a face, `BACKGROUND`, or `IGNORED` for nothing at all;
    ``overlap`` (P,) float32: IoU of the cell's present box with its face, 0 without one.
    """

    face: NDArray[np.int32]
    overlap: F32


def assign_by_size(cells: F32, boxes: F32, ignore: F32, *, radius: float = 1.5) -> Assignment:
    """Plain assignment by place and size; needs no predictions.

    A face takes the cells of its grid whose centres lie within ``radius`` strides of its own along
    both axes and inside it, in any case the nearest one. Where two want a cell the smaller has it.

    Parameters
    ----------
    cells : (P, 3)
        Of `encode.grid`.
    boxes, ignore : (n, 4) and (m, 4)
        Faces, and regions whose cells learn nothing unless they learn a face.
    """
    face = np.full(len(cells), BACKGROUND, np.int32)
    size = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    at, stride = centres(cells), cells[:, 2]
    limits = np.array(list(UP_TO.values()))
    strides = np.array(list(UP_TO))[np.searchsorted(limits, size)]
    for number in np.argsort(-size, kind="stable").tolist():
        away = np.abs(at - middle[number]).max(1) / stride
        away[stride != strides[number]] = np.inf
        near = (away < radius) & _inside(at, boxes[number : number + 1])[0]
        near[int(away.argmin())] = True
        face[near] = number
    face[(face == BACKGROUND) & _ignored(cells, ignore)] = IGNORED
    return Assignment(face, np.zeros(len(cells), np.float32))


def assign_by_cost(
    cells: F32,
    boxes: F32,
    ignore: F32,
    predicted: F32,
    score: F32,
    *,
    radius: float = RADIUS,
    most: int = MOST,
) -> Assignment:
    """SimOTA: cells compete by what they predict.

    Candidates are the cells inside a face, or within ``radius`` strides of its centre. A face gets
    the k cheapest of its candidates, k being the sum of its ``most`` largest overlaps, at least 1;
    the cost is the cross-entropy of the score plus three times -log IoU, and prohibitive where a
    cell is not both inside and near. A cell that several faces want goes to the cheapest; a face
    that is left without one takes its cheapest candidate that no other face depends on.

    Parameters
    ----------
    cells : (P, 3)
        Of `encode.grid`.
    boxes, ignore : (n, 4) and (m, 4)
        Faces, and regions whose cells learn nothing unless they learn a face.
    predicted : (P, 4)
        Boxes that the cells give out now.
    score : (P,)
        Their scores, 0 to 1.
    """
    face = np.full(len(cells), BACKGROUND, np.int32)
    overlap = np.zeros(len(cells), np.float32)
    if len(boxes):
        at = centres(cells)
        inside, near = _inside(at, boxes), _near(at, cells[:, 2], boxes, radius)
        pool = np.flatnonzero((inside | near).any(0))
        allowed, good = (inside | near)[:, pool], (inside & near)[:, pool]
        matched = iou(boxes, predicted[pool])
        chance = np.clip(score[pool], np.float32(1e-6), 1)
        cost = -np.log(chance) - 3 * np.log(matched + np.float32(1e-8)) + FAR * ~good
        chosen = _share_out(np.where(allowed, cost, np.inf), np.where(allowed, matched, 0), most)
        won = chosen >= 0
        face[pool[won]] = chosen[won]
        overlap[pool[won]] = matched[chosen[won], np.flatnonzero(won)]
    face[(face == BACKGROUND) & _ignored(cells, ignore)] = IGNORED
    return Assignment(face, overlap)


def _share_out(cost: F32, matched: F32, most: int) -> NDArray[np.int32]:
    """The face of each candidate, -1 for none; cost is infinite where a pair is not allowed."""
    faces, pool = cost.shape
    top = np.partition(matched, max(pool - most, 0), axis=1)[:, max(pool - most, 0) :]
    count = np.maximum(top.sum(1, dtype=np.float64).astype(np.int64), 1)
    order = np.argsort(cost, axis=1, kind="stable")
    wants = np.zeros(cost.shape, bool)
    for number in range(faces):
        wants[number, order[number, : count[number]]] = True
    wants &= np.isfinite(cost)
    chosen = np.where(wants.any(0), np.where(wants, cost, np.inf).argmin(0), -1).astype(np.int32)
    held = np.bincount(chosen[chosen >= 0], minlength=faces)
    for number in np.flatnonzero(held == 0).tolist():
        for cell in order[number]:
            if not np.isfinite(cost[number, cell]):
                break
            owner = chosen[cell]
            if owner < 0 or held[owner] > 1:
                if owner >= 0:
                    held[owner] -= 1
                chosen[cell], held[number] = number, 1
                break
    return chosen


def _inside(at: F32, boxes: F32) -> Mask:
    """Whether each point (P, 2) is inside each box (n, 4): (n, P)."""
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    within: Mask = np.all((at > low) & (at < high), axis=2)
    return within


def _near(at: F32, stride: F32, boxes: F32, radius: float) -> Mask:
    """Whether each point is within ``radius`` of its strides of the centre of each box."""
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    within: Mask = (np.abs(at - middle) < np.float32(radius) * stride[:, None]).all(2)
    return within


def _ignored(cells: F32, ignore: F32) -> Mask:
    """Cells with their centre in a region, or that hold the centre of one."""
    if not len(ignore):
        return np.zeros(len(cells), bool)
    at = centres(cells)
    found: Mask = np.any(_inside(at, ignore) | _near(at, cells[:, 2], ignore, 0.5), axis=0)
    return found


class Targets(NamedTuple):
    """What a batch learns, flat: M cells that learn a face out of N x P.

    Attributes
    ----------
    image, cell : (M,) int64
        Where they are.
    boxes, raw_boxes : (M, 4) float32
        In pixels, and as the cells have to give them out.
    raw_points : (M, 10) float32
        Landmarks as the cells have to give them out, NaN where unknown.
    overlap : (M,) float32
        IoU of the present boxes, the target of the class score.
    counted : (N, P) bool
        Cells whose scores are learned: all but the ignored ones.
    """

    image: NDArray[np.int64]
    cell: NDArray[np.int64]
    boxes: F32
    raw_boxes: F32
    raw_points: F32
    overlap: F32
    counted: Mask


def targets(
    cells: F32, assigned: Sequence[Assignment], boxes: Sequence[F32], landmarks: Sequence[F32]
) -> Targets:
    """Bring the assignments of a batch into arrays; ``boxes`` and ``landmarks`` one an image."""
    face = np.stack([one.face for one in assigned])
    image, cell = np.nonzero(face >= 0)
    first = np.cumsum([0, *(len(b) for b in boxes)])[image]
    number = first + face[image, cell]
    wanted = np.concatenate(list(boxes))[number].astype(np.float32)
    points = np.concatenate(list(landmarks))[number]
    own = cells[cell]
    overlap = np.stack([one.overlap for one in assigned])[image, cell]
    return Targets(
        image, cell, wanted, encode_boxes(wanted, own), encode_points(points, own), overlap,
        face != IGNORED,
    )  # fmt: skip
