"""Evaluate detectors on annotated pictures, and put the outcome on one page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Picture, read_annotations
from vj.detections import Detections
from vj.errors import ParameterError, VJError
from vj.evaluate import html as page
from vj.evaluate.error_examples import worst_alarms, worst_misses
from vj.io.files import replacing
from vj.metrics.curves import Curve
from vj.metrics.matching import Match, match

if TYPE_CHECKING:
    from vj.detect.registry import Detector

ALARMS = (0, 10, 31, 50, 100, 167, 300)
SIZES = (0, 20, 30, 45, 70, 120, 1e9)
ROC_ALARMS = 500  # where the ROC curves end


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """One picture, what was found in it, and which of it counts."""

    picture: Picture
    found: Detections
    match: Match
    seconds: float


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
        Its ``ap``, ``recall_at(alarms)``, ``precision``, ``recall``.
    problems : tuple of str
        Pictures that could not be read; they do not count.
    """

    name: str
    verdicts: tuple[Verdict, ...]
    iou: float
    curve: Curve
    problems: tuple[str, ...] = ()

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
        Report(f"Evaluation of {self.name}", (self,)).save_html(path)

    @property
    def seconds(self) -> float:
        """Mean time of a picture; the first one, which may compile, does not count."""
        times = [v.seconds for v in self.verdicts]
        return float(np.mean(times[1:] or times or [0.0]))

    def recall_by_size(self) -> list[tuple[str, int, float]]:
        """(size in pixels, boxes, recall) by the square root of the area of the boxes."""
        sizes, hits = [], []
        for v in self.verdicts:
            sides = v.picture.boxes[:, 2:] - v.picture.boxes[:, :2]
            sizes += np.sqrt(sides.prod(axis=1)).tolist()
            hits += (v.match.found_by >= 0).tolist()
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
            name: summarise(
                self.name, [v for v in self.verdicts if v.picture.source == name], self.iou
            )
            for name in names
        }


def evaluate(
    detector: Detector | str,
    dataset: str | Path | Sequence[Picture],
    *,
    name: str = "",
    iou: float = 0.5,
    on_picture: Callable[[], object] | None = None,
) -> Evaluation:
    """Run a detector on annotated pictures and compare.

    Parameters
    ----------
    detector : object with ``detect(image)``, or what `vj.detect` takes for one
    dataset : path or sequence of Picture
        As `vj.datasets.annotations.read_annotations` reads it.
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
        Nothing can be read, or there is no box at all.
    CascadeError, NetError
        The detector cannot be made.

    Examples
    --------
    >>> import vj
    >>> done = vj.evaluate("frontalface", "photos/annotations.json")  # doctest: +SKIP
    >>> done.ap, done.curve.recall_at(50)  # doctest: +SKIP
    (0.764, 0.715)
    >>> done.save_html("report.html")  # doctest: +SKIP
    """
    from vj.detect.registry import open_detector

    name = name or (detector if isinstance(detector, str) else "detector")
    detector = open_detector(detector)
    pictures = read_annotations(dataset) if isinstance(dataset, str | Path) else list(dataset)
    verdicts, problems = [], []
    for picture in pictures:
        if on_picture is not None:
            on_picture()
        try:
            image = picture.read()
        except VJError as exc:
            problems.append(str(exc))
            continue
        started = time.perf_counter()
        found = detector.detect(image)
        seconds = time.perf_counter() - started
        judged = match(found.xyxy, found.score, picture.boxes, picture.ignore, iou=iou)
        verdicts.append(Verdict(picture, found, judged, seconds))
    if not verdicts:
        raise ParameterError(f"`dataset`: no picture can be read: {'; '.join(problems[:3])}")
    if not sum(len(v.picture.boxes) for v in verdicts):
        raise ParameterError("`dataset`: no picture has a box to find")
    return summarise(name, verdicts, iou, problems)


