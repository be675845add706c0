"""The cascade: frozen flat arrays that are proved consistent once, when they are put together.

Stages hold trees, trees hold nodes, and every level is stored one after the other: stage ``s`` owns
the trees ``stage_first[s]`` to ``stage_first[s + 1]``, tree ``t`` the nodes ``tree_first[t]`` to
``tree_first[t + 1]`` and, as a tree of n nodes has n + 1 leaves, the leaves from
``tree_first[t] + t`` on. A scan may follow any index of a `Cascade` without a test.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade import checks, xml_writer
from vj.cascade.arrays import CascadeArrays
from vj.cascade.arrays import FeatureType as FeatureType
from vj.cascade.arrays import Stage as Stage
from vj.cascade.arrays import Tree as Tree


@dataclass(frozen=True, slots=True, eq=False)
class Cascade(CascadeArrays):
    """A trained cascade of boosted trees over Haar or multi-block LBP features.

    Arrays are copied, frozen and checked; an instance can be shared between threads and pickled.

    Attributes
    ----------
    window : (rows, cols)
        Size of the training window, 3 to 1024 pixels a side.
    feature_type : "HAAR" or "LBP"
    stage_threshold : (S,) float32
        As in the file; the comparison is made with `stage_limit`.
    stage_first : (S + 1,) int32
        First tree of each stage, then the number of trees.
    tree_first : (T + 1,) int32
        First node of each tree, then the number of nodes.
    node_left, node_right : (N,) int32
        > 0: node of the same tree; <= 0: minus the number of a leaf of the same tree.
    node_feature : (N,) int32
    node_threshold : (N,) float32
        HAAR: go left when the value is below it. Zeros for LBP.
    node_subset : (N, 8) uint32
        LBP: go left when bit ``code & 31`` of word ``code >> 5`` is set. (0, 8) for HAAR.
    leaf : (N + T,) float32
        Finite, or NaN: a NaN makes its stage pass, as in OpenCV.
    rects : (F, 3, 4) int32
        ``x, y, w, h`` of each rectangle of a HAAR feature; (F, 1, 4), the top-left cell of the
        3x3 grid, for LBP.
    weights : (F, 3) float32
        Weights of the rectangles; (0, 3) for LBP.
    tilted : (F,) bool
        The feature is turned by 45 degrees; (0,) for LBP.
    name : str
    metadata : mapping
        What else is known: ``comment`` (the file's header), ``format``, ``notes``, ``card``.

    Raises
    ------
    CascadeError
        Anything is inconsistent; the message names the stage, tree and node.

    References
    ----------
    Viola & Jones, IJCV 57(2), 2004, section 4. doi:10.1023/B:VISI.0000013087.49260.fb
    Lienhart & Maydt, ICIP 2002 (tilted features). doi:10.1109/ICIP.2002.1038171
    """

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, checks.frozen(name, getattr(self, name), dtype))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        object.__setattr__(self, "window", checks.window(self.window))
        checks.shapes(self)
        checks.trees(self)
        checks.features(self)

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Cascade, tuple({**values, "metadata": dict(self.metadata)}.values())

    @property
    def max_depth(self) -> int:
        """Number of nodes on the longest way from a root to a leaf."""
        return int(checks.depths(self.tree_first, self.node_left, self.node_right).max()) + 1

    def packed(self) -> tuple[NDArray[Any], ...]:
        """The arrays as kernels take them (see `vj.kernels.window`), `stage_limit` first."""
        return (self.stage_limit, *(getattr(self, name) for name in _PACKED))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the OpenCV XML file that cv2 and `load_cascade` read with identical results.

        Raises
        ------
        SinkError
            The file cannot be written; nothing is left behind.
        """
        xml_writer.write(self, path)

    def describe(self) -> str:
        """A readable table: window, features, and trees, nodes and threshold of each stage."""
        rows, cols = self.window
        kind = "stumps" if self.is_stumps else f"trees of depth <= {self.max_depth}"
        used = len(np.unique(self.node_feature))
        lines = [
            f"{self.name}: {self.feature_type} cascade, window {rows} x {cols} (rows x cols)",
            f"{self.n_stages} stages, {self.n_trees} {kind}, {self.n_nodes} nodes, "
            f"{used} of {self.n_features} features used, {int(self.tilted.sum())} tilted",
            *(f"note: {note}" for note in self.metadata.get("notes", ())),
            *(f"terms: {line}" for line in _terms(self.metadata.get("comment", ""))),
            "stage  trees  nodes   threshold",
        ]
        trees = np.diff(self.stage_first)
        nodes = np.diff(self.tree_first[self.stage_first])
        for s, threshold in enumerate(self.stage_threshold):
            lines.append(f"{s:5d}  {trees[s]:5d}  {nodes[s]:5d}  {threshold:10.5f}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        rows, cols = self.window
        return (
            f"<Cascade {self.name!r}: {self.feature_type} {rows}x{cols}, {self.n_stages} stages, "
            f"{self.n_trees} trees>"
        )


_DTYPES: dict[str, type[np.generic]] = {
    "stage_threshold": np.float32,
    "stage_first": np.int32,
    "tree_first": np.int32,
    "node_left": np.int32,
    "node_right": np.int32,
    "node_feature": np.int32,
    "node_threshold": np.float32,
    "node_subset": np.uint32,
    "leaf": np.float32,
    "rects": np.int32,
    "weights": np.float32,
    "tilted": np.bool_,
}
_PACKED = [name for name in _DTYPES if name != "stage_threshold"]


_TERMS = re.compile(
    r"copyright \(c\)|licen[cs]e agreement|licen[cs]e:|created by|trained (on|by)", re.I
)


def _terms(comment: str) -> list[str]:
    """The first lines of a header that speak of authors, copyright or licence."""
    lines = (line.strip(" /|*\t") for line in comment.splitlines())
    return [line for line in lines if _TERMS.search(line)][:4]
