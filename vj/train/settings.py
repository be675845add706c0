"""Everything that decides what a training makes of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from vj.errors import ParameterError
from vj.train.augment import Augment
from vj.train.boosting import Goal, Recipe
from vj.train.boosting_variants import Flavour
from vj.train.search import SearchPlan
from vj.train.shape import AUTO, SQUARE

FEATURES = ("BASIC", "CORE", "ALL", "LBP")
COPIES = 25  # variants of one object, at most, that n_positives is made of by default


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of `CascadeTrainer`, checked; the names and meanings are the same."""

    window: tuple[int, int] | str = AUTO
    features: str = "BASIC"
    boost: str = "gentle"
    depth: int | Sequence[int] = 1
    n_stages: int = 20
    hit_rate: float | Sequence[float] = 0.995
    false_alarm: float | Sequence[float] = 0.5
    max_trees: int = 200
    target_rate: float = 1e-7
    n_positives: int | None = None
    n_negatives: int | None = None
    min_negatives: int | None = None
    held_out: float = 0.1
    margin: float = 1.0
    surroundings: bool = True
    augment: Augment = field(default_factory=Augment)
    views: int = 1
    search: str = "screen"
    share: float = 0.1
    trim: float = 0.97
    balance: float = 0.5
    multi_exit: bool = False
    memory: int = 2 << 30
    random_state: int = 0

    def __post_init__(self) -> None:
        # Names are understood in any case of letters.
        object.__setattr__(self, "features", self.features.upper())
        object.__setattr__(self, "boost", Flavour(self.boost).name)
        object.__setattr__(self, "search", self.search.lower())
        if self.window != AUTO and not _is_size(self.window):
            raise ParameterError(f"`window` must be (rows, cols) or {AUTO!r}, got {self.window!r}")
        rows, cols = self.shape
        if not (6 <= rows <= 256 and 6 <= cols <= 256):
            raise ParameterError(f"`window` sides must be 6 to 256 pixels, got {cols}x{rows}")
        if self.features not in FEATURES:
            raise ParameterError(
                f"`features` must be one of {', '.join(FEATURES)}, got {self.features!r}"
            )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and name in _WHOLE and not isinstance(value, int | np.integer):
                raise ParameterError(f"`{name}` must be a whole number, got {value!r}")
            if value is not None and not low <= value <= high:
                raise ParameterError(f"`{name}` must be {low:,} to {high:,}, got {value}")
        for stage in range(self.n_stages):
            self.recipe(stage)
            self.goal(stage)

    def recipe(self, stage: int) -> Recipe:
        """How stage number ``stage`` is boosted."""
        plan = SearchPlan(self.search, share=self.share, memory=self.memory // 3)
        depth = int(_of_stage(self.depth, stage))
        return Recipe(Flavour(self.boost), depth, plan, self.trim, self.balance)

    def goal(self, stage: int, inherited: int = 0) -> Goal:
        """When stage number ``stage`` is finished that starts with ``inherited`` trees."""
        hit, alarm = (_of_stage(rates, stage) for rates in (self.hit_rate, self.false_alarm))
        # Exits that grow by half keep the trees that nested stages repeat below twice the last.
        least = max(1, inherited + inherited // 2)
        return Goal(hit, alarm, inherited // 2 + inherited + self.max_trees, least)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the window; those for square objects while none have been seen."""
        return SQUARE if isinstance(self.window, str) else self.window

    @property
    def capacity(self) -> int:
        """Negatives that the pool may hold."""
        return int(max(0.4 * self.memory // (self.shape[0] * self.shape[1]), 10_000))

    def sized(self, objects: int) -> Settings:
        """With the numbers of samples filled in, where there are so many objects."""
        count = self.n_positives or min(max(1000, objects), 5000, COPIES * objects)
        negatives = self.n_negatives or max(count, 1000)
        least = self.min_negatives or max(negatives // 20, 10)
        return replace(self, n_positives=count, n_negatives=negatives, min_negatives=least)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and names."""
        return asdict(self)


def _is_size(window: object) -> bool:
    return (
        isinstance(window, Sequence)
        and len(window) == 2
        and all(isinstance(side, int | np.integer) for side in window)
    )


def _of_stage(values: float | Sequence[float], stage: int) -> float:
    """The value of a stage: its own of a sequence, whose last one holds for the rest."""
    if isinstance(values, int | float):
        return float(values)
    if not len(values):
        raise ParameterError("a sequence of one value a stage must not be empty")
    return float(values[min(stage, len(values) - 1)])


_WHOLE = (
    "n_stages", "n_positives", "n_negatives", "min_negatives", "views", "memory", "random_state",
)  # fmt: skip
_RANGES = (
    ("n_stages", 1, 100),
    ("target_rate", 0, 1),
    ("n_positives", 1, 10**7),
    ("n_negatives", 10, 10**7),
    ("min_negatives", 1, 10**7),
    ("held_out", 0, 0.9),
    ("margin", 0.5, 4),
    ("views", 1, 8),
    ("memory", 1 << 26, 1 << 50),
    ("random_state", 0, 2**31),
)
