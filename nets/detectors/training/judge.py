"""How good a detector is on annotated pictures.

Detections are served by falling score; each takes the free face that it overlaps most, by half at
least. One that lies by half in a region to ignore counts neither way.

Reference: Everingham et al., The Pascal visual object classes challenge, IJCV 88, 2010.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.detectors.training.data import F32, Picture
from nets.detectors.training.mining import Detects
from nets.detectors.training.store import Store
from vj.boxes import iou

HALF = 0.5


class Judged(NamedTuple):
    """Hits and false alarms by falling score, and the number of faces that were there."""

    hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    faces: int

    @property
    def ap(self) -> float:
        """Area under precision over recall, precision made monotone."""
        hits = self.hit.cumsum()
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        return float(precision[self.hit].sum() / max(self.faces, 1))

    def recall_at(self, alarms: int) -> float:
        """Share of the faces that is found with at most so many false alarms."""
        allowed = (~self.hit).cumsum() <= alarms
        return float(self.hit[allowed].sum() / max(self.faces, 1))


def judge(detector: Detects, pictures: Iterable[Picture], store: Store) -> Judged:
    """Show pictures to a detector, whose threshold should be low, and count."""
    verdicts, scores, faces = [], [], 0
    for picture in pictures:
        found = detector.detect(store.pixels(picture.entry)[..., :3]).sorted()
        verdicts.append(match(found.xyxy, picture.boxes, picture.ignore))
        scores.append(found.score.astype(np.float64))
        faces += len(picture.boxes)
    verdict = np.concatenate([np.empty(0, np.int8), *verdicts])
    score = np.concatenate([np.empty(0), *scores])
    order = np.argsort(-score, kind="stable")
    order = order[verdict[order] >= 0]
    return Judged(verdict[order] == 1, score[order], faces)


def match(xyxy: F32, boxes: F32, ignore: F32) -> NDArray[np.int8]:
    """Of detections, best first: 1 a hit, 0 a false alarm, -1 neither."""
    verdict = np.zeros(len(xyxy), np.int8)
    overlap = iou(xyxy, boxes)
    skipped = _covered(xyxy, ignore) >= HALF
    for k, row in enumerate(overlap):
        best = int(row.argmax()) if len(boxes) else -1
        if best >= 0 and row[best] >= HALF:
            verdict[k] = 1
            overlap[:, best] = 0
        elif skipped[k]:
            verdict[k] = -1
    return verdict


def _covered(xyxy: F32, ignore: F32) -> NDArray[np.float32]:
    """The largest part of each box that lies in a single region."""
    if not len(ignore):
        return np.zeros(len(xyxy), np.float32)
    low = np.maximum(xyxy[:, None, :2], ignore[None, :, :2])
    high = np.minimum(xyxy[:, None, 2:], ignore[None, :, 2:])
    area = np.maximum((xyxy[:, 2:] - xyxy[:, :2]).prod(1), 1e-9)
    part = np.maximum(high - low, 0).prod(2).max(1) / area
    return np.asarray(part, np.float32)
