"""Fit what a cascade's card says of its boxes and scores, on pictures it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.datasets.annotations import Picture
from vj.detect import pyramid
from vj.detect.packing import pack
from vj.detect.scanner import Scanner
from vj.detect.scoring import Scoring
from vj.detections import Detections
from vj.errors import TrainingError
from vj.io.images import as_gray
from vj.metrics import match
from vj.train.windows import SCALE_FACTOR

_ENOUGH = 20  # objects found that a fit needs


class ScoredDetector:
    """A cascade whose boxes and scores a `Scoring` makes; every group is reported."""

    def __init__(self, cascade: Cascade, scoring: Scoring, scale_factor: float = 1.1) -> None:
        self.cascade, self.scoring, self.scale_factor = cascade, scoring, scale_factor
        self._scanner = Scanner(pack(cascade))

    def detect(self, image: Any) -> Detections:
        """Detections of one image, best first."""
        gray = as_gray(image)
        shape = (gray.shape[0], gray.shape[1])
        levels = pyramid.levels(shape, self.cascade.window, self.scale_factor, None, None)
        rects, sums = self._scanner.candidates(gray, levels)
        margins = sums - float(self.cascade.stage_limit[-1])
        return self.scoring.detections(rects, margins, self.cascade.n_stages, shape, least=0)


def fit_scoring(cascade: Cascade, pictures: Sequence[Picture]) -> Scoring:
    """Box transform, calibration and default threshold from annotated pictures.

    Parameters
    ----------
    cascade : Cascade
    pictures : sequence of Picture
        Not those it was trained on. The box is the mean over their sources of medians.

    Raises
    ------
    TrainingError
        The cascade finds fewer than 20 of the objects, or never errs.

    Notes
    -----
    Confidence follows Bayes' rule with normal densities of the logarithm of the score, one for hits
    and one for false alarms, of a common variance; the prior is their share on these pictures.
    """
    found = [
        (p, ScoredDetector(cascade, Scoring(), SCALE_FACTOR).detect(p.read())) for p in pictures
    ]
    rows = [(p.source, pair) for p, d in found for pair in _pairs(p.boxes, d)]
    if len(rows) < _ENOUGH:
        raise TrainingError(
            f"only {len(rows)} objects of the pictures are found; {_ENOUGH} are needed to fit boxes"
        )
    medians = [
        np.median([pair for source, pair in rows if source == name], axis=0)
        for name in sorted({source for source, _ in rows})
    ]
    dx, dy, width, height = np.mean(medians, axis=0).round(4).tolist()
    scoring = Scoring((dx, dy, width, height))
    detector = ScoredDetector(cascade, scoring, SCALE_FACTOR)
    verdicts, scores = [], []
    for picture in pictures:
        got = detector.detect(picture.read())
        verdicts.append(match(got.xyxy, got.score, picture.boxes, picture.ignore).verdict)
        scores.append(got.score.astype(np.float64))
    slope, intercept = bayes(np.concatenate(verdicts), np.concatenate(scores))
    least = round(float(np.exp(-intercept / slope)), 3)
    return Scoring(scoring.box, scoring.overlap, least, (round(slope, 4), round(intercept, 4)))


def _pairs(boxes: NDArray[np.float64], found: Detections) -> list[NDArray[np.float64]]:
    """For each object that is found: its box in sides of the best window about it."""
    out = []
    windows = found.xyxy.astype(np.float64)
    centre, side = (windows[:, :2] + windows[:, 2:]) / 2, windows[:, 2:] - windows[:, :2]
    for box in boxes:
        middle, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        near = (np.abs(centre - middle) < 0.4 * size).all(axis=1)
        ratio = np.sqrt(side.prod(axis=1) / size.prod())
        near &= (ratio > 0.5) & (ratio < 2.2)
        if near.any():
            k = int(np.flatnonzero(near)[found.score[near].argmax()])
            out.append(np.concatenate([(middle - centre[k]) / side[k], size / side[k]]))
    return out


def bayes(verdict: NDArray[np.int8], score: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the logit of P(hit | log score)."""
    value = np.log(np.maximum(score, 1e-6))
    hits, alarms = value[verdict == 1], value[verdict == 0]
    if len(hits) < 2 or len(alarms) < 2:
        raise TrainingError(
            f"{len(hits)} hits and {len(alarms)} false alarms are too few to calibrate scores"
        )
    total = len(hits) + len(alarms) - 2
    variance = (hits.var() * len(hits) + alarms.var() * len(alarms)) / total
    slope = (hits.mean() - alarms.mean()) / variance
    if not slope > 0:
        raise TrainingError("false alarms score as high as hits: the scores cannot be calibrated")
    prior = np.log(len(hits) / len(alarms))
    return float(slope), float(prior - slope * (hits.mean() + alarms.mean()) / 2)
