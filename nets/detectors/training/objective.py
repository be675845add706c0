"""What a face detector is to minimise: assignment, then the losses of scores, boxes, landmarks.

References: Ge et al., YOLOX, arXiv:2107.08430, 2021; Wu et al., YuNet, MIR 20, 2023 (weights of the
parts); Zhang et al., Focal and efficient IOU loss, Neurocomputing 506, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nets.autograd.ops.activation import sigmoid_of
from nets.autograd.ops.arithmetic import clip, concat, exp
from nets.autograd.tensor import Tensor
from nets.detectors.training.assign import Assignment, assign_by_cost, assign_by_size, targets
from nets.detectors.training.encode import F32, decode_boxes, grid
from nets.nn.losses import binary_cross_entropy_with_logits as cross_entropy
from nets.nn.losses import eiou_loss, giou_loss, smooth_l1_loss

OUTLINES = {"eiou": eiou_loss, "giou": giou_loss}
LARGEST = 5.0  # exponent of a box side over its stride: what exceeds it would overflow


@dataclass(frozen=True)
class Objective:
    """The loss of a batch; weights of its parts, and which loss of `OUTLINES` the boxes have.

    Call it with the raw answers (N, P, 16) of all cells and the annotations of each image;
    ``plain`` assigns by size, which a net needs that knows nothing yet.
    """

    box: float = 5.0
    landmark: float = 0.1
    beta: float = 1 / 9
    outline: str = "eiou"

    def __call__(
        self,
        raw: Tensor,
        boxes: Sequence[F32],
        landmarks: Sequence[F32],
        ignore: Sequence[F32],
        size: int,
        plain: bool,
    ) -> Tensor:
        """Sum of the parts, each divided by the number of cells that learn a face."""
        cells = grid(size, size)
        now = raw.data
        chosen = [
            _assign(cells, b, i, now[k], plain)
            for k, (b, i) in enumerate(zip(boxes, ignore, strict=True))
        ]
        want = targets(cells, chosen, boxes, landmarks)
        count = 1 / max(len(want.cell), 1)
        face = np.zeros(want.counted.shape, np.float32)
        face[want.image, want.cell] = 1
        objects = cross_entropy(raw[..., 1], face, weight=want.counted, reduction="sum")
        if not len(want.cell):
            return objects * count
        mine = raw[want.image, want.cell]
        goal = np.where(plain, np.float32(1), want.overlap).astype(np.float32)
        classes = cross_entropy(mine[:, 0], goal, reduction="sum")
        overlap = OUTLINES[self.outline](
            _boxes(mine, cells[want.cell]), want.boxes / cells[want.cell, 2:], reduction="sum"
        )
        known = np.isfinite(want.raw_points)
        points = smooth_l1_loss(mine[:, 6:] * known, np.where(known, want.raw_points, 0),
                                beta=self.beta, reduction="sum")  # fmt: skip
        total = objects + classes + overlap * self.box + points * (self.landmark / 10)
        return total * count


def _assign(cells: F32, boxes: F32, ignore: F32, raw: F32, plain: bool) -> Assignment:
    if plain:
        return assign_by_size(cells, boxes, ignore)
    score = np.sqrt(sigmoid_of(raw[:, 0]) * sigmoid_of(raw[:, 1]))
    clipped = np.concatenate([raw[:, 2:4], np.minimum(raw[:, 4:6], LARGEST)], 1)
    return assign_by_cost(cells, boxes, ignore, decode_boxes(clipped, cells), score)


def _boxes(raw: Tensor, cells: F32) -> Tensor:
    """Boxes that cells give out, in strides, so that a pixel counts the same in every map."""
    centre = raw[:, 2:4] + cells[:, :2]
    half = exp(clip(raw[:, 4:6], low=-LARGEST, high=LARGEST)) * 0.5
    return concat(centre - half, centre + half, axis=1)
