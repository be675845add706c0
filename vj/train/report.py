"""What a training did."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vj.cascade.model import Cascade
from vj.evaluate import html as page
from vj.features.haar import HaarFeatures, draw_feature
from vj.io.files import replacing
from vj.io.images import Pixels
from vj.train.check import Check, contact_sheet


@dataclass(frozen=True, slots=True, eq=False)
class TrainingReport:
    """Settings, log and outcome of a training.

    Attributes
    ----------
    settings : mapping
    log : sequence of mapping
        Events ``mined`` and ``stage`` in order.
    reason, advice : str
        Why it ended; what would let it go on.
    seconds : float
    check : Check
    cascade : Cascade
    pictures : mapping
        "samples" is a contact sheet; "mean", "hardest objects" and "hardest negatives" are
        (n, rows, cols) patches of the last stage.
    """

    settings: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    reason: str
    advice: str
    seconds: float
    check: Check
    cascade: Cascade
    pictures: Mapping[str, Pixels]

    @property
    def stages(self) -> list[Mapping[str, Any]]:
        """One record a stage."""
        return [row for row in self.log if row["event"] == "stage"]

    @property
    def hit_rate(self) -> float:
        """Share of held-out objects that passes all stages, as the product of the stages."""
        rate = 1.0
        for row in self.stages:
            rate *= row["hit_rate"]
        return rate

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything as one JSON object."""
        data = {
            "settings": dict(self.settings),
            "check": str(self.check).splitlines(),
            "log": list(self.log),
            "reason": self.reason,
            "advice": self.advice,
            "seconds": round(self.seconds, 2),
        }
        with replacing(path) as file:
            file.write(json.dumps(data, indent=1).encode())

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page: outcome, stages, ROC curves, features drawn, the hardest samples."""
        parts = [
            page.paragraph(
                f"{self.cascade!r} in {self.seconds:.0f} s. {self.reason}. {self.advice}"
            ),
            page.table(["setting", "value"], [(k, str(v)) for k, v in self.settings.items()]),
            page.heading("Samples"),
            *(page.paragraph(line) for line in str(self.check).splitlines()),
            page.picture(self.pictures["samples"], "objects, their variants, background windows"),
            page.heading("Stages"),
            page.table(_COLUMNS, [self._row(row) for row in self.stages]),
            self._roc_chart(),
            self._rate_chart(),
            page.heading("First features of each stage, on the mean object"),
            *self._features(),
            page.heading("Hardest samples of the last stage"),
            *(
                page.picture(contact_sheet(self.pictures[name]), name)
                for name in ("hardest objects", "hardest negatives")
                if name in self.pictures
            ),
        ]
        with replacing(path) as file:
            file.write(page.page("Training report", *parts))

    def _row(self, row: Mapping[str, Any]) -> list[Any]:
        mined = {r["stage"]: r["rate"] for r in self.log if r["event"] == "mined"}
        rates = (f"{row['hit_rate']:.4f}", f"{row['false_alarm']:.3f}", row["train_false_alarm"])
        seconds = f"{row['seconds']:.1f}"
        return [row["stage"], row["trees"], *rates, f"{mined.get(row['stage'], 1):.1e}", seconds]

    def _roc_chart(self) -> str:
        lines = {f"stage {row['stage']}": row["roc"] for row in self.stages}
        return page.chart("ROC of each stage, held out", lines, "false alarms", "hits",
                          y_range=(0.9, 1), x_range=(0, 1))  # fmt: skip

    def _rate_chart(self) -> str:
        rates = [(r["stage"], -math.log10(max(r["rate"], 1e-12))) for r in self.log
                 if r["event"] == "mined"]  # fmt: skip
        top = max((y for _, y in rates), default=1) or 1
        return page.chart("False-alarm rate before each stage", {"10^-y a window": rates}, "stage",
                          "-log10 of the rate", y_range=(0, top))  # fmt: skip

    def _features(self) -> list[str]:
        if self.cascade.feature_type != "HAAR" or "mean" not in self.pictures:
            return [page.paragraph("Only Haar features are drawn.")]
        out, zoom = [], 5
        backdrop = self.pictures["mean"][0].repeat(zoom, 0).repeat(zoom, 1)
        for number, stage in enumerate(self.cascade.stages[:12]):
            index = [int(tree.feature[0]) for tree in stage.trees[:1]]
            part = HaarFeatures(
                self.cascade.rects[index], self.cascade.weights[index], self.cascade.tilted[index]
            )
            out.append(page.picture(draw_feature(backdrop, part, scale=zoom), f"stage {number}"))
        return out


_COLUMNS = ("stage", "trees", "hit rate", "false alarms", "in training", "rate before", "seconds")
