"""How good a detector is on annotated pictures, by the protocol of `vj.metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.detectors.training.data import Picture
from nets.detectors.training.mining import Detects
from nets.detectors.training.store import Store
from vj.metrics import Curve, match


class Judged(NamedTuple):
    """Hits and false alarms by falling score, and the number of faces that were there."""

    hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    faces: int

    @property
    def curve(self) -> Curve:
        """As `vj.evaluate` draws it, but for the number of pictures."""
        return Curve(self.score, self.hit.cumsum(), (~self.hit).cumsum(), self.faces, 1)

    @property
    def ap(self) -> float:
        """Average precision."""
        return self.curve.ap

    def recall_at(self, alarms: int) -> float:
        """Share of the faces that is found with at most so many false alarms."""
        return self.curve.recall_at(alarms)


def judge(detector: Detects, pictures: Iterable[Picture], store: Store) -> Judged:
    """Show pictures to a detector, whose threshold should be low, and count."""
    verdicts, scores, faces = [], [], 0
    for picture in pictures:
        found = detector.detect(store.pixels(picture.entry)[..., :3])
        verdicts.append(match(found.xyxy, found.score, picture.boxes, picture.ignore).verdict)
        scores.append(found.score.astype(np.float64))
        faces += len(picture.boxes)
    curve = Curve.of(verdicts, scores, faces)
    return Judged(np.diff(curve.hits, prepend=0) == 1, curve.score, faces)
