"""Run a detector on annotated pictures, and count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Picture, read_annotations
from vj.detections import Detections
from vj.errors import ParameterError, VJError
from vj.metrics import SIDE, Curve, Match, Point, match

if TYPE_CHECKING:
    from vj.detect.registry import Detector

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
class Evaluation:
    """A detector on a set.

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

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page: figures, curves, recall by size, the worst misses and false alarms."""
        from vj.evaluate.report import Report

        Report(f"Evaluation of {self.name}", (self,)).save_html(path)

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

    def sources(self) -> dict[str, Evaluation]:
        """The same for each collection in the set."""
        names = sorted({v.picture.source for v in self.verdicts})
        return {
            name: replace(self, verdicts=mine, curve=curve_of(mine), problems=())
            for name in names
            for mine in [tuple(v for v in self.verdicts if v.picture.source == name)]
        }


def evaluate(
    detector: Detector | str,
    dataset: str | Path | Sequence[Picture],
    *,
    min_score: float | None = None,
    name: str = "",
    iou: float = 0.5,
    on_picture: Callable[[], object] | None = None,
) -> Evaluation:
    """Run a detector on annotated pictures and compare, at all of its thresholds.

    The threshold at which the detector reports is lowered as far as it goes, so that the curves run
    over all scores; it is one point of them, ``default``. `vj.metrics` says what counts.

    Parameters
    ----------
    detector : object with ``detect(image)``, or what `vj.detect` takes for one
        Networks opened here see pictures at their own size, up to 1024 pixels; an object keeps its
        settings, but for the threshold. One without a method ``lowered`` is used as it is.
    dataset : path or sequence of Picture
        As `vj.datasets.annotations.read_annotations` reads it.
    min_score : float, optional
        Begin the curves at this score instead.
    name : str
        What reports call it. Default: as it was given, else "detector".
    iou : float
        Overlap that a hit needs.
    on_picture : callable, optional
        Called before each picture.

    Raises
    ------
    SourceError
        The dataset is missing or malformed. Single pictures that cannot be read are only listed.
    ParameterError
        Nothing can be read, there is no box at all, or ``min_score`` makes no sense.
    CascadeError, NetError
        The detector cannot be made.

    Examples
    --------
    >>> import vj
    >>> done = vj.evaluate("frontalface", "photos/annotations.json")  # doctest: +SKIP
    >>> done.ap, done.curve.recall_at(50)  # doctest: +SKIP
    (0.764, 0.715)
    >>> done.default.recall  # doctest: +SKIP
    0.705
    >>> done.save_html("report.html")  # doctest: +SKIP
    """
    name = name or (detector if isinstance(detector, str) else "detector")
    own: Any = open_whole(detector)
    threshold, ranked_by = getattr(own, "threshold", None), getattr(own, "ranked_by", "score")
    if min_score is not None and ranked_by == "score":
        threshold = max(threshold or min_score, min_score)  # nothing below it was asked for
    lowered = own.lowered(min_score) if hasattr(own, "lowered") else own
    verdicts, problems = [], []
    for picture in read_annotations(dataset) if isinstance(dataset, str | Path) else dataset:
        if on_picture is not None:
            on_picture()
        try:
            image = picture.read()
        except VJError as exc:
            problems.append(str(exc))
            continue
        started = time.perf_counter()
        found = lowered.detect(image)
        seconds = time.perf_counter() - started
        if min_score is not None:
            found = found[found.score >= np.float32(min_score)]
        value = np.asarray(getattr(found, ranked_by), np.float64)
        judged = match(found.xyxy, value, picture.boxes, picture.ignore, iou=iou)
        verdicts.append(Verdict(picture, found, value, judged, seconds))
    if not verdicts:
        raise ParameterError(f"`dataset`: no picture can be read: {'; '.join(problems[:3])}")
    if not sum(len(v.picture.boxes) for v in verdicts):
        raise ParameterError("`dataset`: no picture has a box to find")
    return Evaluation(
        name, tuple(verdicts), iou, curve_of(verdicts), tuple(problems), threshold, ranked_by
    )


def open_whole(spec: Any, **options: Any) -> Detector:
    """As `vj.detect.registry.open_detector`, networks to see pictures of up to `SIDE` pixels."""
    from vj.detect.registry import open_detector

    detector: Any = open_detector(spec, **options)
    if detector is not spec and "size" not in options and hasattr(detector, "size"):
        detector.size = SIDE
    return cast("Detector", detector)


def curve_of(verdicts: Sequence[Verdict]) -> Curve:
    """The curve of verdicts put together."""
    return Curve.of(
        [v.match.verdict for v in verdicts],
        [v.value for v in verdicts],
        sum(len(v.picture.boxes) for v in verdicts),
    )
