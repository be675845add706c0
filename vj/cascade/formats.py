"""From the elements of an OpenCV cascade file to the fields of a `Cascade`, for both formats.

The new format (``opencv-cascade-classifier``) keeps a list of features and stages of trees that
refer to it; the old one (``opencv-haar-classifier``) keeps a feature inside every node and is
turned into the new one as OpenCV does it: one feature a node, leaves numbered as they appear.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from vj.cascade import storage
from vj.cascade.storage import Where
from vj.errors import CascadeError

Arrays = dict[str, Any]
Fields = tuple[Arrays, str, tuple[str, ...]]


def cascade_fields(root: Element) -> Fields:
    """Fields of the `Cascade`, the name of the format, and what was odd."""
    if root.tag != "opencv_storage":
        raise CascadeError(f"the root must be <opencv_storage>, got <{root.tag[:40]}>")
    top = next(iter(root), None)
    if top is not None and top.find("stageType") is not None:
        return _new_format(top)
    if top is not None and top.find("size") is not None:
        return _old_format(top)
    raise CascadeError("neither <stageType> (new format) nor <size> (old format): no cascade")


def _new_format(top: Element) -> Fields:
    stage_type = top.findtext("stageType", "").strip()
    feature_type = top.findtext("featureType", "").strip()
    if stage_type != "BOOST":
        raise CascadeError(f"<stageType> must be BOOST, got {stage_type[:40]!r}")
    if feature_type not in ("HAAR", "LBP"):
        raise CascadeError(
            f"<featureType> must be HAAR or LBP, got {feature_type[:40]!r}: "
            "detectors of other features are not supported"
        )
    lbp = feature_type == "LBP"
    notes = _check_categories(top, 256 if lbp else 0)
    stages, trees, stage_first, where = _forest(top, "weakClassifiers")
    width = 11 if lbp else 4
    numbers, counts = storage.column(trees, "internalNodes", where)
    wanted = f"a multiple of {width} numbers"
    storage.expect(counts % width == 0, counts, where, "<internalNodes>", wanted)
    n_nodes = counts // width
    leaves, counts = storage.column(trees, "leafValues", where)
    wanted = "one number more than nodes"
    storage.expect(counts == n_nodes + 1, counts, where, "<leafValues>", wanted)
    nodes = numbers.reshape(-1, width)
    where_node = _through(np.repeat(np.arange(len(trees)), n_nodes), where)
    links = storage.integers(nodes if lbp else nodes[:, :3], where_node, "<internalNodes>")
    if (n_nodes == 1).all():
        # OpenCV does not read the children of a cascade of stumps, so neither order matters.
        links[np.isin(links[:, :2], (0, -1)).all(axis=1), :2] = 0, -1
    entries = storage.entries(top, "features", "cascade")
    return (
        {
            "window": _window(top),
            "feature_type": feature_type,
            "stage_threshold": storage.floats(
                storage.scalars(stages, "stageThreshold", "stage {}".format)
            ),
            "stage_first": stage_first,
            "tree_first": _starts(n_nodes),
            "node_left": links[:, 0],
            "node_right": links[:, 1],
            "node_feature": links[:, 2],
            "node_threshold": np.zeros(len(nodes)) if lbp else storage.floats(nodes[:, 3]),
            "node_subset": np.ascontiguousarray(links[:, 3:11]).view(np.uint32).reshape(-1, 8),
            "leaf": storage.floats(leaves),
            **(_lbp_features(entries) if lbp else _haar_features(entries)),
        },
        "opencv-cascade-classifier",
        notes,
    )


def _old_format(top: Element) -> Fields:
    stages, trees, stage_first, where_tree = _forest(top, "trees")
    n_nodes = np.array([len(tree) for tree in trees])
    if not n_nodes.all():
        raise CascadeError(f"{where_tree(int(np.argmin(n_nodes)))}: a tree without nodes")
    nodes = list(chain.from_iterable(trees))
    where = _through(np.repeat(np.arange(len(trees)), n_nodes), where_tree)
    child, leaves = _old_links(nodes, n_nodes, where_tree)
    features = [node.find("feature") for node in nodes]
    if None in features:
        raise CascadeError(f"{where(features.index(None))}: <feature> is missing")
    return (
        {
            "window": _size(top),
            "feature_type": "HAAR",
            "stage_threshold": storage.floats(
                storage.scalars(stages, "stage_threshold", "stage {}".format)
            ),
            "stage_first": stage_first,
            "tree_first": _starts(n_nodes),
            "node_left": child[:, 0],
            "node_right": child[:, 1],
            "node_feature": np.arange(len(nodes)),
            "node_threshold": storage.floats(storage.scalars(nodes, "threshold", where)),
            "node_subset": np.zeros((0, 8), np.uint32),
            "leaf": storage.floats(leaves),
            **_haar_features([feature for feature in features if feature is not None], old=True),
        },
        "opencv-haar-classifier",
        (),
    )


def _old_links(
    nodes: list[Element], n_nodes: NDArray[np.int64], where_tree: Where
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Children of each node, (N, 2), and the leaves of all trees in order."""
    tree = np.repeat(np.arange(len(n_nodes)), 2 * n_nodes)
    where = _through(tree, where_tree)
    ends = [
        (texts.get(f"{side}_val"), texts.get(f"{side}_node", ""))
        for texts in ({child.tag: child.text or "" for child in node} for node in nodes)
        for side in ("left", "right")
    ]
    is_leaf = np.array([leaf is not None for leaf, _ in ends])
    texts = [link if leaf is None else leaf for leaf, link in ends]
    values, counts = storage.numbers(texts, where, "a child")
    storage.expect(counts == 1, counts, where, "<left_val> or <left_node>, and right", "one number")
    # Leaves are numbered within their tree in the order of the nodes, left before right.
    per_tree = np.bincount(tree, is_leaf, len(n_nodes)).astype(np.int64)
    wanted = "one leaf more than nodes"
    storage.expect(per_tree == n_nodes + 1, per_tree, where_tree, "a tree", wanted)
    rank = np.cumsum(is_leaf) - 1 - _starts(per_tree)[tree]
    links = storage.integers(np.where(is_leaf, 0, values), where, "a child").astype(np.int64)
    storage.expect(is_leaf | (links > 0), links, where, "<left_node> or <right_node>", "1 or more")
    return np.where(is_leaf, -rank, links).reshape(-1, 2), values[is_leaf]


