"""Trees of a bank and a `Cascade`: each from the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vj.cascade.model import Cascade, Tree
from vj.train.features import Bank


@dataclass(frozen=True, slots=True, eq=False)
class TrainedStage:
    """A finished stage: trees with bank features, and the threshold as in the file."""

    trees: tuple[Tree, ...]
    threshold: np.float32

    @property
    def limit(self) -> float:
        """What a sum in float64 must not be below."""
        return float(np.float32(self.threshold) - np.float32(1e-5))


def assemble(
    bank: Bank,
    stages: Sequence[TrainedStage],
    name: str = "cascade",
    metadata: Mapping[str, Any] | None = None,
) -> Cascade:
    """The cascade of the stages; features that no tree uses are left out."""
    trees = [tree for stage in stages for tree in stage.trees]
    numbers = np.concatenate([tree.feature for tree in trees]).astype(np.intp)
    used, feature = np.unique(numbers, return_inverse=True)
    subsets = [tree.subset for tree in trees] if not bank.ordered else [np.empty((0, 8), np.uint32)]
    return Cascade(
        window=bank.window,
        feature_type="HAAR" if bank.ordered else "LBP",
        stage_threshold=np.array([stage.threshold for stage in stages], np.float32),
        stage_first=np.cumsum([0, *(len(stage.trees) for stage in stages)]).astype(np.int32),
        tree_first=np.cumsum([0, *(len(tree.feature) for tree in trees)]).astype(np.int32),
        node_left=np.concatenate([tree.left for tree in trees]),
        node_right=np.concatenate([tree.right for tree in trees]),
        node_feature=feature.astype(np.int32),
        node_threshold=np.concatenate([tree.threshold for tree in trees]),
        node_subset=np.concatenate(subsets),
        leaf=np.concatenate([tree.leaf for tree in trees]),
        **bank.export(used),
        name=name,
        metadata=dict(metadata or {}),
    )
