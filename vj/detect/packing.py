"""A cascade in the form that the scan reads: corners and parameters of each node, stage by stage.

Every tree is laid out in post-order, so that a node finds the values of its subtrees ready. Each stage
stands there twice: with the most decisive trees first, where sums are float32 and stop early, and in
file order, where they are float64 and exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.kernels import scan

EXACT_SUM = 2**24  # integers below it are exact in float32


@dataclass(frozen=True, slots=True, eq=False)
class PackedCascade:
    """Flat arrays of n nodes (each tree twice) and s stages.

    Attributes
    ----------
    corners : (n, 16, 2) int32
        Column and row of each corner that a node reads, relative to the window.
    tilted : (n,) bool
        Whether the corners lie in the tilted integral image.
    params : (n * 8,) float32
        See ``vj.kernels.scan``: threshold, leaves, bounds on the rest of the stage, weights.
    subsets : (n * 8,) int32
        LBP: the codes that go left, as 256 bits.
    flags : (n,) int32
    fast, exact : (s + 1,) int32
        First node of each stage in either order.
    limits : (s, 3) float64
        Surely failed below, surely passed from, the threshold itself.
    stack : int
        Largest number of subtree values that wait for their parent.
    """

    window: tuple[int, int]
    feature_type: str
    corners: NDArray[np.int32]
    tilted: NDArray[np.bool_]
    params: NDArray[np.float32]
    subsets: NDArray[np.int32]
    flags: NDArray[np.int32]
    fast: NDArray[np.int32]
    exact: NDArray[np.int32]
    limits: NDArray[np.float64]
    stack: int

    @property
    def n_stages(self) -> int:
        """Number of stages."""
        return len(self.limits)


def pack(cascade: Cascade) -> PackedCascade:
    """Lay out a cascade for the scan."""
    kinds, corners, weights = _feature_table(cascade)
    order = _Layout(cascade)
    feature = cascade.node_feature[order.nodes]
    params = np.zeros((len(order.nodes), scan.PARAMS), np.float32)
    params[:, scan.THRESHOLD] = cascade.node_threshold[order.nodes]
    params[:, scan.LEFT] = order.left
    params[:, scan.RIGHT] = order.right
    params[:, scan.REST_MAX] = order.rest_max
    params[:, scan.REST_MIN] = order.rest_min
    haar = cascade.feature_type == "HAAR"
    if haar:
        params[:, scan.WEIGHT0 :] = weights[feature]
    subsets = cascade.node_subset[order.nodes] if not haar else np.zeros((0, 8), np.uint32)
    return PackedCascade(
        window=cascade.window,
        feature_type=cascade.feature_type,
        corners=np.ascontiguousarray(corners[feature]),
        tilted=cascade.tilted[feature] if haar else np.zeros(len(feature), bool),
        params=params.ravel(),
        subsets=np.ascontiguousarray(subsets).view(np.int32).ravel(),
        flags=(order.flags | kinds[feature]).astype(np.int32),
        fast=order.fast,
        exact=order.exact,
        limits=_limits(cascade),
        stack=order.stack,
    )


def _limits(cascade: Cascade) -> NDArray[np.float64]:
    """Thresholds with the margin within which a float32 sum of leaves may err."""
    out = np.empty((cascade.n_stages, 3))
    for s in range(cascade.n_stages):
        trees = slice(cascade.stage_first[s], cascade.stage_first[s + 1])
        first = cascade.tree_first[trees.start] + trees.start
        last = cascade.tree_first[trees.stop] + trees.stop
        largest = float(np.nansum(np.abs(cascade.leaf[first:last].astype(float))))
        threshold = float(cascade.stage_limit[s])
        # n additions, each off by half a unit in the last place of at most the sum of all |leaves|
        margin = (trees.stop - trees.start + 8) * 2.0**-24 * (largest + abs(threshold)) * 1.01
        out[s] = threshold - margin, threshold + margin, threshold
    return out


# --------------------------------------------------------------------------- order of the nodes


class _Layout:
    """Nodes of all trees, stage by stage: decisive trees first, then once more in file order."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.stack = 1
        rows: list[tuple[int, float, float, float, float, int]] = []
        firsts: list[list[int]] = []
        for decisive_first in (True, False):
            starts = [len(rows)]
            for s in range(cascade.n_stages):
                trees = range(int(cascade.stage_first[s]), int(cascade.stage_first[s + 1]))
                rows += self._stage(list(trees), decisive_first)
                starts.append(len(rows))
            firsts.append(starts)
        self.fast, self.exact = (np.array(starts, np.int32) for starts in firsts)
        columns = list(zip(*rows, strict=True))
        self.nodes = np.array(columns[0], np.int64)
        self.left, self.right, self.rest_max, self.rest_min = (
            np.array(column, np.float32) for column in columns[1:5]
        )
        self.flags = np.array(columns[5], np.int32)

    def _stage(self, trees: list[int], decisive_first: bool) -> list[tuple[Any, ...]]:
        low, high = zip(*(self._range(tree) for tree in trees), strict=True)
        order = np.arange(len(trees))
        if decisive_first:
            order = np.argsort(np.subtract(low, high), kind="stable")
        # what the trees still to come can add: from -inf to inf where one may give NaN
        rest_max = np.append(np.cumsum(np.array(high)[order][::-1])[::-1][1:], 0.0)
        rest_min = np.append(np.cumsum(np.array(low)[order][::-1])[::-1][1:], 0.0)
        rows = []
        for rank, k in enumerate(order):
            nodes = list(self._tree(trees[k]))
            check = scan.CHECK if rank % 4 == 3 and rank + 1 < len(order) else 0
            for node, left, right, flag in nodes:
                ends = flag & scan.END and check
                rows.append((node, left, right, rest_max[rank], rest_min[rank], flag | ends))
        return rows

    def _range(self, tree: int) -> tuple[float, float]:
        first, last = (int(self.cascade.tree_first[tree + k]) + tree + k for k in (0, 1))
        leaves = self.cascade.leaf[first:last].astype(float)
        if np.isnan(leaves).any():
            return -np.inf, np.inf
        return float(leaves.min()), float(leaves.max())

    def _tree(self, tree: int) -> Iterator[tuple[int, float, float, int]]:
        """Nodes of a tree in post-order, with their leaves and flags."""
        cascade = self.cascade
        first = int(cascade.tree_first[tree])
        leaves = cascade.leaf[first + tree :]
        if cascade.tree_first[tree + 1] == first + 1:
            # where all trees are stumps OpenCV ignores the children: leaf 0 is left, leaf 1 right
            left, right = (
                (0, 1)
                if cascade.is_stumps
                else (-int(cascade.node_left[first]), -int(cascade.node_right[first]))
            )
            yield first, float(leaves[left]), float(leaves[right]), scan.END
            return
        waiting = 0
        visits: list[tuple[int, bool, int]] = [(0, False, scan.END)]
        while visits:
            node, ready, flag = visits.pop()
            left, right = (
                int(children[first + node]) for children in (cascade.node_left, cascade.node_right)
            )
            if not ready:
                visits.append((node, True, flag))
                # the left subtree is evaluated first; its value waits while the right one is
                if right > 0:
                    visits.append((right, False, 0))
                if left > 0:
                    visits.append((left, False, scan.PUSH if right > 0 else 0))
                continue
            flag |= scan.TREE
            if left > 0:
                flag |= scan.LEFT_POP if right > 0 else scan.LEFT_LAST
            if right > 0:
                flag |= scan.RIGHT_LAST
            waiting += bool(flag & scan.PUSH) - bool(flag & scan.POP)
            self.stack = max(self.stack, waiting + 1)
            leaf = [float(leaves[-child]) if child <= 0 else 0.0 for child in (left, right)]
            yield first + node, leaf[0], leaf[1], flag