def _check_categories(top: Element, wanted: int) -> tuple[str, ...]:
    """Compare the number of categories; a file without it (scikit-image's has a typo) is noted."""
    params = top.find("featureParams")
    text = None if params is None else params.findtext("maxCatCount")
    if params is None or text is None:
        return (f"<featureParams> is missing or misspelt: maxCatCount taken as {wanted}",)
    got = storage.scalars([params], "maxCatCount", lambda _: "featureParams")[0]
    if got != wanted:
        raise CascadeError(f"<maxCatCount> must be {wanted} for this <featureType>, got {got:g}")
    return ()


def _window(top: Element) -> tuple[int, int]:
    rows, cols = (storage.scalars([top], tag, _top) for tag in ("height", "width"))
    sides = storage.integers(np.concatenate([rows, cols]), _top, "<height> and <width>")
    return int(sides[0]), int(sides[1])


def _size(top: Element) -> tuple[int, int]:
    values, counts = storage.column([top], "size", _top)
    storage.expect(counts == 2, counts, _top, "<size>", "width and height")
    cols, rows = storage.integers(values, _top, "<size>").tolist()
    return rows, cols


def _haar_features(entries: list[Element], old: bool = False) -> Arrays:
    where = "feature {}".format
    boxes = [storage.children(entry, "rects") for entry in entries]
    n_boxes = np.array([len(box) for box in boxes])
    storage.expect((n_boxes > 0) & (n_boxes < 4), n_boxes, where, "<rects>", "1 to 3 rectangles")
    owner = np.repeat(np.arange(len(entries)), n_boxes)
    where_box = _through(owner, where)
    texts = [box.text or "" for box in chain.from_iterable(boxes)]
    values, counts = storage.numbers(texts, where_box, "a rectangle")
    storage.expect(counts == 5, counts, where_box, "a rectangle", "x, y, w, h and a weight")
    values = values.reshape(-1, 5)
    slot = np.arange(len(owner)) - np.repeat(_starts(n_boxes)[:-1], n_boxes)
    if old:  # as OpenCV converts: a third rectangle of no weight is left out
        keep = (slot < 2) | ~(np.abs(values[:, 4]) < np.finfo(np.float32).eps)
        values, owner, slot = values[keep], owner[keep], slot[keep]
    rects = np.zeros((len(entries), 3, 4), np.int32)
    weights = np.zeros((len(entries), 3), np.float32)
    rects[owner, slot] = storage.integers(values[:, :4], _through(owner, where), "a rectangle")
    weights[owner, slot] = storage.floats(values[:, 4])
    flags, counts = storage.numbers(
        [entry.findtext("tilted", "0") for entry in entries], where, "<tilted>"
    )
    storage.expect(counts == 1, counts, where, "<tilted>", "0 or 1")
    return {
        "rects": rects,
        "weights": weights,
        "tilted": storage.integers(flags, where, "<tilted>") != 0,
    }


def _lbp_features(entries: list[Element]) -> Arrays:
    where = "feature {}".format
    values, counts = storage.column(entries, "rect", where)
    storage.expect(counts == 4, counts, where, "<rect>", "x, y, w, h")
    return {
        "rects": storage.integers(values.reshape(-1, 4), where, "<rect>").reshape(-1, 1, 4),
        "weights": np.zeros((0, 3), np.float32),
        "tilted": np.zeros(0, np.bool_),
    }


def _starts(counts: Iterable[int]) -> NDArray[np.int64]:
    """0, then the running sums."""
    return np.concatenate([[0], np.cumsum(np.fromiter(counts, np.int64))])


def _forest(
    top: Element, tag: str
) -> tuple[list[Element], list[Element], NDArray[np.int64], Where]:
    """The stages, their trees in one list, the first tree of each stage, and a namer of trees."""
    stages = storage.entries(top, "stages", "cascade")
    forest = [storage.entries(stage, tag, f"stage {s}") for s, stage in enumerate(stages)]
    first = _starts(len(trees) for trees in forest)

    def where(tree: int) -> str:
        stage = int(np.searchsorted(first, tree, "right")) - 1
        return f"stage {stage}, tree {tree - int(first[stage])}"

    return stages, list(chain.from_iterable(forest)), first, where


def _top(_: int) -> str:
    return "cascade"


def _through(index: NDArray[np.int64], where: Where) -> Where:
    return lambda i: where(int(index[i]))
