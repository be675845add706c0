"""What single stages and trees say of a window."""

from __future__ import annotations

from typing import NamedTuple


class StageResult(NamedTuple):
    """One stage for one window: it passes unless the sum is below the limit."""

    stage: int
    sum: float
    limit: float
    passed: bool

    @property
    def margin(self) -> float:
        """Sum minus limit: negative where the window fails."""
        return self.sum - self.limit


class TreeVote(NamedTuple):
    """What one tree said: the leaf it chose, and how far that is from the middle of its leaves."""

    stage: int
    tree: int  # counted from 0 in the stage
    leaf: float
    contribution: float
    features: tuple[int, ...]  # of the nodes on the way to the leaf
    values: tuple[float, ...]  # of these features in the window; the code for LBP
