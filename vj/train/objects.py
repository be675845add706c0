"""The objects of a training: those that pass the cascade so far, topped up after every stage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vj.io.images import Pixels
from vj.train.assemble import TrainedStage
from vj.train.features import Bank, Table
from vj.train.samples import PatchStream
from vj.train.trees import sum_scores
from vj.train.workers import Workers

_BATCH = 4096


def passes(bank: Bank, table: Table, stages: Sequence[TrainedStage]) -> NDArray[np.bool_]:
    """Which samples the detector accepts after ``stages``."""
    alive = np.ones(table.n, np.bool_)
    if bank.ordered:
        alive = table.norms[: table.n] > 0
    for stage in stages:
        alive &= sum_scores(bank, table, stage.trees) >= stage.limit
    return alive


def passing(
    bank: Bank, patches: Pixels, stages: Sequence[TrainedStage], workers: Workers
) -> NDArray[np.bool_]:
    """`passes` for patches of any number, a few thousand at a time."""

    def judge(first: int) -> NDArray[np.bool_]:
        return passes(bank, Table.of(patches[first : first + _BATCH], bank.tilted), stages)

    parts = workers.map(judge, range(0, len(patches), _BATCH))
    return np.concatenate([np.empty(0, np.bool_), *parts])


class ObjectSet:
    """At most ``count`` variants of objects that pass; ``next`` is the first one never tried."""

    def __init__(self, stream: PatchStream, count: int) -> None:
        self.stream, self.count, self.next = stream, count, 0
        self.patches: Pixels = np.empty((0, *stream.window), np.uint8)
        self.source: NDArray[np.int32] = np.empty(0, np.int32)  # crop of each patch

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that `restore` needs."""
        return {"": self.patches, "_next": np.array(self.next), "_source": self.source}

    def restore(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take the place of a set that stopped."""
        self.patches, self.next = state[""].astype(np.uint8), int(state["_next"])
        self.source = state["_source"].astype(np.int32)

    def leave_out(self, crops: set[int]) -> None:
        """Drop the variants of these crops and make no more of them."""
        before = len(self.stream)
        self.stream.leave_out(crops)
        self.next = -(-self.next // before) * len(self.stream)  # a new pass: nothing comes twice
        self._keep(~np.isin(self.source, list(crops)))

    def advance(
        self, bank: Bank, stages: Sequence[TrainedStage], workers: Workers, tries: int = 3
    ) -> float:
        """Drop what the last stage rejects, top up with new variants that pass all stages.

        At most ``tries`` times the missing number is tried. Returns the share of tried variants
        that pass, 1 where none was tried.
        """
        if stages and len(self.patches):
            self._keep(passing(bank, self.patches, stages[-1:], workers))
        tried, found, sources = 0, [self.patches], [self.source]
        missing = self.count - len(self.patches)
        wanted, limit = missing, tries * missing
        while wanted > 0 and tried < limit:
            batch = self.stream.take(self.next, min(_BATCH, limit - tried, 2 * wanted), workers)
            keep = np.flatnonzero(passing(bank, batch, stages, workers))[:wanted]
            used = len(batch) if len(keep) < wanted else int(keep[-1]) + 1
            found.append(batch[keep])
            sources.append(self.stream.source(self.next, len(batch))[keep])
            self.next, tried, wanted = self.next + used, tried + used, wanted - len(keep)
        self.patches, self.source = np.concatenate(found), np.concatenate(sources)
        return (missing - wanted) / tried if tried else 1.0

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.patches, self.source = self.patches[which], self.source[which]
