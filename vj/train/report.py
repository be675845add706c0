"""What a training did."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vj.cascade.model import Cascade
from vj.evaluate import html as page
from vj.features.haar import HaarFeatures, draw_feature
from vj.io.files import replacing
from vj.io.images import Pixels
from vj.train.check import Check
from vj.train.sheets import contact_sheet
from vj.train.suspects import Suspect


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
        (n, rows, cols) patches of the last stage; "suspects" is a contact sheet of the samples
        that look wrong, if there are any.
    suspects : sequence of Suspect
    """

    settings: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    reason: str
    advice: str
    seconds: float
    check: Check
    cascade: Cascade
    pictures: Mapping[str, Pixels]
    suspects: Sequence[Suspect] = ()

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

    @property
    def hints(self) -> list[str]:
        """What would make the cascade better, as far as the log tells."""
        out = [self.advice] if self.advice else []
        missed = [row for row in self.stages if not row["reached"]]
        many = [row for row in self.stages if row["trees"] >= MANY]
        if missed:
            worst = max(row["false_alarm"] for row in missed)
            out.append(
                f"{_numbered(missed)} missed the goal: {worst:.0%} of the negatives pass with "
                f"{self.settings['max_trees']} trees, or nothing is left to learn. Allow more "
                "trees (max_trees), or ask less of the stages (false_alarm up, hit_rate down)"
            )
        if (missed or many) and (richer := self._richer()):
            what = _numbered(missed or many)
            out.append(f"{what} found the task hard: {richer} reach a goal with fewer trees")
        if self.suspects:
            count = len(self.suspects)
            what = "one sample looks" if count == 1 else f"{count} samples look"
            out.append(
                f"{what} wrong: see the contact sheet; correct the data or leave them out "
                "(drop_suspects, --drop-suspects)"
            )
        return out

    def _richer(self) -> str:
        """Settings that give a tree more to choose from.

        Of 12 stages for 3,000 faces, 296 trees by default became 268 with CORE features, 195 with
        depth 2 from the fourth stage on, and 198 with both, at the same rates.
        """
        depth = self.settings["depth"]
        more = []
        if self.settings["features"] == "BASIC":
            more.append("CORE features (features, --features CORE)")
        if max([depth] if isinstance(depth, int) else depth) == 1:
            more.append("trees of depth 2 in later stages (depth, --depth 1,1,1,2)")
        return " and ".join(more)

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write everything as one JSON object."""
        data = {
            "settings": dict(self.settings),
            "check": str(self.check).splitlines(),
            "log": list(self.log),
            "reason": self.reason,
            "advice": self.advice,
            "hints": self.hints,
            "seconds": round(self.seconds, 2),
        }
        with replacing(path) as file:
            file.write(json.dumps(data, indent=1).encode())

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one page: outcome, stages, curves, suspects, features drawn, samples, settings."""
        parts = [
            page.paragraph(
                f"{self.cascade!r} in {self.seconds:.0f} s; {self.hit_rate:.1%} of the held-out "
                f"objects pass all stages. It ended because {self.reason}."
            ),
            *([page.heading("What to do"), page.bullets(self.hints)] if self.hints else []),
            page.heading("Stages"),
            page.table(_COLUMNS, [self._row(row) for row in self.stages]),
            self._roc_chart(),
            self._rate_chart(),
            *self._suspects(),
            page.heading("First features of each stage, on the mean object"),
            *self._features(),
            page.heading("Hardest samples of the last stage"),
            *(
                page.picture(contact_sheet(self.pictures[name]), name)
                for name in ("hardest objects", "hardest negatives")
                if name in self.pictures
            ),
            page.heading("Samples"),
            *(page.paragraph(line) for line in str(self.check).splitlines()),
            page.picture(self.pictures["samples"], "objects, their variants, background windows"),
            page.heading("Settings"),
            page.table(["setting", "value"], [(k, str(v)) for k, v in self.settings.items()]),
        ]
        with replacing(path) as file:
            file.write(page.page("Training report", *parts))

    def _row(self, row: Mapping[str, Any]) -> list[Any]:
        mined = {r["stage"]: r["rate"] for r in self.log if r["event"] == "mined"}
        rates = (f"{row['hit_rate']:.4f}", f"{row['false_alarm']:.3f}", row["train_false_alarm"])
        seconds, reached = f"{row['seconds']:.1f}", "yes" if row["reached"] else "missed"
        before = f"{mined.get(row['stage'], 1):.1e}"
        return [row["stage"], row["trees"], *rates, reached, before, seconds]

    def _roc_chart(self) -> str:
        lines = {f"stage {row['stage']}": row["roc"] for row in self.stages}
        marks = {f"stage {row['stage']}": (row["false_alarm"], row["hit_rate"])
                 for row in self.stages}  # fmt: skip
        return page.chart("ROC of each stage on held-out samples; circles: where it works", lines,
                          "false positive rate", "hit rate", y_range=(0.9, 1), x_range=(0, 1),
                          marks=marks)  # fmt: skip

    def _rate_chart(self) -> str:
        rates = [(r["stage"], math.log10(max(r["rate"], 1e-12))) for r in self.log
                 if r["event"] == "mined"]  # fmt: skip
        low = math.floor(min((y for _, y in rates), default=-1))
        return page.chart("Share of background windows that reach each stage",
                          {"logarithm to base 10": rates}, "stage", "log10 of the share",
                          y_range=(min(low, -1), 0))  # fmt: skip

    def _suspects(self) -> list[str]:
        if not self.suspects:
            return []
        return [
            page.heading("Samples that look wrong"),
            page.table(
                ["kind", "sample", "why"],
                [("background" if s.kind == "background" else "object", s.name, s.why)
                 for s in self.suspects],
            ),
            page.picture(self.pictures["suspects"], "objects, and windows of backgrounds"),
        ]  # fmt: skip

    def _features(self) -> list[str]:
        """The first features of every stage: Haar boxes, or the blocks that LBP compares."""
        if "mean" not in self.pictures:
            return []
        out, zoom = [], max(round(110 / max(self.cascade.window)), 2)
        backdrop = self.pictures["mean"][0].repeat(zoom, 0).repeat(zoom, 1)
        for number, stage in enumerate(self.cascade.stages):
            index = [int(tree.feature[0]) for tree in stage.trees[:_DRAWN]]
            drawn = [self._drawn(k, backdrop, zoom) for k in index]
            gap = np.full((backdrop.shape[0], 3, 3), 255, np.uint8)
            strip = np.concatenate([part for one in drawn for part in (one, gap)], axis=1)
            out.append(page.picture(strip, f"stage {number}"))
        return out

    def _drawn(self, feature: int, backdrop: Pixels, zoom: int) -> Pixels:
        cascade = self.cascade
        if cascade.feature_type == "HAAR":
            k = [feature]
            part = HaarFeatures(cascade.rects[k], cascade.weights[k], cascade.tilted[k])
            return draw_feature(backdrop, part, scale=zoom)
        out = np.repeat(backdrop[..., None], 3, axis=2)
        x, y, w, h = (cascade.rects[feature, 0] * zoom).tolist()
        for line in range(4):
            out[y : y + 3 * h, min(x + line * w, out.shape[1] - 1)] = _YELLOW
            out[min(y + line * h, out.shape[0] - 1), x : x + 3 * w] = _YELLOW
        return out


def _numbered(rows: Sequence[Mapping[str, Any]]) -> str:
    """Stages by their numbers."""
    numbers = [str(row["stage"]) for row in rows]
    return f"stage {numbers[0]}" if len(numbers) == 1 else f"stages {', '.join(numbers)}"


MANY = 60  # trees of a stage that had a hard time
_DRAWN = 4  # features of a stage
_YELLOW = (255, 200, 0)
_COLUMNS = (
    "stage", "trees", "hit rate", "false alarms", "in training", "goal reached", "rate before",
    "seconds",
)  # fmt: skip
