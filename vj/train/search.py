"""Which features can split the samples best: exact, screened or random search.

* ``exact``: every feature in every round.
* ``screen``: every `refresh` rounds all features are ranked on a small sample drawn by weight; the
  best ones compete on all samples until the next refresh (after Appel et al., ICML 2013).
* ``random``: a new random share of the features in every round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError
from vj.kernels import boost as kernels
from vj.train.features import Bank, Table
from vj.train.workers import Workers

SEARCHES = ("exact", "screen", "random")
_CHUNK = 1024
Index = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How candidates are found.

    ``refresh`` rounds between two screenings, on ``sample`` samples (a quarter of few), of which
    the best ``keep`` features go on; ``share`` of the features in a round of random search;
    ``memory`` bytes that bins of all features may take in exact search before they are recomputed
    in each round.
    """

    mode: str = "screen"
    refresh: int = 10
    sample: int = 1024
    keep: int = 1000
    share: float = 0.1
    memory: int = 2 << 30

    def __post_init__(self) -> None:
        if self.mode not in SEARCHES:
            raise ParameterError(f"`search` must be one of {', '.join(SEARCHES)}, got {self.mode}")
        if not 0 < self.share <= 1:
            raise ParameterError(f"`share` must be above 0 and at most 1, got {self.share}")


def pack(weight: NDArray[np.float64], gradient: NDArray[np.float64], scale: float) -> NDArray[Any]:
    """Integer weight and gradient of each sample in one int64, as `vj.kernels.boost` reads it."""
    low = np.rint(weight * scale).astype(np.int64)
    high = np.rint(gradient * scale).astype(np.int64)
    return (high << 32) + low


class SplitSearch:
    """Candidates for the splits of one stage's trees, on one table of training samples."""

    def __init__(
        self, bank: Bank, table: Table, plan: SearchPlan, workers: Workers, absolute: bool
    ) -> None:
        self._bank, self._table, self._plan, self._workers = bank, table, plan, workers
        self._absolute = absolute
        self._chunks: list[tuple[NDArray[np.intp], NDArray[np.uint8] | None]] = []

    def start_round(
        self, number: int, weight: NDArray[np.float64], positive: NDArray[np.bool_], seed: list[int]
    ) -> None:
        """Choose the features that compete in round ``number``.

        Nothing is carried over from before the last multiple of ``refresh``, so that a training
        that stopped there goes on as if it had not.
        """
        every = np.arange(len(self._bank))
        if self._plan.mode == "exact":
            if not self._chunks:
                fits = len(self._bank) * self._table.width <= self._plan.memory
                self._load(every, keep_bins=fits)
        elif self._plan.mode == "random":
            rng = np.random.default_rng([*seed, number])
            count = max(int(len(every) * self._plan.share), 1)
            self._load(np.sort(rng.choice(every, count, replace=False)))
        elif number % self._plan.refresh == 0 or not self._chunks:
            rng = np.random.default_rng([*seed, number])
            self._load(self._shortlist(weight, positive, rng))

    def candidates(self, index: Index, packed: NDArray[np.int64], count: int) -> NDArray[np.intp]:
        """The ``count`` features of largest gain on the samples ``index``, best first.

        Equal gains: lowest number first. Empty if nothing splits the samples.
        """
        gain = np.concatenate(list(self._workers.map(self._gains(index, packed), self._chunks)))
        feature = np.concatenate([which for which, _ in self._chunks])
        order = np.lexsort((feature, -gain))[:count]
        return feature[order[gain[order] > 0]]

    def _gains(self, index: Index, packed: NDArray[np.int64]) -> Any:
        def of(chunk: tuple[NDArray[np.intp], NDArray[np.uint8] | None]) -> NDArray[np.float64]:
            which, bins = chunk
            if bins is None:
                bins = self._bank.bins(self._table, which)
            return gains(bins, index, packed, self._absolute, self._bank.ordered)

        return of

    def _load(self, which: NDArray[np.intp], keep_bins: bool = True) -> None:
        # A tenth of the features a piece at most, so that two threads share a short list too.
        size = min(_CHUNK, max(-(-len(which) // 8), 4))
        parts = [which[k : k + size] for k in range(0, len(which), size)]
        if keep_bins:
            bins = self._workers.map(lambda part: self._bank.bins(self._table, part), parts)
            self._chunks = list(zip(parts, bins, strict=True))
        else:
            self._chunks = [(part, None) for part in parts]

    def _shortlist(
        self, weight: NDArray[np.float64], positive: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.intp]:
        """The best ``keep`` features on samples drawn from either class in proportion to weight."""
        drawn, mass = [], []
        half = min(self._plan.sample, max(self._table.n // 4, 256)) // 2
        for side in (np.flatnonzero(positive), np.flatnonzero(~positive)):
            cumulative = np.cumsum(weight[side])
            at = np.searchsorted(cumulative, rng.random(half) * cumulative[-1], side="right")
            drawn.append(side[np.minimum(at, len(side) - 1)])
            mass.append(np.full(half, cumulative[-1] / half))
        chosen, sign = np.concatenate(drawn), np.repeat([1.0, -1.0], half)
        value = np.concatenate(mass)
        packed = pack(value / value.sum(), sign * value / value.sum(), 2.0**30)
        small = self._table.pick(chosen)
        index = np.arange(len(chosen), dtype=np.int32)

        def of(which: NDArray[np.intp]) -> NDArray[np.float64]:
            bins = self._bank.bins(small, which)
            return gains(bins, index, packed, self._absolute, self._bank.ordered, prune=False)

        every = np.arange(len(self._bank))
        parts = [every[k : k + _CHUNK] for k in range(0, len(every), _CHUNK)]
        gain = np.concatenate(list(self._workers.map(of, parts)))
        return np.sort(np.lexsort((every, -gain))[: self._plan.keep])


def gains(
    bins: NDArray[np.uint8],
    index: Index,
    packed: NDArray[np.int64],
    absolute: bool,
    ordered: bool,
    prune: bool = True,
) -> NDArray[np.float64]:
    """Gain of the best split of each row of ``bins`` on the samples ``index``."""
    work, left = np.empty(4 * kernels.BINS, np.int64), np.empty(2 * kernels.BINS)
    gain, extra = np.empty(len(bins)), np.empty(max(len(bins), kernels.BINS), np.int32)
    if ordered:
        kernels.best_cuts(bins, index, packed, absolute, work, left, gain, extra)
    else:
        kernels.best_subsets(bins, index, packed, absolute, prune, work, left, extra, gain)
    return gain
