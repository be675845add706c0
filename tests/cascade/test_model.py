import pickle
from dataclasses import replace

import numpy as np
import pytest
from cascades import ARRAYS, any_cascade, random_cascade
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.errors import CascadeError


def walk(tree, node=0):
    """Depth of the tree below a node, following the children."""
    below = [walk(tree, int(c[node])) for c in (tree.left, tree.right) if c[node] > 0]
    return 1 + max(below, default=0)


@given(any_cascade())
def test_views_and_counts_agree_with_the_arrays(cascade):
    stages = cascade.stages
    trees = [tree for stage in stages for tree in stage.trees]
    assert len(stages) == cascade.n_stages
    assert len(trees) == cascade.n_trees
    assert sum(len(tree.feature) for tree in trees) == cascade.n_nodes
    assert cascade.max_depth == max(walk(tree) for tree in trees)
    assert cascade.is_stumps == all(len(tree.feature) == 1 for tree in trees)
    assert cascade.has_tilted == any(cascade.tilted)
    np.testing.assert_array_equal(np.concatenate([tree.leaf for tree in trees]), cascade.leaf)
    for stage, limit in zip(stages, cascade.stage_limit, strict=True):
        assert stage.limit == limit == np.float32(np.float32(stage.threshold) - np.float32(1e-5))
    text = cascade.describe()
    assert text.count("\n") == cascade.n_stages + 2
    assert f"{cascade.window[0]} x {cascade.window[1]} (rows x cols)" in text


def test_arrays_are_frozen_copies_and_survive_a_pickle():
    rects = np.zeros((1, 3, 4), np.int32)
    rects[0, 0] = (1, 1, 3, 3)
    made = random_cascade(np.random.default_rng(0), nodes=(1, 1))
    cascade = replace(
        made,
        node_feature=np.zeros(made.n_nodes, int),
        rects=rects,
        weights=np.ones((1, 3)),
        tilted=[False],
        metadata={"comment": "hello"},
    )
    rects[0, 0] = 99  # the caller's array stays the caller's
    for copy in (cascade, pickle.loads(pickle.dumps(cascade))):
        assert copy.rects[0, 0].tolist() == [1, 1, 3, 3]
        for name in ARRAYS:
            assert not getattr(copy, name).flags.writeable, name
            np.testing.assert_array_equal(getattr(copy, name), getattr(cascade, name))
        assert copy.metadata["comment"] == "hello"
        with pytest.raises(TypeError):
            copy.metadata["comment"] = "changed"
        with pytest.raises(AttributeError):
            copy.window = (1, 1)


def test_repr_and_terms_of_the_header():
    cascade = random_cascade(np.random.default_rng(0), window=(9, 11))
    assert repr(cascade).startswith("<Cascade 'random': HAAR 9x11, 3 stages, ")
    header = "  | Copyright (c) someone\n | Redistribution\n License: MIT"
    text = replace(cascade, metadata={"comment": header, "notes": ("odd",)}).describe()
    assert "note: odd\nterms: Copyright (c) someone\nterms: License: MIT\n" in text


def damaged(cascade, name, index, value):
    array = getattr(cascade, name).astype(np.float64 if isinstance(value, float) else np.int64)
    array[index] = value
    return replace(cascade, **{name: array})


TREES = random_cascade(np.random.default_rng(3), n_stages=2, nodes=(3, 3))
STUMPS = random_cascade(np.random.default_rng(4), n_stages=2, nodes=(1, 1))
LBP = random_cascade(np.random.default_rng(5), "LBP", n_stages=2, nodes=(2, 2))
TURNED = int(np.flatnonzero(TREES.tilted)[0])
UPRIGHT = int(np.flatnonzero(~TREES.tilted)[0])
SECOND = int(TREES.stage_first[1])  # the first tree of stage 1
FIRST_NODE = int(TREES.tree_first[SECOND])


