"""The arrays of a cascade, and the same numbers as stages of trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FeatureType = Literal["HAAR", "LBP"]
_BIAS = np.float32(1e-5)


class Tree(NamedTuple):
    """One tree of a stage. Children: > 0 a node of the tree, <= 0 minus the number of a leaf."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    subset: NDArray[np.uint32]
    leaf: NDArray[np.float32]


class Stage(NamedTuple):
    """One stage: a window passes unless the sum of its leaves is below ``limit``."""

    threshold: float
    limit: float
    trees: tuple[Tree, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CascadeArrays:
    """What a `vj.cascade.model.Cascade` holds, which says what each array is, before any check."""

    window: tuple[int, int]
    feature_type: FeatureType
    stage_threshold: NDArray[np.float32]
    stage_first: NDArray[np.int32]
    tree_first: NDArray[np.int32]
    node_left: NDArray[np.int32]
    node_right: NDArray[np.int32]
    node_feature: NDArray[np.int32]
    node_threshold: NDArray[np.float32]
    node_subset: NDArray[np.uint32]
    leaf: NDArray[np.float32]
    rects: NDArray[np.int32]
    weights: NDArray[np.float32]
    tilted: NDArray[np.bool_]
    name: str = "cascade"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_stages(self) -> int:
        """Number of stages."""
        return len(self.stage_threshold)

    @property
    def n_trees(self) -> int:
        """Number of trees of all stages."""
        return len(self.tree_first) - 1

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all trees."""
        return len(self.node_feature)

    @property
    def n_features(self) -> int:
        """Number of features, used or not."""
        return len(self.rects)

    @property
    def is_stumps(self) -> bool:
        """Every tree is one node."""
        return self.n_nodes == self.n_trees

    @property
    def has_tilted(self) -> bool:
        """At least one feature is tilted."""
        return bool(self.tilted.any())

    @property
    def stage_limit(self) -> NDArray[np.float32]:
        """(S,) float32: a window fails a stage if its sum, in float64, is below this."""
        limit: NDArray[np.float32] = self.stage_threshold - _BIAS
        return limit

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The same numbers as stages of trees: views, made when asked for."""
        limits = self.stage_limit.tolist()
        return tuple(
            Stage(threshold, limits[s], tuple(self._trees(s)))
            for s, threshold in enumerate(self.stage_threshold.tolist())
        )

    def _trees(self, stage: int) -> Iterator[Tree]:
        for tree in range(self.stage_first[stage], self.stage_first[stage + 1]):
            first, stop = int(self.tree_first[tree]), int(self.tree_first[tree + 1])
            nodes = slice(first, stop)
            yield Tree(
                self.node_left[nodes],
                self.node_right[nodes],
                self.node_feature[nodes],
                self.node_threshold[nodes],
                self.node_subset[nodes],
                self.leaf[first + tree : stop + tree + 1],
            )
