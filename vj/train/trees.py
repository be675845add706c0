"""Grow one tree on weighted samples, and run trees on tables.

Trees are `vj.cascade.model.Tree` with features numbered as in their bank.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Tree
from vj.train.boosting_variants import Flavour
from vj.train.features import Bank, Table
from vj.train.search import Index, SplitSearch, pack

MIN_SPLIT = 10  # a node of fewer samples becomes a leaf, as in opencv_traincascade
REFINED = 4  # candidates whose exact best cut is computed


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A feature with its cut, and which samples of the table go left."""

    feature: int
    threshold: np.float32
    subset: NDArray[np.uint32]
    left: NDArray[np.bool_]


def grow(
    search: SplitSearch,
    bank: Bank,
    table: Table,
    weight: NDArray[np.float64],
    gradient: NDArray[np.float64],
    kept: Index,
    flavour: Flavour,
    depth: int,
) -> Tree | None:
    """A tree of at most ``depth`` nodes on the way to a leaf; None if nothing splits the samples.

    Nodes are numbered breadth first, the root 0. Only the samples ``kept`` are looked at.
    """
    packed = pack(weight, gradient, flavour.scale)
    splits: list[Split] = []
    links: list[list[int]] = []
    sums: list[tuple[float, float]] = []
    waiting: deque[tuple[Index, int, list[int]]] = deque([(kept, 1, [])])
    while waiting:
        index, level, parent = waiting.popleft()
        split = None
        if level <= depth and (level == 1 or len(index) > MIN_SPLIT):
            split = find_split(search, bank, table, weight, gradient, packed, index, flavour)
        if split is None:
            parent.append(-len(sums))
            sums.append((float(weight[index].sum()), float(gradient[index].sum())))
            continue
        parent.append(len(splits))
        splits.append(split)
        links.append([])
        goes_left = split.left[index]
        waiting.append((index[goes_left], level + 1, links[-1]))
        waiting.append((index[~goes_left], level + 1, links[-1]))
    if not splits:
        return None
    ends = np.array(sums)
    children = np.array(links, np.int32)
    subsets = np.array([split.subset for split in splits], np.uint32)
    return Tree(
        left=np.ascontiguousarray(children[:, 0]),
        right=np.ascontiguousarray(children[:, 1]),
        feature=np.array([split.feature for split in splits], np.int32),
        threshold=np.array([split.threshold for split in splits], np.float32),
        subset=subsets[:0] if bank.ordered else subsets,
        leaf=flavour.leaves(ends[:, 0], ends[:, 1]),
    )


def find_split(
    search: SplitSearch,
    bank: Bank,
    table: Table,
    weight: NDArray[np.float64],
    gradient: NDArray[np.float64],
    packed: NDArray[np.int64],
    index: Index,
    flavour: Flavour,
) -> Split | None:
    """The best split of the samples ``index``: found on bins, decided on exact values."""
    chosen = search.candidates(index, packed[index], REFINED if bank.ordered else 1)
    if not len(chosen):
        return None
    values = bank.values(table, chosen)
    w, g = weight[index], gradient[index]
    if not bank.ordered:
        gain, subset = _best_subset(values[0, index], w, g)
        if not _gains(gain, w, g, absolute=False):
            return None
        words = np.packbits(subset, bitorder="little").view(np.uint32)
        return Split(int(chosen[0]), np.float32(0), words, subset[values[0]])
    best: tuple[float, int, np.float32] | None = None
    for k in np.argsort(chosen):  # of equal gains the lowest feature wins
        cut = _best_cut(values[k, index], w, g, flavour.absolute)
        if cut is not None and (best is None or cut[0] > best[0]):
            best = cut[0], int(k), cut[1]
    if best is None or not _gains(best[0], w, g, flavour.absolute):
        return None
    _, k, threshold = best
    return Split(int(chosen[k]), threshold, np.zeros(8, np.uint32), values[k] < threshold)


def _best_cut(
    value: NDArray[np.float32], w: NDArray[np.float64], g: NDArray[np.float64], absolute: bool
) -> tuple[float, np.float32] | None:
    """Largest gain over all cuts between neighbouring values, and the cut."""
    order = np.argsort(value, kind="stable")
    value = value[order]
    left_w, left_g = np.cumsum(w[order]), np.cumsum(g[order])
    ends = np.flatnonzero(value[:-1] < value[1:])
    if not len(ends):
        return None
    a, s = left_w[ends], left_g[ends]
    b, r = left_w[-1] - a, left_g[-1] - s
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.abs(s) + np.abs(r) if absolute else s * s / a + r * r / b
    gain = np.where(np.isfinite(gain), gain, -1.0)
    k = int(gain.argmax())
    low, high = value[ends[k]], value[ends[k] + 1]
    middle = np.float32((np.float64(low) + np.float64(high)) / 2)
    return float(gain[k]), middle if middle > low else high


def _gains(gain: float, w: NDArray[np.float64], g: NDArray[np.float64], absolute: bool) -> bool:
    """Whether a split is better than none: a pure node is not split any further."""
    whole = abs(g.sum()) if absolute else g.sum() ** 2 / w.sum()
    return bool(gain > whole * (1 + 1e-9))


def _best_subset(
    code: NDArray[np.uint8], w: NDArray[np.float64], g: NDArray[np.float64]
) -> tuple[float, NDArray[np.bool_]]:
    """Largest gain, and which of the 256 codes go left: those of lowest mean.

    Codes that no sample has go left too, to the side that is less like the object: what was never
    seen is not evidence for it.
    """
    weight, gradient = np.bincount(code, w, 256), np.bincount(code, g, 256)
    seen = np.flatnonzero(weight > 0)
    order = seen[np.argsort(gradient[seen] / weight[seen], kind="stable")]
    left = np.ones(256, np.bool_)
    if len(order) < 2:
        return -1.0, left
    a, s = np.cumsum(weight[order]), np.cumsum(gradient[order])
    gain = s[:-1] ** 2 / a[:-1] + (s[-1] - s[:-1]) ** 2 / (a[-1] - a[:-1])
    k = int(gain.argmax())
    left[order[k + 1 :]] = False
    return float(gain[k]), left


def goes_left(tree: Tree, values: NDArray[Any]) -> NDArray[np.bool_]:
    """(nodes, n) decisions from the values or codes of the tree's features."""
    if not len(tree.subset):
        return np.asarray(values < tree.threshold[:, None])
    words = tree.subset[np.arange(len(values))[:, None], values >> 5]
    return np.asarray((words >> (values & 31)) & 1, np.bool_)


def tree_scores(tree: Tree, values: NDArray[Any]) -> NDArray[np.float64]:
    """Leaf that each sample reaches, from the values of the tree's features (nodes, n)."""
    left = goes_left(tree, values)

    def below(child: int) -> Any:
        if child <= 0:
            return tree.leaf[-child]
        return at(child)

    def at(node: int) -> Any:
        return np.where(left[node], below(int(tree.left[node])), below(int(tree.right[node])))

    return np.asarray(at(0), np.float64)


def sum_scores(bank: Bank, table: Table, trees: Sequence[Tree]) -> NDArray[np.float64]:
    """Sum over the trees, in their order, in float64, as the detector adds."""
    total = np.zeros(table.n)
    for first in range(0, len(trees), 32):
        part = trees[first : first + 32]
        values = bank.values(table, np.concatenate([t.feature for t in part]).astype(np.intp))
        row = 0
        for tree in part:
            total += tree_scores(tree, values[row : row + len(tree.feature)])
            row += len(tree.feature)
    return total