@pytest.mark.parametrize(
    ("cascade", "name", "index", "value", "says"),
    [
        (TREES, "stage_threshold", 1, np.inf, "stage 1: the threshold must be a finite float32"),
        (TREES, "stage_threshold", 1, np.nan, "stage 1: .*, got nan"),
        (TREES, "stage_threshold", 0, 1e300, "stage 0: .*, got inf"),
        (TREES, "node_threshold", FIRST_NODE + 1, np.nan, "stage 1, tree 0, node 1: the threshold"),
        (TREES, "node_feature", FIRST_NODE + 2, 99, "stage 1, tree 0, node 2: .* 0 to .*, got 99"),
        (TREES, "node_feature", 0, -1, "stage 0, tree 0, node 0: .*, got -1"),
        (TREES, "leaf", FIRST_NODE + SECOND, -np.inf, "stage 1, tree 0: a leaf must be finite"),
        (TREES, "leaf", -1, 1e39, "a leaf must be finite or NaN, got inf"),
        (TREES, "node_left", FIRST_NODE, 3, "stage 1, tree 0, node 0: the left child .*, got 3"),
        (TREES, "node_right", FIRST_NODE, -4, "stage 1, tree 0, node 0: the right .*, got -4"),
        (TREES, "node_left", FIRST_NODE, 0, "stage 1, tree 0, node .: each node must be reached"),
        (STUMPS, "node_left", 0, -1, "children of a stump must be leaves 0 and 1"),
        (STUMPS, "node_left", 0, 1, "node 0: the left child must be .*, got 1"),
        (TREES, "rects", (UPRIGHT, 0, 2), 12, f"feature {UPRIGHT}, rectangle 0: .*inside the wi"),
        (TREES, "rects", (UPRIGHT, 1, 0), -1, f"feature {UPRIGHT}, rectangle 1: .*9 x 11"),
        (TREES, "rects", (UPRIGHT, 0, 3), -1, "must lie inside"),
        (TREES, "rects", (TURNED, 0, 0), 0, f"feature {TURNED}, rectangle 0: .*tilted, x, y, w, h"),
        (TREES, "weights", (2, 1), np.nan, "feature 2, rectangle 1: the weight must be finite"),
        (TREES, "weights", (2, 1), 1e39, "the weight must be finite"),
        (LBP, "rects", (0, 0, 2), 4, "feature 0, rectangle 0: the 3x3 grid of cells must lie"),
        (LBP, "rects", (0, 0, 3), 0, "the 3x3 grid"),
        (TREES, "rects", (UPRIGHT, 0, 0), 2**31, "`rects` holds a number that does not fit int32"),
        (TREES, "tree_first", 1, 0, "tree 0 has no node; each needs at least one"),
        (TREES, "stage_first", 1, 0, "stage 0 has no tree; each needs at least one"),
        (TREES, "stage_first", -1, 99, "`stage_first` must run from 0 to"),
        (TREES, "tree_first", 0, -1, "`tree_first` must run from 0 to"),
        (TREES, "node_left", 0, 0.5, "`node_left` must be int32, got float64"),
        (TREES, "tilted", 0, 1, "`tilted` must be bool, got int64"),
    ],
)
def test_refuses_what_a_scan_could_not_follow(cascade, name, index, value, says):
    with pytest.raises(CascadeError, match=says):
        damaged(cascade, name, index, value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"window": (2, 9)}, "3 to 1024 pixels a side, got 2 x 9"),
        ({"window": (9, 1025)}, "3 to 1024 pixels"),
        ({"window": 24}, r"`window` must be \(rows, cols\), got 24"),
        ({"window": (9, None)}, "`window` must be"),
        ({"window": (np.inf, 9)}, "`window` must be"),
        ({"feature_type": "HOG"}, "'HAAR' or 'LBP', got 'HOG'"),
        ({"stage_threshold": []}, "at least one stage"),
        ({"rects": np.zeros((0, 3, 4), int)}, "1 to 1048576 features, got 0"),
        ({"rects": np.zeros((4, 2, 4), int)}, r"`rects` must have shape \(4, 3, 4\), got"),
        ({"weights": np.zeros((1, 3))}, "`weights` must have shape"),
        ({"leaf": [1.0]}, r"`leaf` must have shape .*, got \(1,\)"),
        ({"node_subset": np.zeros((3, 8), np.uint32)}, "`node_subset` must have shape"),
        ({"leaf": "many"}, "`leaf` must be float32, got <U4"),
        ({"stage_first": 0}, "`stage_first` must have shape"),
    ],
)
def test_refuses_shapes_and_types(change, says):
    with pytest.raises(CascadeError, match=says):
        replace(TREES, **change)


@given(any_cascade(), st.data())
@settings(max_examples=300)
def test_damaged_links_are_refused_or_still_form_trees(cascade, data):
    """Whatever the children are turned into: an accepted tree can be walked from end to end."""
    n = data.draw(st.integers(0, cascade.n_nodes - 1))
    name = data.draw(st.sampled_from(["node_left", "node_right"]))
    try:
        changed = damaged(cascade, name, n, data.draw(st.integers(-9, 9)))
    except CascadeError:
        return
    for stage in changed.stages:
        for tree in stage.trees:
            seen, leaves, ahead = set(), [], [0]
            while ahead:
                node = ahead.pop()
                assert node not in seen
                seen.add(node)
                for child in (int(tree.left[node]), int(tree.right[node])):
                    ahead += [child] if child > 0 else []
                    leaves += [-child] if child <= 0 else []
            assert seen == set(range(len(tree.feature)))
            assert max(leaves) < len(tree.leaf)


def test_a_cycle_apart_from_the_root_is_refused():
    left, right = TREES.node_left.copy(), TREES.node_right.copy()
    left[:3], right[:3] = (0, 2, 1), (-1, -2, -3)
    with pytest.raises(CascadeError, match="stage 0, tree 0, node 1: each node must be reached"):
        replace(TREES, node_left=left, node_right=right)
