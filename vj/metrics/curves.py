"""Curves and figures from matched detections: precision-recall, ROC, FROC, average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Point(NamedTuple):
    """What a detector does at one threshold."""

    threshold: float
    precision: float  # 1 where nothing is reported
    recall: float
    alarms: int
    alarms_per_picture: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Hits and false alarms of a detector over a set, as its threshold falls.

    Attributes
    ----------
    score : (n,) float64
        Falling; entry k is the threshold that lets detections 0 to k pass.
    hits, alarms : (n,) int64
        Counts at that threshold.
    faces, pictures : int
        Annotated boxes and pictures in the set.
    """

    score: Array
    hits: NDArray[np.int64]
    alarms: NDArray[np.int64]
    faces: int
    pictures: int

    @classmethod
    def of(cls, verdicts: Sequence[NDArray[np.int8]], scores: Sequence[Array], faces: int) -> Curve:
        """From each picture's verdicts (1, 0, -1) and scores; equal scores keep their order."""
        verdict = np.concatenate([np.empty(0, np.int8), *verdicts])
        score = np.concatenate([np.empty(0), *(np.asarray(s, np.float64) for s in scores)])
        # Within a picture by falling score first, so that ties resolve as in `match`.
        order = [np.argsort(-np.asarray(s, np.float64), kind="stable") for s in scores]
        start = np.cumsum([0, *(len(s) for s in scores)])[: len(scores)]
        served = np.concatenate(
            [np.empty(0, np.int64), *(o + k for o, k in zip(order, start, strict=True))]
        )
        verdict, score = verdict[served], score[served]
        verdict, score = verdict[verdict >= 0], score[verdict >= 0]
        rank = np.argsort(-score, kind="stable")
        hit = verdict[rank].astype(np.int64)
        return cls(score[rank], hit.cumsum(), (1 - hit).cumsum(), faces, len(verdicts))

    @property
    def recall(self) -> Array:
        """Share of the boxes found."""
        return np.divide(self.hits, max(self.faces, 1))

    @property
    def precision(self) -> Array:
        """Share of the detections that are hits."""
        share: Array = self.hits / np.maximum(self.hits + self.alarms, 1)
        return share

    @property
    def alarms_per_picture(self) -> Array:
        """The abscissa of a FROC curve."""
        return np.divide(self.alarms, max(self.pictures, 1), dtype=np.float64)

    @property
    def ap(self) -> float:
        """Area under the precision-recall curve with precision made monotone (all points)."""
        ceiling = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.sum(np.diff(np.r_[0.0, self.recall]) * ceiling))

    def at(self, threshold: float) -> Point:
        """The point of the curve where everything that scores at least ``threshold`` passes."""
        n = int((self.score >= np.float32(threshold)).sum())  # detectors compare in float32 too
        if not n:
            return Point(threshold, 1.0, 0.0, 0, 0.0)
        alarms = int(self.alarms[n - 1])
        found = float(self.precision[n - 1]), float(self.recall[n - 1])
        return Point(threshold, *found, alarms, alarms / max(self.pictures, 1))

    def recall_at(self, alarms: int) -> float:
        """Recall with at most ``alarms`` false alarms in the whole set."""
        allowed = self.alarms <= alarms
        return float(self.recall[allowed].max()) if allowed.any() else 0.0

    def threshold_at(self, alarms: int) -> float:
        """The lowest score that keeps within ``alarms`` false alarms; inf if none does."""
        allowed = self.alarms <= alarms
        return float(self.score[allowed].min()) if allowed.any() else float("inf")
