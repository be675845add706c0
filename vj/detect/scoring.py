"""From the windows that pass to boxes with a score that ranks them.

OpenCV counts the windows of an object and drops those with few. A strict, fast cascade passes only
one or two windows an object, so counts neither keep nor rank them: here lone windows stay, the
score of a group is the sum of the margins by which its windows pass the last stage, and of groups
that overlap the best one stays. The window of a cascade is wider or narrower than the box a person
would draw, by amounts that were fitted once and stand in the cascade's card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.boxes import clip
from vj.detect.grouping import _classes
from vj.detections import Detections
from vj.errors import CascadeError

_EPS = 0.2  # as in OpenCV's detector


@dataclass(frozen=True, slots=True)
class Scoring:
    """What the card of a cascade says about its boxes and scores.

    Attributes
    ----------
    box : (dx, dy, width, height)
        The object's box in sides of the window: shift of the centre, and size.
    overlap : float
        A group goes if a better one covers more than this share of the smaller of the two.
    least : float
        Score below which a detection is not reported unless it is asked for.
    calibration : (slope, intercept), optional
        Confidence is ``1 / (1 + exp(-(slope * log(score) + intercept)))``: Bayes' rule for normal
        densities of log(score) of objects and of false alarms with one variance.
    """

    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    overlap: float = 0.5
    least: float = 0.0
    calibration: tuple[float, float] | None = None

    @classmethod
    def of_card(cls, details: Mapping[str, Any]) -> Scoring | None:
        """From the entry ``scoring`` of a card; None without one.

        Raises
        ------
        CascadeError
            The entry is malformed.
        """
        entry = details.get("scoring")
        if entry is None:
            return None
        try:
            box = tuple(float(v) for v in entry["box"])
            pair = entry.get("calibration")
            calibration = None if pair is None else tuple(float(v) for v in pair)
            numbers = [*box, *(calibration or ()), float(entry["overlap"]), float(entry["least"])]
            if len(box) != 4 or (calibration and len(calibration) != 2) or min(box[2:]) <= 0:
                raise ValueError("wrong number of values")
            if not np.isfinite(numbers).all():
                raise ValueError("a value is not finite")
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise CascadeError(f"card: `scoring` is malformed: {exc}") from exc
        return cls(box, float(entry["overlap"]), float(entry["least"]), calibration)  # type: ignore[arg-type]

    @property
    def min_confidence(self) -> float | None:
        """Least confidence of what is reported unless it is asked for, if calibrated."""
        found = self.confidence(np.array([self.least]))
        return None if found is None else round(float(found[0]), 3)

    def to_card(self) -> dict[str, Any]:
        """The entry ``scoring`` of a card."""
        return {
            "box": list(self.box),
            "overlap": self.overlap,
            "least": self.least,
            "min_confidence": self.min_confidence,
            "calibration": None if self.calibration is None else list(self.calibration),
        }

    def detections(
        self,
        rects: NDArray[np.int32],
        margins: NDArray[np.float64],
        n_stages: int,
        shape: tuple[int, ...],
        least: float | None = None,
    ) -> Detections:
        """Detections of the candidates of one image.

        Parameters
        ----------
        rects : (n, 4) int32
            ``x, y, w, h`` of the windows that pass.
        margins : (n,) float64
            Sum of the last stage minus its limit, 0 or more.
        n_stages : int
        shape : (rows, cols, ...)
            Of the image; boxes are cut to it.
        least : float, optional
            Instead of the card's own.

        Returns
        -------
        Detections
            Best first; ``score`` the sum of the margins, ``neighbors`` the windows merged.
        """
        if not len(rects):
            return Detections.empty()
        label, count = _classes(rects, _EPS)
        value = np.asarray(margins, np.float64)
        members = np.bincount(label, minlength=count)
        sides = [np.bincount(label, side, count) / members for side in rects.T.astype(np.float64)]
        score: NDArray[np.float64] = np.bincount(label, value, count).astype(np.float64)
        windows = np.stack(sides, axis=1)
        keep = self._suppress(windows, score)
        keep = keep[score[keep] >= (self.least if least is None else least)]
        xyxy = clip(self._boxes(windows[keep]), shape)
        inside = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        xyxy, keep = xyxy[inside], keep[inside]
        return Detections(
            xyxy,
            score[keep].astype(np.float32),
            confidence=self.confidence(score[keep]),
            level=np.full(len(keep), n_stages, np.int32),
            neighbors=members[keep].astype(np.int32),
        ).sorted()

    def confidence(self, score: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """P(object | score), if calibrated."""
        if self.calibration is None:
            return None
        slope, intercept = self.calibration
        logit = slope * np.log(np.maximum(score, 1e-6)) + intercept
        return np.asarray(1 / (1 + np.exp(-logit)), np.float32)

    def score_at(self, confidence: float) -> float:
        """The score that has a confidence; it must be calibrated."""
        assert self.calibration is not None
        slope, intercept = self.calibration
        with np.errstate(divide="ignore"):
            odds = np.log(confidence) - np.log1p(-confidence)
        return float(np.exp((odds - intercept) / slope))

    def _suppress(self, windows: NDArray[np.float64], score: NDArray[np.float64]) -> Any:
        """Groups that no better one covers, best first; equal scores in order of the scan."""
        order = np.argsort(-score, kind="stable")
        low, size = windows[order, :2], windows[order, 2:]
        area = size.prod(axis=1)
        gone = np.zeros(len(order), np.bool_)
        for k in range(len(order)):
            if gone[k]:
                continue
            both = np.minimum(low + size, low[k] + size[k]) - np.maximum(low, low[k])
            inter = np.maximum(both, 0).prod(axis=1)
            covered = inter > self.overlap * np.minimum(area, area[k])
            covered[: k + 1] = False
            gone |= covered
        return order[~gone]

    def _boxes(self, windows: NDArray[np.float64]) -> NDArray[np.float32]:
        dx, dy, width, height = self.box
        centre = windows[:, :2] + windows[:, 2:] * (0.5 + np.array([dx, dy]))
        half = windows[:, 2:] * np.array([width, height]) / 2
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
