"""Run a detector on annotated pictures, and count."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vj.datasets.annotations import Picture, read_annotations
from vj.errors import ParameterError, VJError
from vj.evaluate.measured import Measured, Verdict, curve_of
from vj.evaluate.report import Report
from vj.metrics import SIDE, match

if TYPE_CHECKING:
    from vj.detect.registry import Detector


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(Measured):
    """A detector on a set; see `Measured` for its attributes."""

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page: figures, curves, recall by size, the worst misses and false alarms."""
        Report(f"Evaluation of {self.name}", (self,)).save_html(path)


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
    name = name or (str(detector) if isinstance(detector, str | os.PathLike) else "detector")
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
