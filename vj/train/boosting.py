"""One stage: trees are added until held-out samples meet the stage's goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Tree
from vj.errors import ParameterError
from vj.train.boosting_variants import Flavour
from vj.train.features import Bank, Table
from vj.train.search import Index, SearchPlan, SplitSearch
from vj.train.trees import grow, sum_scores, tree_scores
from vj.train.workers import Workers

ENOUGH = 100  # held-out negatives that a false-alarm rate is measured on; else all samples are


@dataclass(frozen=True, slots=True)
class Goal:
    """When a stage is finished.

    It keeps ``hit_rate`` of the objects and lets at most ``false_alarm`` of the negatives pass, or
    it has ``max_trees`` trees.
    """

    hit_rate: float = 0.995
    false_alarm: float = 0.5
    max_trees: int = 100
    min_trees: int = 1

    def __post_init__(self) -> None:
        for name in ("hit_rate", "false_alarm"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ParameterError(f"`{name}` must be between 0 and 1, got {value}")
        if not 1 <= self.min_trees <= self.max_trees:
            raise ParameterError(
                f"`max_trees` must be at least {max(self.min_trees, 1)}, got {self.max_trees}"
            )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How trees are boosted: flavour, depth, candidate search, weight trimming.

    ``trim`` is the share of the weight that the samples of a round carry at least; ``balance`` the
    share of the weight that the objects have at the start of a stage.
    """

    flavour: Flavour = field(default_factory=Flavour)
    depth: int = 1
    plan: SearchPlan = field(default_factory=SearchPlan)
    trim: float = 0.97
    balance: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 4:
            raise ParameterError(f"`depth` must be 1 to 4, got {self.depth}")
        for name in ("trim", "balance"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise ParameterError(f"`{name}` must be above 0 and at most 1, got {value}")


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Objects, then negatives, on one table."""

    table: Table
    objects: int

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) which samples are objects."""
        return np.arange(self.table.n) < self.objects


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What is known after a tree: rates at the threshold that meets the hit rate."""

    trees: int
    threshold: float
    hit_rate: float
    false_alarm: float
    train_false_alarm: float


@dataclass(frozen=True, slots=True, eq=False)
class StageResult:
    """A finished stage: ``trees`` with bank features, its threshold, every round's rates."""

    trees: tuple[Tree, ...]
    threshold: np.float32
    rounds: tuple[Round, ...]
    held_scores: NDArray[np.float64]
    reached: bool


def boost_stage(
    bank: Bank,
    train: Samples,
    held: Samples,
    goal: Goal,
    recipe: Recipe,
    *,
    seed: Sequence[int] = (0,),
    workers: Workers | None = None,
    trees: Sequence[Tree] = (),
    on_round: Callable[[Round, list[Tree]], bool | None] | None = None,
) -> StageResult:
    """Boost trees on ``train`` until ``held`` meets ``goal``.

    Parameters
    ----------
    trees : sequence of Tree
        Trees that the stage starts with: those of an interrupted training, or those of the stage
        before it in a multi-exit cascade.
    on_round : callable, optional
        Told after each tree; a true answer ends the stage.

    Returns
    -------
    StageResult
        ``reached`` is False if the false-alarm goal was missed.

    References
    ----------
    Viola & Jones, IJCV 57(2), 2004, section 4; Friedman et al., Annals of Statistics 28(2), 2000.
    """
    workers = workers or Workers()
    positive, flavour = train.positive, recipe.flavour
    label = np.where(positive, 1.0, -1.0)
    base = np.where(
        positive,
        recipe.balance / max(train.objects, 1),
        (1 - recipe.balance) / max(train.table.n - train.objects, 1),
    )
    grown = list(trees)
    score, held_score = (sum_scores(bank, side.table, grown) for side in (train, held))
    search = SplitSearch(bank, train.table, recipe.plan, workers, flavour.absolute)
    rounds = [judge(len(grown), train, score, held, held_score, goal)] if grown else []
    while not finished(rounds, goal):
        weight, gradient = flavour.targets(label, score, base)
        search.start_round(len(grown), weight, positive, list(seed))
        kept = trimmed(weight, recipe.trim)
        tree = grow(search, bank, train.table, weight, gradient, kept, flavour, recipe.depth)
        if tree is None:
            break
        which = tree.feature.astype(np.intp)
        score += tree_scores(tree, bank.values(train.table, which))
        held_score += tree_scores(tree, bank.values(held.table, which))
        grown.append(tree)
        rounds.append(judge(len(grown), train, score, held, held_score, goal))
        if on_round is not None and on_round(rounds[-1], grown):
            break
    threshold = rounds[-1].threshold if rounds else 0.0
    reached = bool(rounds) and rounds[-1].false_alarm <= goal.false_alarm
    return StageResult(tuple(grown), np.float32(threshold), tuple(rounds), held_score, reached)


def finished(rounds: Sequence[Round], goal: Goal) -> bool:
    """Whether the last round ends the stage."""
    if not rounds or rounds[-1].trees < goal.min_trees:
        return False
    return rounds[-1].false_alarm <= goal.false_alarm or rounds[-1].trees >= goal.max_trees


def trimmed(weight: NDArray[np.float64], share: float) -> Index:
    """The samples of largest weight that carry ``share`` of it, in their own order."""
    if share >= 1:
        return np.arange(len(weight), dtype=np.int32)
    order = np.argsort(-weight, kind="stable")
    count = int(np.searchsorted(np.cumsum(weight[order]), share)) + 1
    return np.sort(order[:count]).astype(np.int32)


def judge(
    trees: int,
    train: Samples,
    score: NDArray[np.float64],
    held: Samples,
    held_score: NDArray[np.float64],
    goal: Goal,
) -> Round:
    """Threshold that keeps the hit rate on held-out objects, and what passes it.

    Where the held-out samples of a class are too few to tell (fewer than `ENOUGH` negatives, or
    so few objects that less than three may be lost), all samples of the class are judged.
    """
    least = 3 / (1 - goal.hit_rate)
    objects = _enough(held_score[: held.objects], score[: train.objects], least)
    negatives = _enough(held_score[held.objects :], score[train.objects :], ENOUGH)
    lost = int((1 - goal.hit_rate) * len(objects) + 1e-9)
    # A shade lower, so that rounding to float32 keeps the object that sets the threshold.
    limit = float(np.sort(objects)[lost])
    threshold = float(np.float32(limit - 1e-6 * (1 + abs(limit))))
    return Round(
        trees,
        threshold,
        float((objects >= threshold).mean()),
        float((negatives >= threshold).mean()),
        float((score[train.objects :] >= threshold).mean()),
    )


def _enough(
    held: NDArray[np.float64], train: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    return held if len(held) >= least else np.concatenate([held, train])
