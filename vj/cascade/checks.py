"""What makes a `Cascade` safe to follow blindly: every index in range, every tree a tree.

Each check raises `CascadeError` for the first offender, named by stage, tree and node.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.arrays import CascadeArrays
from vj.errors import CascadeError
from vj.limits import CASCADE_PARTS, WINDOW_SIDES


def frozen(name: str, value: Any, dtype: type[np.generic]) -> NDArray[Any]:
    """A read-only C-contiguous copy, refused where the conversion would lose more than digits."""
    wanted = np.dtype(dtype)
    array = np.atleast_1d(value)
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]
    if array.size and array.dtype.kind not in kinds:
        raise CascadeError(f"`{name}` must be {wanted.name}, got {array.dtype}")
    if wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if array.min() < limits.min or array.max() > limits.max:
            raise CascadeError(f"`{name}` holds a number that does not fit {wanted.name}")
    with np.errstate(over="ignore"):  # an overflow becomes inf, which the checks below refuse
        array = np.array(array, wanted, order="C")
    array.flags.writeable = False
    return array


def window(size: Any) -> tuple[int, int]:
    """The window as two plain ints within the limits."""
    try:
        rows, cols = (operator.index(side) for side in size)
    except (TypeError, ValueError) as exc:
        raise CascadeError(f"`window` must be (rows, cols), got {size!r}") from exc
    if rows not in WINDOW_SIDES or cols not in WINDOW_SIDES:
        raise CascadeError(
            f"the window must have {WINDOW_SIDES.start} to {WINDOW_SIDES.stop - 1} pixels a side, "
            f"got {rows} x {cols}"
        )
    return rows, cols


def shapes(c: CascadeArrays) -> None:
    """Array lengths and the two index arrays agree."""
    if c.feature_type not in ("HAAR", "LBP"):
        raise CascadeError(f"`feature_type` must be 'HAAR' or 'LBP', got {c.feature_type!r}")
    lbp = c.feature_type == "LBP"
    n_stages, n_trees, n_nodes = len(c.stage_threshold), len(c.tree_first) - 1, len(c.node_feature)
    if n_stages == 0:
        raise CascadeError("a cascade needs at least one stage, got none")
    n_features = len(c.rects) if c.rects.ndim else 0
    for name, count in (("nodes", n_nodes), ("features", n_features)):
        if not 0 < count <= CASCADE_PARTS:
            raise CascadeError(f"a cascade has 1 to {CASCADE_PARTS} {name}, got {count}")
    wanted = {
        "stage_threshold": (n_stages,),
        "stage_first": (n_stages + 1,),
        "tree_first": (n_trees + 1,),
        "node_left": (n_nodes,),
        "node_right": (n_nodes,),
        "node_feature": (n_nodes,),
        "node_threshold": (n_nodes,),
        "node_subset": (n_nodes if lbp else 0, 8),
        "leaf": (n_nodes + n_trees,),
        "rects": (n_features, 1 if lbp else 3, 4),
        "weights": (0 if lbp else n_features, 3),
        "tilted": (0 if lbp else n_features,),
    }
    for name, shape in wanted.items():
        got = getattr(c, name).shape
        if got != shape:
            raise CascadeError(f"`{name}` must have shape {shape}, got {got}")
    for name, what, total in (("stage_first", "stage", n_trees), ("tree_first", "tree", n_nodes)):
        first = getattr(c, name)
        empty = np.flatnonzero(np.diff(first) < 1)
        if empty.size:
            part = "tree" if what == "stage" else "node"
            raise CascadeError(f"{what} {empty[0]} has no {part}; each needs at least one")
        if first[0] != 0 or first[-1] != total:
            raise CascadeError(f"`{name}` must run from 0 to {total}, got {first[0]}..{first[-1]}")


def trees(c: CascadeArrays) -> None:
    """Children form proper binary trees over features that exist; numbers are finite."""
    bad = np.flatnonzero(~np.isfinite(c.stage_threshold))
    if bad.size:
        raise CascadeError(
            f"stage {bad[0]}: the threshold must be a finite float32, got "
            f"{c.stage_threshold[bad[0]]}"
        )
    _refuse_nodes(c, ~np.isfinite(c.node_threshold), "the threshold must be a finite float32")
    outside = (c.node_feature < 0) | (c.node_feature >= len(c.rects))
    _refuse_nodes(c, outside, f"the feature must be 0 to {len(c.rects) - 1}", c.node_feature)
    bad = np.flatnonzero(np.isinf(c.leaf))
    if bad.size:
        tree = int(np.searchsorted(c.tree_first + np.arange(len(c.tree_first)), bad[0], "right"))
        raise CascadeError(f"{place(c, tree - 1)}: a leaf must be finite or NaN, got inf")
    size = np.repeat(np.diff(c.tree_first), np.diff(c.tree_first))  # nodes of each node's tree
    for side, child in (("left", c.node_left), ("right", c.node_right)):
        what = f"the {side} child must be a node (1 to n - 1) or minus a leaf (0 to n) of the tree"
        _refuse_nodes(c, (child >= size) | (child < -size), what, child)
    if len(size) == len(c.tree_first) - 1:
        # OpenCV does not read the children of a cascade of stumps: below goes to the first leaf.
        swapped = (c.node_left != 0) | (c.node_right != -1)
        _refuse_nodes(c, swapped, "the children of a stump must be leaves 0 and 1")
    else:
        lost = depths(c.tree_first, c.node_left, c.node_right) < 0
        _refuse_nodes(c, lost, "each node must be reached once from the root: no cycle, no sharing")


def depths(
    tree_first: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int64]:
    """(N,) steps from the root to each node; -1 where the way is no single one."""
    n_nodes = len(left)
    index = np.arange(n_nodes)
    root = np.repeat(tree_first[:-1].astype(np.int64), np.diff(tree_first))
    parent, times = root.copy(), np.zeros(n_nodes, np.int64)
    parent[index != root] = -1
    for child in (left, right):
        inner = np.flatnonzero(child > 0)
        target = root[inner] + child[inner]
        parent[target] = inner
        times += np.bincount(target, minlength=n_nodes)
    lost = times != (index != root)
    parent[lost] = index[lost]
    depth: NDArray[np.int64] = (parent != index).astype(np.int64)
    for _ in range(int(np.diff(tree_first).max()).bit_length()):  # each round doubles the step
        depth += depth[parent]
        parent = parent[parent]
    depth[parent != root] = -1
    return depth


def features(c: CascadeArrays) -> None:
    """Every pixel that a feature reads lies inside the window."""
    rows, cols = c.window
    x, y, w, h = np.moveaxis(c.rects.astype(np.int64), 2, 0)
    if c.feature_type == "LBP":
        inside = (x >= 0) & (y >= 0) & (w >= 1) & (h >= 1)
        inside &= (x + 3 * w <= cols) & (y + 3 * h <= rows)
        what = "the 3x3 grid of cells"
    else:
        inside = (x >= 0) & (y >= 0) & (w >= 0) & (h >= 0) & (x + w <= cols) & (y + h <= rows)
        tilted = c.tilted[:, None]
        inside &= ~tilted | ((x - h >= 0) & (y + w + h <= rows))
        what = "the rectangle"
    bad = np.argwhere(~inside)
    if bad.size:
        feature, k = bad[0]
        turn = "tilted, " if c.tilted.size and c.tilted[feature] else ""
        raise CascadeError(
            f"feature {feature}, rectangle {k}: {what} must lie inside the window of "
            f"{rows} x {cols} (rows x cols), got {turn}x, y, w, h = {c.rects[feature, k].tolist()}"
        )
    bad = np.argwhere(~np.isfinite(c.weights))
    if bad.size:
        feature, k = bad[0]
        raise CascadeError(f"feature {feature}, rectangle {k}: the weight must be finite")


def place(c: CascadeArrays, tree: int, node: int | None = None) -> str:
    """``stage 3, tree 7, node 0``, each counted from 0 within the one before."""
    stage = int(np.searchsorted(c.stage_first, tree, "right")) - 1
    where = f"stage {stage}, tree {tree - int(c.stage_first[stage])}"
    return where if node is None else f"{where}, node {node - int(c.tree_first[tree])}"


def _refuse_nodes(
    c: CascadeArrays, bad: NDArray[np.bool_], wanted: str, values: NDArray[Any] | None = None
) -> None:
    if not bad.any():
        return
    node = int(np.argmax(bad))
    tree = int(np.searchsorted(c.tree_first, node, "right")) - 1
    got = "" if values is None else f", got {values[node]}"
    raise CascadeError(f"{place(c, tree, node)}: {wanted}{got}")
