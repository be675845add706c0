"""What an evaluation measured: a verdict for each picture, curves, recall by size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Picture
from vj.detections import Detections
from vj.metrics import Curve, Match, Point

SIZES = (0, 20, 30, 45, 70, 120, 1e9)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One picture, what was found in it, by which value it ranks, and which of it counts."""

    picture: Picture
    found: Detections
    value: NDArray[np.float64]
    match: Match
    seconds: float

    def found_from(self, threshold: float | None) -> NDArray[np.bool_]:
        """(m,) which boxes are found by what ranks at least at ``threshold``."""
        by = self.match.found_by
        if threshold is None or not len(self.value):
            return by >= 0
        return np.asarray((by >= 0) & (self.value[by] >= np.float32(threshold)))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """How a detector did on a set.

    Attributes
    ----------
    name : str
    verdicts : tuple of Verdict
    iou : float
        Overlap that a hit needs.
    curve : Curve
        Over all scores: its ``ap``, ``recall_at(alarms)``, ``precision``, ``recall``.
    problems : tuple of str
        Pictures that could not be read; they do not count.
    threshold : float or None
        From which the detector reports unless told otherwise; None where it does not say.
    ranked_by : str
        What the threshold is compared with: "score", or "neighbors" of OpenCV's cascades.
    """

    name: str
    verdicts: tuple[Verdict, ...]
    iou: float
    curve: Curve
    problems: tuple[str, ...] = ()
    threshold: float | None = None
    ranked_by: str = "score"

    @property
    def default(self) -> Point | None:
        """Precision, recall and false positives at the detector's own threshold."""
        return None if self.threshold is None else self.curve.at(self.threshold)

    @property
    def ap(self) -> float:
        """Average precision."""
        return self.curve.ap

    @property
    def roc(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """False alarms on the whole set, and recall, as the threshold falls."""
        return self.curve.alarms, self.curve.recall

    @property
    def pr(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Recall, and precision, as the threshold falls."""
        return self.curve.recall, self.curve.precision

    @property
    def seconds(self) -> float:
        """Mean time of a picture; the first one, which may compile, does not count."""
        times = [v.seconds for v in self.verdicts]
        return float(np.mean(times[1:] or times or [0.0]))

    def recall_by_size(self) -> list[tuple[str, int, float]]:
        """(size in pixels, boxes, recall) by the square root of the area of the boxes.

        Recall is that at the detector's own threshold, if it has one.
        """
        sizes, hits = [], []
        for v in self.verdicts:
            sides = v.picture.boxes[:, 2:] - v.picture.boxes[:, :2]
            sizes += np.sqrt(sides.prod(axis=1)).tolist()
            hits += v.found_from(self.threshold).tolist()
        size, hit, rows = np.array(sizes), np.array(hits, bool), []
        for low, high in pairwise(SIZES):
            mine = (size >= low) & (size < high)
            if mine.any():
                label = f"{low:g}-{high:g}" if high < 1e9 else f"from {low:g}"
                rows.append((label, int(mine.sum()), float(hit[mine].mean())))
        return rows

    def sources(self) -> dict[str, Measured]:
        """The same for each collection in the set."""
        names = sorted({v.picture.source for v in self.verdicts})
        return {
            name: replace(self, verdicts=mine, curve=curve_of(mine), problems=())
            for name in names
            for mine in [tuple(v for v in self.verdicts if v.picture.source == name)]
        }


def curve_of(verdicts: Sequence[Verdict]) -> Curve:
    """The curve of verdicts put together."""
    return Curve.of(
        [v.match.verdict for v in verdicts],
        [v.value for v in verdicts],
        sum(len(v.picture.boxes) for v in verdicts),
    )
