import cv2
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vj
from vj.detect.grouping import group_rectangles
from vj.errors import ParameterError

EPS = [0.0, 0.05, 0.2, 0.5, 1.3]


@st.composite
def scattered(draw):
    """Rectangles of all sizes, many of them close to each other, some equal or of no area."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, spread = draw(st.integers(0, 60)), draw(st.sampled_from([8, 40, 300, 4000]))
    largest = max(3, spread // draw(st.integers(1, 8)))
    smallest = draw(st.sampled_from([1, -2]))
    corner, size = rng.integers(-spread, spread, (n, 2)), rng.integers(smallest, largest, (n, 2))
    rects = np.concatenate([corner, size], axis=1).astype(np.int32)
    if n and draw(st.booleans()):  # clusters
        rects = rects[rng.integers(0, n, n)] + rng.integers(-2, 3, (n, 4)).astype(np.int32)
    return rects


def opencv(rects, threshold, eps):
    merged, counts = cv2.groupRectangles(rects.tolist(), threshold, eps)
    return np.array(merged, int).reshape(-1, 4), np.array(counts, int).ravel()


@given(scattered(), st.integers(-1, 4), st.sampled_from(EPS))
@settings(max_examples=400)
def test_same_as_opencv(rects, threshold, eps):
    got = group_rectangles(rects, threshold, eps)
    merged, counts = opencv(rects, threshold, eps)
    np.testing.assert_array_equal(got.rects, merged)
    np.testing.assert_array_equal(got.counts, counts)


@given(scattered(), st.integers(0, 4), st.sampled_from(EPS), st.integers(0, 2**32))
@settings(max_examples=150)
def test_levels_and_weights_match_naive(rects, threshold, eps, seed):
    rng = np.random.default_rng(seed)
    levels = rng.integers(-1, 4, len(rects))
    weights = rng.choice([np.nan, -1.0, 0.5, 1.0, 2.0], len(rects))
    got = group_rectangles(rects, threshold, eps, levels, weights)
    wanted = naive.group_rectangles(rects, threshold, eps, levels.tolist(), weights.tolist())
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, np.reshape(theirs, ours.shape))


def staircase(n, step, growth=0):
    """Each rectangle is similar to the next and to no other: one class from end to end."""
    k = np.arange(n)
    return np.stack([k * step, k * step, 20 + growth * k, 20 + growth * k], axis=1).astype(np.int32)


@pytest.mark.parametrize(
    "rects",
    [
        staircase(60, 4),  # exactly at the limit: 0.2 * (20 + 20) / 2
        staircase(60, 5),  # just beyond it
        staircase(40, 2, growth=1),  # through several sizes
        staircase(40, -3, growth=2),
        staircase(60, 4)[::-1],
        np.random.default_rng(0).permutation(staircase(60, 4)),
        np.array([[0, 0, 31, 31], [0, 0, 32, 32], [0, 0, 33, 33]]),  # on both sides of a level
        np.array([[0, 0, 10, 90], [0, 0, 90, 10], [1, 0, 10, 90], [0, 1, 90, 10]]),
        np.full((50, 4), 7),
        np.repeat(staircase(12, 4), 5, axis=0),
        np.tile(staircase(12, 4), (5, 1)),
        np.array([[-(2**28), -(2**28), 20, 20], [2**28, 2**28, 20, 20], [2**28, 2**28, 21, 20]]),
    ],
    ids=lambda rects: f"{len(rects)}-{rects[-1].tolist()}",
)
def test_chains_have_the_classes_of_all_pairs(rects):
    for eps in EPS:
        for threshold in (1, 2):
            got = group_rectangles(rects, threshold, eps)
            merged, counts = opencv(rects, threshold, eps)
            np.testing.assert_array_equal(got.rects, merged)
            np.testing.assert_array_equal(got.counts, counts)


def test_a_hundred_thousand_equal_or_scattered_rectangles_do_not_take_all_pairs():
    """All pairs would be 10**10 comparisons; the test would not come back in a minute."""
    rng = np.random.default_rng(0)
    equal = np.full((100_000, 4), 50, np.int32)
    assert group_rectangles(equal, 3).counts.tolist() == [100_000]
    size = rng.integers(24, 60, (100_000, 1))
    scattered = np.hstack([rng.integers(0, 40_000, (100_000, 2)), size, size])
    assert group_rectangles(scattered, 100_000).rects.shape == (0, 4)


def test_types_and_inputs_without_rectangles():
    for threshold in (0, 3):
        got = group_rectangles([], threshold, levels=[], weights=[])
        assert [a.shape for a in got] == [(0, 4), (0,), (0,), (0,)]
        assert [a.dtype for a in got] == [np.int32, np.int32, np.int32, np.float64]
    rects = np.array([[0, 0, 9, 9]] * 5)
    got = group_rectangles(rects, 3)
    assert [a.dtype for a in got] == [np.int32, np.int32, np.int32, np.float64]
    same = group_rectangles(rects, 0, levels=[1, 2, 3, 4, 5], weights=[5, 4, 3, 2, 1])
    assert same.levels.tolist() == [1, 2, 3, 4, 5]
    assert same.weights.tolist() == [5, 4, 3, 2, 1]
    assert same.counts.tolist() == [1] * 5


def test_group_boxes():
    boxes = np.array([[10, 10, 50, 50], [12.4, 10, 52, 50], [11, 11, 51, 51], [200, 5, 220, 25]])
    merged, neighbors = vj.group_boxes(boxes, min_neighbors=2)
    assert merged.tolist() == [[11, 10, 51, 50]]
    assert neighbors.tolist() == [3]
    assert (merged.dtype, neighbors.dtype) == (np.float32, np.int32)
    merged, neighbors = vj.group_boxes(boxes, min_neighbors=0)
    assert len(merged) == 4
    assert len(vj.group_boxes(np.empty((0, 4)))[0]) == 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: group_rectangles([[1, 2, 3]], 1), r"`rects` must have shape \(n, 4\), got \(1, 3"),
        (lambda: group_rectangles([[0.5, 0, 1, 1]], 1), "32-bit integers"),
        (lambda: group_rectangles([[2**31, 0, 1, 1]], 1), "32-bit integers"),
        (lambda: group_rectangles([[0, 0, 1, 1]], 1, -0.1), "`eps` must be 0 or more, got -0.1"),
        (lambda: group_rectangles([[0, 0, 1, 1]], 1, np.nan), "`eps`"),
        (lambda: group_rectangles([[0, 0, 1, 1]], 1, levels=[1, 2]), r"`levels` .* \(1,\), got"),
        (lambda: group_rectangles([[0, 0, 1, 1]], 1, weights=[]), "`weights` must have shape"),
        (lambda: vj.group_boxes([[10, 10, 5, 20]]), "x2 < x1"),
        (lambda: vj.nms([[10, 10, 5, 20]], [1]), "x2 < x1"),
        (lambda: vj.nms([[0, 0, 1, 1]], [1, 2]), "`score` must have shape"),
        (lambda: vj.nms([[0, 0, 1, 1]], [np.nan]), "`score` holds NaN"),
        (lambda: vj.nms([[0, 0, 1, 1]], [1], 1.5), "`iou_threshold` must be 0 to 1, got 1.5"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(ParameterError, match=says):
        call()


@given(st.integers(0, 2**32), st.integers(0, 40), st.sampled_from([0, 0.1, 0.3, 0.5, 1]))
@settings(max_examples=150)
def test_nms_matches_naive(seed, n, limit):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (n, 2))
    boxes = np.hstack([corner, corner + rng.integers(0, 20, (n, 2))]).astype(np.float32)
    score = rng.choice([0.1, 0.5, 0.9, -np.inf], n)  # ties go by index
    keep = vj.nms(boxes, score, limit)
    assert keep.dtype == np.int64
    assert keep.tolist() == naive.nms(boxes, score, limit)


def test_nms_of_boxes_without_area_keeps_them():
    assert vj.nms([[5, 5, 5, 5]] * 3, [1, 3, 2]).tolist() == [1, 2, 0]