# --------------------------------------------------------------------------- features


def _rect_corners(rect: NDArray[np.int32], tilted: bool) -> list[tuple[int, int]]:
    """Corners whose integrals enter with the signs +, -, -, +."""
    x, y, w, h = (int(v) for v in rect)
    if tilted:
        return [(x, y), (x - h, y + h), (x + w, y + w), (x + w - h, y + w + h)]
    return [(x, y), (x + w, y), (x, y + h), (x + w, y + h)]


def _feature_table(
    cascade: Cascade,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Kind, corners (f, 16, 2) and weights (f, 3) of every feature."""
    n = len(cascade.rects)
    kinds = np.zeros(n, np.int32)
    corners = np.zeros((n, 16, 2), np.int32)
    weights = np.zeros((n, 3), np.float32)
    for f in range(n):
        if cascade.feature_type == "LBP":
            x, y, w, h = (int(v) for v in cascade.rects[f, 0])
            corners[f] = [(x + i * w, y + j * h) for j in range(4) for i in range(4)]
            continue
        kinds[f], found, weights[f] = _haar_kind(
            cascade.rects[f], cascade.weights[f], bool(cascade.tilted[f])
        )
        corners[f, : len(found)] = found
    return kinds, corners, weights


def _haar_kind(
    rects: NDArray[np.int32], weights: NDArray[np.float32], tilted: bool
) -> tuple[int, list[tuple[int, int]], NDArray[np.float32]]:
    """The cheapest way to evaluate a feature: shared corners are loaded once where that is exact."""
    used = [k for k in range(3) if k < 2 or weights[k] != 0]
    boxes = [_rect_corners(rects[k], tilted) for k in used]
    plain = [corner for box in boxes for corner in box]
    general = (scan.WEIGHTED3 if len(used) == 3 else scan.WEIGHTED2), plain, weights
    area = float(np.abs(weights) @ (rects[:, 2].astype(float) * rects[:, 3])) * (2 if tilted else 1)
    if (weights != np.rint(weights)).any() or area * 255 >= EXACT_SUM:
        return general

    coefficient: dict[tuple[int, int], int] = {}
    for k, box in zip(used, boxes, strict=True):
        for corner, sign in zip(box, (1, -1, -1, 1), strict=True):
            coefficient[corner] = coefficient.get(corner, 0) + sign * int(weights[k])
    by_value: dict[int, list[tuple[int, int]]] = {}
    for corner, value in coefficient.items():
        if value:
            by_value.setdefault(value, []).append(corner)
    counts = {value: len(found) for value, found in by_value.items()}
    if counts == {1: 2, -2: 1, -1: 2, 2: 1}:
        (a, c), (b,), (d, f), (e,) = (by_value[v] for v in (1, -2, -1, 2))
        return scan.EDGE, [a, b, c, d, e, f], weights
    for sign, kind in ((1, scan.DIAGONAL), (-1, scan.ANTIDIAGONAL)):
        if counts == {sign: 4, -2 * sign: 4, 4 * sign: 1}:
            found = by_value[sign] + by_value[-2 * sign] + by_value[4 * sign]
            return kind, found, weights
    if len(used) == 2 and weights[0] == -1:
        return (scan.LINE3 if weights[1] == 3 else scan.LINE), plain, weights
    return general