def summarise(
    name: str, verdicts: Sequence[Verdict], iou: float, problems: Sequence[str] = ()
) -> Evaluation:
    """Put verdicts together."""
    curve = Curve.of(
        [v.match.verdict for v in verdicts],
        [np.asarray(v.found.score, np.float64) for v in verdicts],
        sum(len(v.picture.boxes) for v in verdicts),
    )
    return Evaluation(name, tuple(verdicts), iou, curve, tuple(problems))


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Evaluations of one set side by side."""

    title: str
    evaluations: tuple[Evaluation, ...]
    notes: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[list[Any]]:
        """One row a detector, as `HEADER` says."""
        return [
            [
                e.name,
                round(e.ap, 4),
                *(round(e.curve.recall_at(n), 4) for n in ALARMS),
                round(float(e.curve.recall[-1]) if len(e.curve.hits) else 0.0, 4),
                int(e.curve.alarms[-1]) if len(e.curve.alarms) else 0,
                round(1000 * e.seconds, 2),
            ]
            for e in self.evaluations
        ]

    def to_dict(self) -> dict[str, Any]:
        """Every figure, for JSON."""
        return {
            "title": self.title,
            "detectors": [
                {
                    **dict(zip(HEADER, row, strict=True)),
                    "faces": e.curve.faces,
                    "pictures": e.curve.pictures,
                    "by_size": e.recall_by_size(),
                    "by_source": {k: round(s.ap, 4) for k, s in e.sources().items()},
                    "problems": list(e.problems),
                }
                for row, e in zip(self.rows(), self.evaluations, strict=True)
            ],
        }

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page: figures, curves, recall by size, the worst misses and false alarms."""
        first = self.evaluations[0]
        parts = [
            page.paragraph(
                f"{first.curve.pictures} pictures, {first.curve.faces} boxes; a hit overlaps its "
                f"box by an IoU of at least {first.iou:g}; one detection a box, best score first."
            ),
            page.table(HEADER, self.rows()),
            self._chart("Precision and recall", lambda c: (c.recall, c.precision), "recall",
                        "precision", (0, 1)),
            self._chart("ROC", lambda c: (c.alarms, c.recall), "false alarms in all", "recall",
                        (0, ROC_ALARMS)),
            self._chart("FROC", lambda c: (c.alarms_per_picture, c.recall),
                        "false alarms a picture", "recall", log_x=True),
            page.heading("By source: average precision"),
            self._sources(),
            page.heading("By size of the box: recall of all that is found"),
            self._sizes(),
        ]  # fmt: skip
        for e in self.evaluations:
            parts.append(page.heading(f"{e.name}: largest boxes missed"))
            parts += [page.picture(tile, note) for tile, note in worst_misses(e)]
            parts.append(page.heading(f"{e.name}: surest false alarms"))
            parts += [page.picture(tile, note) for tile, note in worst_alarms(e)]
        with replacing(path) as file:
            file.write(page.page(self.title, *parts))

    def _chart(
        self,
        title: str,
        axes: Callable[[Curve], tuple[NDArray[Any], NDArray[Any]]],
        x_label: str,
        y_label: str,
        x_range: tuple[float, float] | None = None,
        log_x: bool = False,
    ) -> str:
        lines = {}
        for e in self.evaluations:
            x, y = axes(e.curve)
            if x_range is not None:
                x, y = x[x <= x_range[1]], y[x <= x_range[1]]
            step = max(len(x) // 400, 1)
            lines[e.name] = list(zip(x[::step].tolist(), y[::step].tolist(), strict=True))
        return page.chart(title, lines, x_label, y_label, x_range=x_range, log_x=log_x)

    def _sources(self) -> str:
        tables = [e.sources() for e in self.evaluations]
        names = list(tables[0])
        rows = [
            [name or "(none)", tables[0][name].curve.faces, *(t[name].ap for t in tables)]
            for name in names
        ]
        return page.table(["source", "boxes", *(e.name for e in self.evaluations)], rows)

    def _sizes(self) -> str:
        tables = [e.recall_by_size() for e in self.evaluations]
        rows = [
            [label, count, *(t[k][2] for t in tables)]
            for k, (label, count, _) in enumerate(tables[0])
        ]
        return page.table(["pixels", "boxes", *(e.name for e in self.evaluations)], rows)


HEADER = ("detector", "AP", *(f"recall at {n}" for n in ALARMS), "recall", "alarms", "ms a picture")
