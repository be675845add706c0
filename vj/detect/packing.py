"""A cascade in the form that the scan reads: corners and parameters of every node, stage by stage.

Every tree is laid out in post-order, so that a node finds the values of its subtrees ready.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.kernels import stages

EXACT_SUM = 2**24  # integers below it are exact in float32


@dataclass(frozen=True, slots=True, eq=False)
class PackedCascade:
    """Flat arrays of n nodes and s stages, read by ``vj.kernels.stages``.

    Attributes
    ----------
    window : (rows, cols)
    is_haar : bool
    corners : (n, 16, 2) int32
        Column and row of each corner that a node reads, relative to the window.
    tilted : (n,) bool
        Whether the corners lie in the tilted integral image.
    model : tuple
        params (n * 6,) float32; subsets (n * 8,) int32, the LBP codes that go left as 256 bits;
        flags (n,) int32; first node of each stage (s + 1,) int32; limits (s, 3) float64: surely
        failed below, surely passed from, the threshold itself.
    norm : (gate, area)
        Smallest spread ``area * sum of squares - sum**2`` that passes OpenCV's contrast gate, and
        area of the window inset by one pixel; zeros for LBP.
    stack : int
        Largest number of subtree values that wait for their parent, at least 1.
    """

    window: tuple[int, int]
    is_haar: bool
    corners: NDArray[np.int32]
    tilted: NDArray[np.bool_]
    model: tuple[
        NDArray[np.float32],
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.float64],
    ]
    norm: tuple[float, float]
    stack: int

    @property
    def n_stages(self) -> int:
        """Number of stages."""
        return len(self.model[4])

    @property
    def has_tilted(self) -> bool:
        """Whether any node reads the tilted integral image."""
        return bool(self.tilted.any())


def pack(cascade: Cascade) -> PackedCascade:
    """Lay out a cascade for the scan."""
    is_haar = cascade.feature_type == "HAAR"
    nodes, left, right, flags, stack = _layout(cascade)
    feature = cascade.node_feature[nodes]
    params = np.zeros((len(nodes), stages.PARAMS), np.float32)
    params[:, stages.THRESHOLD] = cascade.node_threshold[nodes]
    params[:, stages.LEFT], params[:, stages.RIGHT] = left, right
    if is_haar:
        kinds, corners = _haar_table(cascade)
        params[:, stages.WEIGHT0 :] = cascade.weights[feature]
        tilted = cascade.tilted[feature]
        subsets = np.zeros((0, 8), np.int32)
        rows, cols = cascade.window
        area = float((rows - 2) * (cols - 2))
        norm = (_contrast_gate(area), area)
    else:
        kinds, corners = np.full(len(cascade.rects), stages.LBP), _lbp_corners(cascade)
        tilted = np.zeros(len(feature), bool)
        subsets = np.ascontiguousarray(cascade.node_subset[nodes]).view(np.int32)
        norm = (0.0, 0.0)
    return PackedCascade(
        window=cascade.window,
        is_haar=is_haar,
        corners=np.ascontiguousarray(corners[feature]),
        tilted=tilted,
        model=(
            params.ravel(),
            subsets.ravel(),
            (flags | kinds[feature]).astype(np.int32),
            cascade.tree_first[cascade.stage_first].astype(np.int32),
            _limits(cascade),
        ),
        norm=norm,
        stack=stack,
    )


def _limits(cascade: Cascade) -> NDArray[np.float64]:
    """Thresholds, with the margin within which a float32 sum of leaves may err."""
    out = np.empty((cascade.n_stages, 3))
    leaf_first = cascade.tree_first + np.arange(len(cascade.tree_first))
    for s in range(cascade.n_stages):
        first, last = (int(cascade.stage_first[s + k]) for k in (0, 1))
        leaves = cascade.leaf[leaf_first[first] : leaf_first[last]].astype(float)
        threshold = float(cascade.stage_limit[s])
        # n additions, each off by half a unit in the last place of at most the sum of all |leaves|
        largest = float(np.nansum(np.abs(leaves))) + abs(threshold)
        margin = 1.01 * (last - first + 8) * 2.0**-24 * largest
        out[s, stages.FAIL_BELOW] = threshold - margin
        out[s, stages.PASS_FROM] = threshold + margin
        out[s, stages.LIMIT] = threshold
    return out


def _contrast_gate(area: float) -> float:
    """Smallest spread z for which OpenCV evaluates a window: area * f32(1 / sqrt(z)) < 0.1.

    The condition is monotone in z, a whole number: that is a deviation above 10 grey levels.
    """
    low, high = 1, 1 << 53
    while low < high:
        middle = (low + high) // 2
        if area * float(np.float32(1.0 / np.sqrt(float(middle)))) < 0.1:
            high = middle
        else:
            low = middle + 1
    return float(low)


# --------------------------------------------------------------------------- order of the nodes


def _layout(
    cascade: Cascade,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32], int]:
    """Nodes in post-order with their leaves and flags, and the height of the stack."""
    if cascade.is_stumps:  # then OpenCV ignores the children: leaf 0 is left, leaf 1 right
        n = cascade.n_nodes
        return (
            np.arange(n),
            cascade.leaf[::2],
            cascade.leaf[1::2],
            np.full(n, stages.END, np.int32),
            1,
        )
    rows = [row for tree in range(cascade.n_trees) for row in _post_order(cascade, tree)]
    nodes, left, right, flags, heights = zip(*rows, strict=True)
    return (
        np.array(nodes, np.int64),
        np.array(left, np.float32),
        np.array(right, np.float32),
        np.array(flags, np.int32),
        max(1, *heights),
    )


def _post_order(cascade: Cascade, tree: int) -> Iterator[tuple[int, float, float, int, int]]:
    """Nodes of a tree, children first: node, leaves, flags, height of the stack after it."""
    first = int(cascade.tree_first[tree])
    leaves = cascade.leaf[first + tree :]
    waiting = 0
    visits = [(0, False, stages.END)]
    while visits:
        node, children_done, flag = visits.pop()
        left, right = int(cascade.node_left[first + node]), int(cascade.node_right[first + node])
        if not children_done:
            visits.append((node, True, flag))
            if right > 0:
                visits.append((right, False, 0))
            if left > 0:  # evaluated first; its value waits while the right subtree is
                visits.append((left, False, stages.PUSH if right > 0 else 0))
            continue
        if left > 0:
            flag |= stages.LEFT_POP if right > 0 else stages.LEFT_LAST
        if right > 0:
            flag |= stages.RIGHT_LAST
        waiting += bool(flag & stages.PUSH) - bool(flag & stages.POP)
        if flag != stages.END:
            flag |= stages.TREE
        a, b = (float(leaves[-child]) if child <= 0 else 0.0 for child in (left, right))
        yield first + node, a, b, flag, waiting


# --------------------------------------------------------------------------- features


def _lbp_corners(cascade: Cascade) -> NDArray[np.int32]:
    """The 4 x 4 grid around the nine cells of each feature."""
    x, y, w, h = cascade.rects[:, 0].T
    grid = [np.stack([x + i * w, y + j * h], axis=1) for j in range(4) for i in range(4)]
    return np.stack(grid, axis=1)


def _haar_table(cascade: Cascade) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Kind (f,) and corners (f, 16, 2) of every feature."""
    x, y, w, h = np.moveaxis(cascade.rects, -1, 0)
    tilt = cascade.tilted[:, None]
    # corners whose integrals enter with the signs +, -, -, +
    columns = [x, np.where(tilt, x - h, x + w), np.where(tilt, x + w, x)]
    columns.append(np.where(tilt, x + w - h, x + w))
    lines = [y, np.where(tilt, y + h, y), np.where(tilt, y + w, y + h)]
    lines.append(np.where(tilt, y + w + h, y + h))
    corners = np.stack([np.stack(columns, -1), np.stack(lines, -1)], -1)  # (f, 3, 4, 2)
    area = (w * h).astype(float) * np.where(tilt, 2, 1)
    largest = (np.abs(cascade.weights) * area).sum(axis=1) * 255
    whole = (cascade.weights == np.rint(cascade.weights)).all(axis=1) & (largest < EXACT_SUM)

    kinds = np.zeros(len(x), np.int32)
    out = np.zeros((len(x), stages.CORNERS, 2), np.int32)
    for f, (found, weights) in enumerate(
        zip(corners.tolist(), cascade.weights.tolist(), strict=True)
    ):
        used = 3 if weights[2] else 2
        kinds[f], points = _haar_kind(found[:used], weights, bool(whole[f]))
        out[f, : len(points)] = points
    return kinds, out


