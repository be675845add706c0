"""Boxes and scores of a cascade whose card says how: against the plain rule, and by hand."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vj.detect.scoring import Scoring
from vj.errors import CascadeError

SHAPE = (400, 500)


def plain(rects, margins, scoring):
    """(x, y, w, h, score, members) of the groups that stay, in plain Python."""
    groups = {}
    for k, label in enumerate(naive.group_classes(rects.tolist(), 0.2)):
        groups.setdefault(label, []).append(k)
    found = [
        (*np.mean([rects[k] for k in g], axis=0), sum(margins[k] for k in g), len(g))
        for g in groups.values()
    ]
    kept = []
    for a in sorted(found, key=lambda g: -g[4]):
        for b in kept:
            w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
            h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
            if max(w, 0) * max(h, 0) > scoring.overlap * min(a[2] * a[3], b[2] * b[3]):
                break
        else:
            kept.append(a)
    return kept


@given(st.integers(0, 10**6), st.integers(0, 30), st.sampled_from([0.2, 0.5, 0.9]))
def test_groups_are_those_of_the_plain_rule(seed, n, overlap):
    rng = np.random.default_rng(seed)
    side = rng.integers(20, 60, n)
    rects = np.stack([rng.integers(0, 80, n), rng.integers(0, 80, n), side, side], axis=1)
    rects, margins = rects.astype(np.int32), rng.uniform(0.1, 3, n)
    scoring = Scoring(overlap=overlap)
    got = scoring.detections(rects, margins, 7, SHAPE)
    want = plain(rects, margins, scoring)
    np.testing.assert_allclose(got.score, [w[4] for w in want], rtol=1e-6)
    if n:
        np.testing.assert_allclose(
            sorted(got.xywh.tolist()), sorted([list(w[:4]) for w in want]), rtol=1e-4, atol=1e-3
        )
        assert sorted(got.neighbors.tolist()) == sorted(w[5] for w in want)


def test_the_box_moves_and_shrinks_with_the_window():
    scoring = Scoring((0.0, 0.1, 0.8, 1.0))
    rects = np.array([[100, 100, 40, 40]], np.int32)
    (box,) = scoring.detections(rects, np.ones(1), 3, SHAPE).xyxy.tolist()
    assert box == [104, 104, 136, 144]
    edge = scoring.detections(np.array([[0, 370, 40, 30]], np.int32), np.ones(1), 3, SHAPE)
    assert edge.xyxy[0, 3] == 400


def test_lone_windows_stay_and_weak_ones_go_only_by_default():
    rects = np.array([[0, 0, 30, 30], [100, 100, 30, 30]], np.int32)
    margins = np.array([0.4, 2.0])
    scoring = Scoring(least=1.0)
    assert scoring.detections(rects, margins, 3, SHAPE).score.tolist() == [2.0]
    assert len(scoring.detections(rects, margins, 3, SHAPE, least=0)) == 2
    assert len(scoring.detections(rects[:0], margins[:0], 3, SHAPE)) == 0


def test_confidence_is_bayes_rule():
    # objects: log score normal(2, 1), false alarms normal(0, 1), three times as many of these
    scoring = Scoring(calibration=(2.0, -2.0 - np.log(3)))
    score = np.array([0.5, 1.0, 5.0])
    objects, alarms = (np.exp(-((np.log(score) - m) ** 2) / 2) for m in (2, 0))
    np.testing.assert_allclose(
        scoring.confidence(score), objects / (objects + 3 * alarms), rtol=1e-6
    )
    assert Scoring().confidence(score) is None


def test_a_card_is_read_as_it_was_written():
    scoring = Scoring((0.01, 0.06, 0.8, 1.0), 0.5, 1.5, (2.0, -1.0))
    assert Scoring.of_card({"scoring": scoring.to_card()}) == scoring
    assert Scoring.of_card({}) is None


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [],
        {"box": [1, 2, 3], "overlap": 0.5, "least": 0},
        {"box": [0, 0, 0, 1], "overlap": 0.5, "least": 0},
        {"box": [0, 0, 1, 1], "overlap": float("nan"), "least": 0},
        {"box": [0, 0, 1, 1], "overlap": 0.5, "least": 0, "calibration": [1]},
    ],
)
def test_a_malformed_card_is_refused(entry):
    with pytest.raises(CascadeError, match="card: `scoring` is malformed"):
        Scoring.of_card({"scoring": entry})
