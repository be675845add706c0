"""The loop over the stages: mine, boost, save, and stop with what was achieved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade, Tree
from vj.errors import SinkError, TrainingError
from vj.io.images import Pixels
from vj.train.assemble import TrainedStage, assemble
from vj.train.boosting import Round, Samples, StageResult, boost_stage
from vj.train.checkpoint import Checkpoint
from vj.train.features import Bank, Table
from vj.train.inspection import Inspection
from vj.train.mining import NegativePool, Yield
from vj.train.objects import ObjectSet, passing
from vj.train.settings import Settings
from vj.train.workers import Workers

PARTIAL_EVERY = 50  # trees between two checkpoints within a stage; a multiple of screen's refresh
TIME_IS_UP = "the time is up"
_SHOWN = 48  # samples of a kind in the report
_CALIBRATION = 512  # samples that set the ranges of the bins
Event = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Loop:
    """A running training. ``reason`` and ``advice`` say why it ended and what would help."""

    settings: Settings
    bank: Bank
    objects: ObjectSet
    held_objects: ObjectSet
    pool: NegativePool
    workers: Workers
    inspection: Inspection
    checkpoint: Checkpoint | None = None
    deadline: float = np.inf
    tell: Callable[[Event], None] = lambda event: None
    on_cascade: Callable[[Cascade], None] = lambda cascade: None
    stages: list[TrainedStage] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    advice: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, Pixels] = field(default_factory=dict)

    def run(self, resume: bool = False) -> None:
        """Train until a limit is met; TrainingError if not even one stage can be made."""
        if not resume and self.checkpoint is not None and self.checkpoint.exists:
            folder = self.checkpoint.folder
            text = f"{folder} holds a training, which this one replaces; resume would go on with it"
            self.tell({"event": "warning", "text": text})
        partial = self._restore() if resume else None
        while len(self.stages) < self.settings.n_stages:
            if time.monotonic() > self.deadline:
                self._time_is_up()
                break
            if partial is None:
                if not self._prepare():
                    break
                self._save()
            if not self._stage(partial or []):
                break
            partial = None
        else:
            self._stop("all stages are trained", "")
        if not self.stages:
            raise TrainingError(f"no stage could be trained: {self.reason}: {self.advice}")

    def cascade(self) -> Cascade:
        """The cascade so far."""
        return assemble(self.bank, self.stages, metadata=self.metadata)

    def _stop(self, reason: str, advice: str) -> None:
        self.reason, self.advice = reason, advice
        self.tell({"event": "stop", "reason": reason, "advice": advice})

    def _time_is_up(self) -> None:
        self._stop(TIME_IS_UP, "give it more time, or resume")

    def _restore(self) -> list[Tree]:
        if self.checkpoint is None:
            raise TrainingError("nothing to resume: no checkpoint folder was given")
        self.stages, self.log, arrays, partial = self.checkpoint.load()
        self.inspection.restore(self.log)
        try:
            for name, side in self._sides().items():
                mine = {k.removeprefix(name): v for k, v in arrays.items() if k.startswith(name)}
                side.restore(mine)
            self.pool.restore(arrays)
        except KeyError as exc:
            raise TrainingError(
                f"{self.checkpoint.folder}: lacks {exc}, from an earlier version: begin anew"
            ) from exc
        self.inspection.catch_up(self.log)
        self.tell({"event": "resume", "stages": len(self.stages), "trees": len(partial)})
        return partial

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        arrays = self.pool.state()
        for name, side in self._sides().items():
            arrays.update({f"{name}{key}": array for key, array in side.state().items()})
        self._try(lambda saver: saver.save(self.stages, self.log, arrays))

    def _sides(self) -> dict[str, ObjectSet]:
        return {"objects": self.objects, "held": self.held_objects}

    def _try(self, save: Callable[[Checkpoint], None]) -> None:
        """A checkpoint that cannot be written must not end a training."""
        assert self.checkpoint is not None
        try:
            save(self.checkpoint)
        except SinkError as exc:
            self.tell(
                {"event": "warning", "text": f"checkpoint not saved, training goes on: {exc}"}
            )

    def _prepare(self) -> bool:
        """Fill objects and negatives for the next stage; False ends the training."""
        s, settings = len(self.stages), self.settings
        for side in (self.objects, self.held_objects):
            share = side.advance(self.bank, self.stages, self.workers)
        if len(self.objects.patches) < max(self.objects.count // 4, 1):
            self._stop(
                f"only {len(self.objects.patches)} of {self.objects.count} objects still pass",
                "raise the hit rate, or give objects that look more alike",
            )
            return False
        if self.stages:
            keep = passing(self.bank, self.pool.patches, self.stages[-1:], self.workers)
            self.pool.keep(keep)
        cascade = self.cascade() if self.stages else None
        seen = self.pool.refill(
            cascade, s, settings.n_negatives or 0, self.workers, self.deadline, self.tell
        )
        rate = self._false_alarm_rate(seen)
        row = {
            "event": "mined",
            "stage": s,
            "negatives": len(self.pool.patches),
            "windows": seen.visited or self.pool.windows,
            "rate": rate,
            "scenes": seen.scenes,
            "complete": self.pool.complete,
            "objects_pass": share,
            "seconds": seen.seconds,
        }
        self.log.append(row)
        self.tell(row)
        if time.monotonic() > self.deadline:
            self._time_is_up()
            return False
        return self._enough(rate, seen)

    def _false_alarm_rate(self, seen: Yield) -> float:
        """Share of windows without an object that pass the cascade so far."""
        if not self.stages:
            return 1.0
        if self.pool.complete:
            return len(self.pool.patches) / max(self.pool.windows, 1)
        return seen.rate

    def _enough(self, rate: float, seen: Yield) -> bool:
        settings, n = self.settings, len(self.pool.patches)
        if self.stages and rate <= settings.target_rate and (seen.visited or self.pool.complete):
            self._stop(f"the false-alarm rate is {rate:.1e} a window, as asked for", "")
            return False
        if int((~self.pool.held).sum()) >= (settings.min_negatives or 1):
            return True
        windows = seen.visited or self.pool.windows
        if not self.stages:
            problems = "; ".join(sorted(self.pool.problems.values())[:3])
            raise TrainingError(
                f"the backgrounds give only {n} windows with contrast, at least "
                f"{settings.min_negatives} are needed: give more of them. {problems}".strip()
            )
        # Wilson's upper bound at 95 % of a rate of which n out of so many windows were seen.
        upper = (n + 1.92 + 1.96 * np.sqrt(n + 0.96)) / windows
        self._stop(
            f"only {n} of {windows:,} background windows still pass: the false-alarm rate is "
            f"below {upper:.1e} a window (95 %)",
            "that is all these backgrounds can teach; more, larger or harder ones let it go on",
        )
        return False

    def _stage(self, trees: list[Tree]) -> bool:
        """Boost the next stage; False ends the training."""
        s, settings, started = len(self.stages), self.settings, time.monotonic()
        train, held, held_patches = self._samples()
        rng = np.random.default_rng([settings.random_state, 8, s])
        some = rng.choice(train.table.n, min(_CALIBRATION, train.table.n), replace=False)
        self.bank.calibrate(train.table.pick(np.sort(some)))
        inherited = self.stages[-1].trees if settings.multi_exit and self.stages else ()

        def on_round(state: Round, grown: list[Tree]) -> bool:
            self.tell({"event": "tree", "stage": s, **vars_of(state)})
            if self.checkpoint is not None and len(grown) % PARTIAL_EVERY == 0:
                self._try(lambda saver: saver.save_partial(s, len(self.log), grown))
            return time.monotonic() > self.deadline

        result = boost_stage(
            self.bank,
            train,
            held,
            settings.goal(s, len(inherited)),
            settings.recipe(s),
            seed=(settings.random_state, 7, s),
            workers=self.workers,
            trees=trees or inherited,
            on_round=on_round,
        )
        if self.checkpoint is not None:  # the scan for the next stage may take long
            self._try(lambda saver: saver.save_partial(s, len(self.log), result.trees))
        self._show(result, held, held_patches)
        return self._accept(result, train, held, time.monotonic() - started)

    def _show(self, result: StageResult, held: Samples, patches: Pixels) -> None:
        """Keep the pictures that tell most: what the stage is least sure of."""
        order = np.argsort(result.held_scores, kind="stable")
        objects, negatives = order[order < held.objects], order[order >= held.objects]
        self.pictures["mean"] = patches[: held.objects].mean(axis=0).astype(np.uint8)[None]
        self.pictures["hardest objects"] = patches[objects[:_SHOWN]]
        self.pictures["hardest negatives"] = patches[negatives[::-1][:_SHOWN]]

    def _samples(self) -> tuple[Samples, Samples, Pixels]:
        """Objects, then negatives: to train on, and held out; and the pixels of the latter."""
        s, settings = len(self.stages), self.settings
        out = []
        need = settings.n_negatives or 0
        for side, held, count in (
            (self.objects, False, need),
            (self.held_objects, True, max(need // 4, 1)),
        ):
            mine = np.flatnonzero(self.pool.held == held)
            if len(mine) > count:
                rng = np.random.default_rng([settings.random_state, 9, s, held])
                mine = np.sort(rng.choice(mine, count, replace=False))
            patches: Pixels = np.concatenate([side.patches, self.pool.patches[mine]])
            out.append(Samples(Table.of(patches, self.bank.tilted), len(side.patches)))
        return out[0], out[1], patches

    def _accept(self, result: StageResult, train: Samples, held: Samples, seconds: float) -> bool:
        """Take the stage over and look for samples that are wrong; False ends the training.

        A stage that missed its goal is boosted again where the culprits are left out.
        """
        s, late = len(self.stages), time.monotonic() > self.deadline
        stage = TrainedStage(result.trees, result.threshold)
        hopeless = not result.rounds or result.rounds[-1].false_alarm > 0.97
        if result.rounds and not late and self._inspect(stage, result.reached):
            return True
        if hopeless and late:
            self._time_is_up()
        elif hopeless:
            self._stop(
                f"stage {s} lets all negatives pass: nothing tells them from the objects",
                "look at the contact sheet: are the objects aligned, are there any in the "
                "backgrounds?",
            )
        if hopeless:
            return False
        self.stages.append(stage)
        row = {
            "event": "stage",
            "stage": s,
            **vars_of(result.rounds[-1]),
            "reached": result.reached,
            "objects": train.objects,
            "negatives": train.table.n - train.objects,
            "held_objects": held.objects,
            "held_negatives": held.table.n - held.objects,
            "roc": roc(result.held_scores, held.objects),
            "seconds": seconds,
        }
        self.log.append(row)
        self.tell(row)
        self.on_cascade(self.cascade())
        return True

    def _inspect(self, stage: TrainedStage, reached: bool) -> bool:
        """Tell which samples look wrong; whether some were left out, and the stage is in vain."""
        found = self.inspection.look([*self.stages, stage], self.log, not reached, self.deadline)
        if found is None:
            return False
        self.log.append(found)
        self.tell({**found, "sheet": self.inspection.sheet()})
        return bool(found["left_out"]) and not reached


def vars_of(state: Round) -> dict[str, Any]:
    """Fields of a round."""
    return {name: getattr(state, name) for name in Round.__slots__}


def roc(score: NDArray[np.float64], objects: int, points: int = 41) -> list[tuple[float, float]]:
    """(false alarms, hits) of a stage on held-out samples, from strict to lenient."""
    positive, negative = np.sort(score[:objects]), np.sort(score[objects:])
    if not len(positive):
        return []
    limits = np.quantile(positive, np.linspace(1, 0, points))
    hits = 1 - np.searchsorted(positive, limits, side="left") / len(positive)
    alarms = 1 - np.searchsorted(negative, limits, side="left") / max(len(negative), 1)
    pairs: Sequence[tuple[float, float]] = list(zip(alarms.tolist(), hits.tolist(), strict=True))
    return [(round(a, 5), round(h, 5)) for a, h in pairs]
