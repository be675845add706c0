"""What looks wrong among the samples of a running training, told once and left out on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vj.errors import VJError
from vj.io.images import Pixels, as_gray
from vj.train.assemble import TrainedStage
from vj.train.features import Bank
from vj.train.mining import NegativePool
from vj.train.objects import ObjectSet
from vj.train.sheets import framed, titled_rows
from vj.train.suspects import (
    BUDGET,
    FIRST,
    Suspect,
    chunk,
    in_words,
    plain_patches,
    stricter,
    suspect_objects,
    suspect_scenes,
)
from vj.train.workers import Workers

SHOWN = 60  # suspects on the contact sheet
MOST = 0.25  # share of the samples of a kind beyond which none is left out: those are no outliers


@dataclass(slots=True, eq=False)
class Inspection:
    """Suspects found so far; `drop` says whether they take part no longer.

    Attributes
    ----------
    found : dict
        By kind and index.
    """

    bank: Bank
    sides: Mapping[str, ObjectSet]  # "object" and "held"
    pool: NegativePool
    workers: Workers
    seed: int = 0
    drop: bool = False
    found: dict[tuple[str, int], Suspect] = field(default_factory=dict)
    _plain: Pixels | None = None

    def look(
        self,
        stages: Sequence[TrainedStage],
        log: Sequence[Mapping[str, Any]],
        missed: bool,
        deadline: float,
    ) -> dict[str, Any] | None:
        """What is suspected after these stages and was not before, as a row of the log.

        Objects are looked at after every stage from the third on; backgrounds, which takes longer,
        after every third one; both where the last stage ``missed`` its goal.
        """
        if len(stages) < FIRST and not missed:
            return None
        crops = {kind: side.stream.crops for kind, side in self.sides.items()}
        if self._plain is None:
            every = [crop for mine in crops.values() for crop in mine]
            self._plain = plain_patches(every, self.bank.window)
        suspects = suspect_objects(self.bank, crops, self._plain, stages, self.workers)
        if missed or len(stages) % FIRST == 0:
            which = self._scenes(len(stages), log)
            strict = stricter(self.bank, stages, self.sides["object"].patches, self.workers)
            suspects += suspect_scenes(strict, self.pool.scenes, which, self.workers, deadline)
        new = [s for s in suspects if (s.kind, s.index) not in self.found]
        if not new:
            return None
        self.found.update({(s.kind, s.index): s for s in new})
        left_out = self._leave_out(new) if self.drop else []
        return {
            "event": "suspects",
            "stage": len(stages) - 1,
            "text": in_words(new),
            "found": [s.to_dict() for s in new],
            "left_out": left_out,
        }

    def restore(self, log: Sequence[Mapping[str, Any]]) -> None:
        """What the log of an interrupted training says; before pool and objects are restored."""
        for row in log:
            if row["event"] != "suspects":
                continue
            for suspect in map(Suspect.of_dict, row["found"]):
                self.found[suspect.kind, suspect.index] = suspect
            for kind in row["left_out"]:
                self._take_out(kind, [Suspect.of_dict(r) for r in row["found"]])

    def catch_up(self, log: Sequence[dict[str, Any]]) -> None:
        """Leave out what was only told before the training was resumed."""
        for row in log:
            if self.drop and row["event"] == "suspects" and not row["left_out"]:
                row["left_out"] = self._leave_out([Suspect.of_dict(r) for r in row["found"]])

    def sheet(self) -> Pixels:
        """Contact sheet of the suspects, with names and reasons."""
        shown = list(self.found.values())[:SHOWN]
        rows = [(f"{s.name}: {s.why}", self._tiles(s)) for s in shown]
        more = len(self.found) - len(shown)
        return titled_rows(rows + [(f"and {more} more", [])] * (more > 0))

    def _tiles(self, suspect: Suspect) -> list[Pixels]:
        """An object in its surroundings, windows of a background."""
        if suspect.kind != "background":
            crop = self.sides[suspect.kind].stream.crops[suspect.index]
            corner = np.array(crop.centre) - np.array(crop.size) / 2
            return [framed(crop.pixels, (*corner.tolist(), *crop.size))]
        try:
            gray = as_gray(self.pool.scenes[suspect.index].read())
        except VJError:  # gone since
            return []
        return [framed(gray, box) for box in suspect.boxes]

    def _scenes(self, stage: int, log: Sequence[Mapping[str, Any]]) -> list[int]:
        """Those that are searched now: as many as mining looked at, or as take little time."""
        mined = [row for row in log if row["event"] == "mined" and row["scenes"]]
        windows = sum(row["windows"] for row in mined)
        scenes = sum(row["scenes"] for row in mined)
        budget = max(BUDGET, windows // 4)
        share = budget * scenes / max(windows * len(self.pool.scenes), 1)
        chosen = chunk(len(self.pool.scenes), stage, min(share, 1.0), self.seed)
        return [k for k in chosen if ("background", k) not in self.found]

    def _leave_out(self, suspects: Sequence[Suspect]) -> list[str]:
        """Take suspects out, kind by kind, unless there are too many; the kinds taken out."""
        objects = sum(len(side.stream.crops) for side in self.sides.values())
        total = {"background": len(self.pool.scenes), "object": objects, "held": objects}
        many = Counter(kind for kind, _ in self.found)
        many["object"] = many["held"] = many["object"] + many["held"]
        kinds = [
            kind
            for kind in sorted({s.kind for s in suspects})
            if many[kind] <= MOST * total[kind] and not self._last(kind, suspects)
        ]
        for kind in kinds:
            self._take_out(kind, suspects)
        return kinds

    def _last(self, kind: str, suspects: Sequence[Suspect]) -> bool:
        """Whether nothing of the kind would be left."""
        left = len(self.sides[kind].stream) if kind in self.sides else len(self.pool.scenes)
        return sum(s.kind == kind for s in suspects) >= left

    def _take_out(self, kind: str, suspects: Sequence[Suspect]) -> None:
        which = {s.index for s in suspects if s.kind == kind}
        (self.pool if kind == "background" else self.sides[kind]).leave_out(which)
