"""`objective` and `assign` by PyTorch: all images of a batch at once, on the device of the network.

The steps and their order are those of the NumPy functions, which say what they mean and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nets.detectors.training import assign
from nets.detectors.training.encode import F32, grid
from nets.detectors.training.objective import LARGEST, Objective

EPS = 1e-7  # as of `nets.nn.losses.boxes`


class Faces(NamedTuple):
    """Annotations of N images on the device, padded to G faces and I ignored regions."""

    boxes: Any  # (N, G, 4)
    there: Any  # (N, G) bool
    points: Any  # (N, G, 10), NaN where unknown
    ignore: Any  # (N, I, 4), of no extent where there is none

    @classmethod
    def of(
        cls,
        torch: ModuleType,
        device: str,
        boxes: Sequence[F32],
        landmarks: Sequence[F32],
        ignore: Sequence[F32],
    ) -> Faces:
        """Pad and upload."""
        count, room = len(boxes), max(1, *map(len, boxes))
        padded = np.zeros((count, room, 15), np.float32)
        regions = np.full((count, max(1, *map(len, ignore)), 4), -1e6, np.float32)
        for k, (face, points, region) in enumerate(zip(boxes, landmarks, ignore, strict=True)):
            padded[k, : len(face), :4] = face
            padded[k, : len(face), 4:14] = points.reshape(-1, 10)
            padded[k, : len(face), 14] = 1
            regions[k, : len(region)] = region
        faces = torch.from_numpy(padded).to(device)
        there = faces[..., 14] > 0
        return cls(faces[..., :4], there, faces[..., 4:14], torch.from_numpy(regions).to(device))


class TorchObjective:
    """As `Objective`, of answers that are on a device of PyTorch."""

    def __init__(self, torch: ModuleType, how: Objective, device: str) -> None:
        self.torch, self.how, self.device = torch, how, device

    def loss(
        self,
        raw: Any,
        boxes: Sequence[F32],
        landmarks: Sequence[F32],
        ignore: Sequence[F32],
        size: int,
        plain: bool,
    ) -> Any:
        """The loss of the raw answers (N, P, 16), float32."""
        torch, how, fn = self.torch, self.how, self.torch.nn.functional
        cells = torch.tensor(grid(size, size), device=self.device)
        faces = Faces.of(torch, self.device, boxes, landmarks, ignore)
        if plain:
            found = [assign.assign_by_size(grid(size, size), b, i)
                     for b, i in zip(boxes, ignore, strict=True)]  # fmt: skip
            number = torch.from_numpy(np.stack([f.face for f in found])).long().to(self.device)
            overlap = torch.ones(number.shape, device=self.device)
        else:
            with torch.no_grad():
                number, overlap = by_cost(torch, cells, faces, raw.detach())
        entropy = fn.binary_cross_entropy_with_logits
        taught = (number >= 0).float()
        objects = entropy(raw[..., 1], taught, (number != assign.IGNORED).float(), reduction="sum")
        image, cell = torch.nonzero(number >= 0, as_tuple=True)
        if not len(cell):
            return objects
        own, face, mine = cells[cell], number[image, cell], raw[image, cell]
        classes = entropy(mine[:, 0], overlap[image, cell], reduction="sum")
        wanted = faces.boxes[image, face] / own[:, 2:]
        outline = self._outline(self._boxes(mine, own), wanted)
        points = faces.points[image, face] / own[:, 2:] - own[:, :2].repeat(1, 5)
        known = torch.isfinite(points)
        marks = fn.smooth_l1_loss(
            torch.where(known, mine[:, 6:], 0), torch.where(known, points, 0), beta=how.beta,
            reduction="sum",
        )  # fmt: skip
        total = objects + classes + outline * how.box + marks * (how.landmark / 10)
        return total / len(cell)

    def _boxes(self, raw: Any, cells: Any) -> Any:
        centre = raw[:, 2:4] + cells[:, :2]
        half = raw[:, 4:6].clamp(-LARGEST, LARGEST).exp() * 0.5
        return self.torch.cat([centre - half, centre + half], 1)

    def _outline(self, a: Any, b: Any) -> Any:
        """Sum of EIoU or GIoU losses."""
        torch = self.torch
        size, true = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
        both = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(0)
        outer = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
        both = both.prod(1)
        union = size.prod(1) + true.prod(1) - both
        loss = 1 - both / (union + EPS)
        if self.how.outline == "giou":
            area = outer.prod(1)
            return (loss + (area - union) / (area + EPS)).sum()
        apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) ** 2).sum(1) * 0.25
        loss = loss + apart / ((outer**2).sum(1) + EPS)
        return loss.sum() + ((size - true) ** 2 / (outer**2 + EPS)).sum()


def by_cost(torch: ModuleType, cells: Any, faces: Faces, raw: Any) -> tuple[Any, Any]:
    """`assign_by_cost` of every image.

    Returns
    -------
    face, overlap : (N, P) int64 and float32
        As of `Assignment`.
    """
    at, stride = (cells[:, :2] + 0.5) * cells[:, 2:], cells[:, 2]
    inside = _inside(at, faces.boxes)
    near = _near(at, stride, faces.boxes, assign.RADIUS)
    allowed = (inside | near) & faces.there[..., None]
    centre = (raw[..., 2:4] + cells[:, :2]) * cells[:, 2:]
    half = raw[..., 4:6].clamp(max=LARGEST).exp() * cells[:, 2:] / 2
    matched = _iou(torch, faces.boxes, torch.cat([centre - half, centre + half], -1))
    score = torch.sqrt(raw[..., 0].sigmoid() * raw[..., 1].sigmoid()).clamp(1e-6, 1)
    cost = -score.log()[:, None] - 3 * (matched + 1e-8).log()
    cost = torch.where(allowed, cost + float(assign.FAR) * ~(inside & near), torch.inf)
    face = _share_out(torch, cost, torch.where(allowed, matched, 0), faces.there)
    won = face >= 0
    overlap = matched.gather(1, face.clamp(0)[:, None])[:, 0] * won
    ignored = (_inside(at, faces.ignore) | _near(at, stride, faces.ignore, 0.5)).any(1)
    return torch.where(~won & ignored, assign.IGNORED, face), overlap


def _share_out(torch: ModuleType, cost: Any, matched: Any, there: Any) -> Any:
    most = min(assign.MOST, cost.shape[2])
    count = matched.topk(most, 2).values.double().sum(2).long().clamp(1)
    cheap = cost.topk(most, 2, largest=False)
    taken = torch.arange(most, device=cost.device) < count[..., None]
    wants = torch.zeros_like(cost, dtype=torch.bool)
    wants.scatter_(2, cheap.indices, taken & cheap.values.isfinite())
    bid = torch.where(wants, cost, torch.inf).min(1)
    face = torch.where(bid.values.isfinite(), bid.indices, assign.BACKGROUND)
    held = torch.zeros_like(there, dtype=torch.int64)
    held.scatter_add_(1, face.clamp(0), (face >= 0).long())
    # Faces that are left without a cell choose in turn, those of different images at once.
    left = there & (held == 0) & cost.isfinite().any(2)
    images = torch.arange(len(cost), device=cost.device)
    while bool(left.any()):
        number, turn = left.int().argmax(1), left.any(1)
        free = (face < 0) | (held.gather(1, face.clamp(0)) > 1)
        price, cell = torch.where(free & turn[:, None], cost[images, number], torch.inf).min(1)
        takes, old = price.isfinite(), face[images, cell]
        held[images, old.clamp(0)] -= (takes & (old >= 0)).long()
        held[images, number] += takes.long()
        face[images, cell] = torch.where(takes, number, old)
        left[images, number] = False
    return face


def _inside(at: Any, boxes: Any) -> Any:
    """Whether each point (P, 2) is inside each box (N, G, 4): (N, G, P)."""
    low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    return ((at > low) & (at < high)).all(3)


def _near(at: Any, stride: Any, boxes: Any, radius: float) -> Any:
    middle = (boxes[:, :, None, :2] + boxes[:, :, None, 2:]) / 2
    return ((at - middle).abs() < (stride * radius)[:, None]).all(3)


def _iou(torch: ModuleType, boxes: Any, predicted: Any) -> Any:
    """(N, G, 4) and (N, P, 4) to (N, G, P)."""
    a, b = boxes[:, :, None], predicted[:, None]
    side = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    both = side.clamp(0).prod(3)
    areas = (a[..., 2:] - a[..., :2]).prod(3) + (b[..., 2:] - b[..., :2]).prod(3)
    return both / (areas - both).clamp(1e-12)
