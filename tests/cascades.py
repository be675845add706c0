"""Cascades made up at random, valid in every detail, and their text in the old format."""

from dataclasses import fields

import numpy as np
from hypothesis import strategies as st

from vj.cascade.model import Cascade

ARRAYS = [f.name for f in fields(Cascade)][2:-2]


def random_tree(rng, n_nodes):
    """Children of a random binary tree; leaves are numbered node by node, left before right."""
    open_ends, children = [(0, 0), (0, 1)], np.zeros((n_nodes, 2), int)
    for node in range(1, n_nodes):
        parent, side = open_ends.pop(rng.integers(len(open_ends)))
        children[parent, side] = node
        open_ends += [(node, 0), (node, 1)]
    for leaf, end in enumerate(sorted(open_ends)):
        children[end] = -leaf
    return children


def random_rect(rng, window, feature_type, tilted):
    rows, cols = window
    while True:
        x, y = rng.integers(cols), rng.integers(rows)
        w, h = rng.integers(1, cols + 1), rng.integers(1, rows + 1)
        if feature_type == "LBP":
            inside = x + 3 * w <= cols and y + 3 * h <= rows
        elif tilted:
            inside = x - h >= 0 and x + w <= cols and y + w + h <= rows
        else:
            inside = x + w <= cols and y + h <= rows
        if inside:
            return x, y, w, h


def random_cascade(rng, feature_type="HAAR", window=(9, 11), n_stages=3, nodes=(1, 4), nan=False):
    """A cascade whose stages pass about half of the windows of noise."""
    lbp = feature_type == "LBP"
    n_features = int(rng.integers(1, 20))
    rects = np.zeros((n_features, 1 if lbp else 3, 4), np.int32)
    weights = np.zeros((0 if lbp else n_features, 3), np.float32)
    tilted = rng.random(0 if lbp else n_features) < 0.4
    for f in range(n_features):
        lean = not lbp and tilted[f]
        for k in range(1 if lbp else rng.integers(2, 4)):
            rects[f, k] = random_rect(rng, window, feature_type, lean)
            if not lbp:
                weights[f, k] = rng.choice([-1, 2, 3, rng.normal()])
    n_trees = rng.integers(1, 6, n_stages)
    n_nodes = rng.integers(nodes[0], nodes[1] + 1, n_trees.sum())
    children = np.concatenate([random_tree(rng, n) for n in n_nodes])
    total = int(n_nodes.sum())
    leaf = rng.normal(size=total + len(n_nodes)).astype(np.float32)
    if nan:
        leaf[rng.random(len(leaf)) < 0.1] = np.nan
    return Cascade(
        window=window,
        feature_type=feature_type,
        stage_threshold=(rng.normal(size=n_stages) * 0.5).astype(np.float32),
        stage_first=np.r_[0, np.cumsum(n_trees)],
        tree_first=np.r_[0, np.cumsum(n_nodes)],
        node_left=children[:, 0],
        node_right=children[:, 1],
        node_feature=rng.integers(0, n_features, total),
        node_threshold=np.zeros(total) if lbp else rng.normal(size=total) * 0.05,
        node_subset=rng.integers(0, 2**32, (total if lbp else 0, 8), dtype=np.uint32),
        leaf=leaf,
        rects=rects,
        weights=weights,
        tilted=tilted,
        name="random",
    )


@st.composite
def any_cascade(draw, feature_types=("HAAR", "LBP")):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    window = draw(st.tuples(st.integers(3, 12), st.integers(3, 12)))
    return random_cascade(
        rng,
        draw(st.sampled_from(feature_types)),
        window,
        n_stages=draw(st.integers(1, 4)),
        nodes=(1, draw(st.sampled_from([1, 2, 7]))),
        nan=draw(st.booleans()),
    )


def old_format(cascade):
    """The same HAAR cascade as haartraining would have written it."""
    out = [
        '<?xml version="1.0"?>',
        "<opencv_storage>",
        '<made_up type_id="opencv-haar-classifier">',
    ]
    out.append(f"<size>{cascade.window[1]} {cascade.window[0]}</size><stages>")
    for stage in cascade.stages:
        out.append("<_><trees>")
        for tree in stage.trees:
            out.append("<_>")
            for n, f in enumerate(tree.feature):
                rects = [
                    f"<_>{' '.join(map(str, box))} {float(weight)!r}</_>"
                    for box, weight in zip(cascade.rects[f], cascade.weights[f], strict=True)
                ]
                out.append(f"<_><feature><rects>{''.join(rects)}</rects>")
                out.append(f"<tilted>{int(cascade.tilted[f])}</tilted></feature>")
                out.append(f"<threshold>{float(tree.threshold[n])!r}</threshold>")
                for side, child in (("left", tree.left[n]), ("right", tree.right[n])):
                    if child > 0:
                        out.append(f"<{side}_node>{child}</{side}_node>")
                    else:
                        value = float(tree.leaf[-child])
                        text = ".Nan" if np.isnan(value) else repr(value)
                        out.append(f"<{side}_val>{text}</{side}_val>")
                out.append("</_>")
            out.append("</_>")
        out.append(f"</trees><stage_threshold>{float(np.float32(stage.threshold))!r}")
        out.append("</stage_threshold><parent>-1</parent><next>-1</next></_>")
    out.append("</stages></made_up></opencv_storage>")
    return "\n".join(out)