def _haar_kind(
    boxes: list[list[list[int]]], weights: list[float], whole: bool
) -> tuple[int, list[tuple[int, int]]]:
    """The cheapest way to evaluate a feature: shared corners loaded once where that is exact."""
    plain = [(x, y) for box in boxes for x, y in box]
    if whole:
        coefficient: dict[tuple[int, int], float] = {}
        for k, point in enumerate(plain):
            sign = 1 if k % 4 in (0, 3) else -1
            coefficient[point] = coefficient.get(point, 0) + sign * weights[k // 4]
        having: dict[float, list[tuple[int, int]]] = {}
        for point, value in coefficient.items():
            if value:
                having.setdefault(value, []).append(point)
        counts = {value: len(points) for value, points in having.items()}
        if counts == {1: 2, -2: 1, -1: 2, 2: 1}:
            (a, c), (b,), (d, f), (e,) = (having[value] for value in (1, -2, -1, 2))
            return stages.EDGE, [a, b, c, d, e, f]
        for sign, kind in ((1, stages.DIAGONAL), (-1, stages.ANTIDIAGONAL)):
            if counts == {sign: 4, -2 * sign: 4, 4 * sign: 1}:
                return kind, having[sign] + having[-2 * sign] + having[4 * sign]
        if len(boxes) == 2 and weights[0] == -1:
            return (stages.LINE3 if weights[1] == 3 else stages.LINE), plain
    return (stages.WEIGHTED3 if len(boxes) == 3 else stages.WEIGHTED2), plain
