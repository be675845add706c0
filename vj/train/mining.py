"""Hard negatives: windows of pictures without objects that pass the cascade so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.io.images import Pixels
from vj.train.sources import Scene
from vj.train.windows import Survivors, WindowFinder
from vj.train.workers import Workers

_BATCH = 16  # scenes between two looks at what is still needed
_FEW = 50  # times the negatives of a stage: so many that pass are all kept, to scan no more


@dataclass(slots=True, eq=False)
class Yield:
    """What a search for negatives saw."""

    visited: int = 0
    passed: int = 0
    scenes: int = 0
    out_of: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Share of the visited windows that pass: the false-alarm rate of the detector."""
        return self.passed / self.visited if self.visited else 0.0


class NegativePool:
    """Negatives of a training: those that survive, and where to look for more.

    Attributes
    ----------
    scenes : sequence of Scene
    patches : (n, rows, cols) uint8
        Windows that passed the cascade when they were last filtered.
    scene : (n,) int32
        Scene of each.
    complete : bool
        Every window of every scene that passes the cascade is in the pool: no scan can find more.
    windows : int
        Windows in all scenes and views, as far as they are known.
    """

    def __init__(
        self, scenes: Sequence[Scene], window: tuple[int, int], *, views: int = 1,
        capacity: int = 200_000, seed: int = 0, contrast: bool = True,
    ) -> None:  # fmt: skip
        self.patches: Pixels = np.empty((0, *window), np.uint8)
        self.scene: NDArray[np.int32] = np.empty(0, np.int32)
        self.complete = False
        self.windows = 0
        self.problems: dict[int, str] = {}
        self.scenes, self._window, self._seed = scenes, window, seed
        self._capacity, self._contrast = capacity, contrast
        jobs = np.random.default_rng([seed, 4]).permutation(len(scenes) * views)
        self._jobs = [(int(job) % len(scenes), int(job) // len(scenes)) for job in jobs]
        self._at = 0
        held = np.random.default_rng([seed, 5]).permutation(len(scenes))
        self._held = np.isin(np.arange(len(scenes)), held[: len(scenes) // 5])

    @property
    def held(self) -> NDArray[np.bool_]:
        """(n,) which patches are held out: those of a fifth of the scenes, if there are five."""
        if not self._held.any():
            return np.asarray(np.arange(len(self.patches)) % 5 == 4)
        return np.asarray(self._held[self.scene])

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that `restore` needs."""
        numbers = np.array([self.complete, self.windows, self._at], np.int64)
        return {"patches": self.patches, "scene": self.scene, "numbers": numbers}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take the place of a pool that stopped."""
        self.patches = state["patches"].astype(np.uint8)
        self.scene = state["scene"].astype(np.int32)
        complete, self.windows, self._at = (int(v) for v in state["numbers"])
        self.complete = bool(complete)

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Drop the other patches."""
        self.patches, self.scene = self.patches[which], self.scene[which]

    def leave_out(self, scenes: set[int]) -> None:
        """Drop the patches of these scenes and look for no more there."""
        stays = [job[0] not in scenes for job in self._jobs]
        self.windows = self.windows * sum(stays) // len(stays)
        self._at = sum(stays[: self._at])
        self._jobs = [job for job, here in zip(self._jobs, stays, strict=True) if here]
        self._held[list(scenes)] = False
        self.keep(~np.isin(self.scene, list(scenes)))

    def refill(
        self,
        cascade: Cascade | None,
        stage: int,
        need: int,
        workers: Workers,
        deadline: float = np.inf,
        tell: Callable[[Mapping[str, Any]], None] = lambda event: None,
    ) -> Yield:
        """Scan scenes until ``need`` patches to train on and a quarter of it held out are there.

        Ends after one round over all scenes and views, or at the deadline (`time.monotonic`).
        """
        seen, started = Yield(out_of=len(self._jobs)), time.monotonic()
        finder = WindowFinder(cascade, self._window, self._contrast)
        # No scene gives more than its share, so that negatives are of many kinds.
        cap: int | None = max(need // 60, 2 * need // max(len(self._jobs), 1), 20)
        parts = [(self.patches, self.scene)]
        while not self.complete and time.monotonic() <= deadline:
            if cap is not None and self._enough(parts, need):
                break
            if cap is not None and cascade is not None and self._fits_whole(seen, need):
                # Few enough pass: begin again, take all of them, and never scan a second time.
                cap, seen, parts = None, Yield(out_of=len(self._jobs)), parts[:0]
            if seen.scenes == len(self._jobs):
                break
            jobs = self._next_jobs(len(self._jobs) - seen.scenes)
            parts += self._look(jobs, finder, stage, cap, seen, workers)
            tell(
                {
                    "event": "mining",
                    "stage": stage,
                    "scenes": seen.scenes,
                    "of": seen.out_of,
                    "windows": seen.visited,
                    "rate": seen.rate,
                    "complete": cap is None,
                    "seconds": time.monotonic() - started,
                }
            )
            if cap is None and seen.scenes == len(self._jobs):
                self.complete, self.windows = True, seen.visited
        if parts:
            self.patches, self.scene = (
                np.concatenate(column) for column in zip(*parts, strict=True)
            )
        seen.seconds = time.monotonic() - started
        return seen

    def _enough(self, parts: list[tuple[Pixels, NDArray[np.int32]]], need: int) -> bool:
        total = sum(len(scene) for _, scene in parts)
        held = total // 5
        if self._held.any():
            held = sum(int(self._held[scene].sum()) for _, scene in parts)
        return total - held >= need and held >= need // 4

    def _fits_whole(self, seen: Yield, need: int) -> bool:
        """Whether all windows that pass are few enough: judged after a tenth of the scenes."""
        if seen.scenes < min(max(len(self._jobs) // 10, 1), 64):
            return False
        return seen.passed * len(self._jobs) / seen.scenes < min(0.7 * self._capacity, _FEW * need)

    def _next_jobs(self, most: int) -> list[tuple[int, int]]:
        """The next scenes and views in the shuffled order, round and round."""
        count = min(_BATCH, most)
        jobs = [self._jobs[(self._at + k) % len(self._jobs)] for k in range(count)]
        self._at = (self._at + count) % len(self._jobs)
        return jobs

    def _look(
        self, jobs: list[tuple[int, int]], finder: WindowFinder, stage: int, cap: int | None,
        seen: Yield, workers: Workers,
    ) -> list[tuple[Pixels, NDArray[np.int32]]]:  # fmt: skip
        """Survivors of scenes, with the number of their scene."""

        def look(job: tuple[int, int]) -> Survivors:
            rng = np.random.default_rng([self._seed, 6, stage, *job])
            return finder.find(self.scenes[job[0]], job[1], cap, rng)

        out = []
        for job, found in zip(jobs, workers.map(look, jobs), strict=True):
            if found.problem:
                self.problems[job[0]] = found.problem
            seen.visited += found.visited
            seen.passed += found.passed
            seen.scenes += 1
            out.append((found.patches, np.full(len(found.patches), job[0], np.int32)))
        return out
