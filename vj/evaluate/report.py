"""Evaluations on one page, in one table, in one JSON object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vj.evaluate import html as page
from vj.evaluate.error_examples import worst_alarms, worst_misses
from vj.evaluate.measured import Measured
from vj.io.files import replacing

ALARMS = (0, 10, 31, 50, 100, 167, 300)
ROC_ALARMS = 500  # where the ROC curves end


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Evaluations of one set side by side."""

    title: str
    evaluations: tuple[Measured, ...]
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

    def points(self) -> list[list[Any]]:
        """One row a detector that has a threshold of its own, as `POINT_HEADER` says."""
        return [
            [e.name, f"{e.ranked_by} {e.threshold:.4g}", *(round(v, 4) for v in figures)]
            for e in self.evaluations
            if e.default is not None
            for figures in [(e.default.precision, e.default.recall, e.default.alarms_per_picture)]
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
                    "default": e.default and {**e.default._asdict(), "ranked_by": e.ranked_by},
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
                f"box by an IoU of at least {first.iou:g}; one detection a box, best score first. "
                "The curves run over all scores that a detector gives."
            ),
            page.table(HEADER, self.rows()),
            page.heading("At the default threshold (circles on the curves)"),
            page.table(POINT_HEADER, self.points()),
            page.heading("Curves"),
            self._chart("Precision and recall", "recall", "precision", "recall", "precision",
                        (0, 1)),
            self._chart("ROC", "alarms", "recall", "false positives in all", "recall",
                        (0, ROC_ALARMS)),
            self._chart("FROC", "alarms_per_picture", "recall", "false positives a picture",
                        "recall", log_x=True),
            page.heading("By source: average precision"),
            self._sources(),
            page.heading("By size of the box: recall at the default threshold"),
            self._sizes(),
        ]  # fmt: skip
        for e in self.evaluations:
            parts.append(page.heading(f"{e.name}: largest boxes missed"))
            parts += [page.picture(tile, note) for tile, note in worst_misses(e)]
            parts.append(page.heading(f"{e.name}: false positives of highest score"))
            parts += [page.picture(tile, note) for tile, note in worst_alarms(e)]
        with replacing(path) as file:
            file.write(page.page(self.title, *parts))

    def _chart(
        self,
        title: str,
        x_name: str,
        y_name: str,
        x_label: str,
        y_label: str,
        x_range: tuple[float, float] | None = None,
        log_x: bool = False,
    ) -> str:
        """Curves by names that `Curve` and `Point` share."""
        lines, marks = {}, {}
        for e in self.evaluations:
            every = np.unique(np.geomspace(1, max(len(e.curve.score), 1), 800).astype(int)) - 1
            x, y = (getattr(e.curve, name)[every] for name in (x_name, y_name))
            lines[e.name] = list(zip(x.tolist(), y.tolist(), strict=True))
            if e.default is not None:
                marks[e.name] = getattr(e.default, x_name), getattr(e.default, y_name)
        return page.chart(title, lines, x_label, y_label, x_range=x_range, log_x=log_x, marks=marks)

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
POINT_HEADER = ("detector", "threshold", "precision", "recall", "false positives a picture")
