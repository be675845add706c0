"""Matching and curves against the plain scorer: the same verdicts, the same figures."""

import importlib.util
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.datasets.annotations import boxes_from_xywh, read_annotations
from vj.errors import ParameterError
from vj.io.files import data_folder
from vj.metrics import Curve, match

DATA = data_folder()


def plain_rows(xywh, score, boxes, ignore, threshold):
    """Greedy matching in plain Python: (score, verdict) for every detection that counts."""

    def overlap(a, b):
        w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
        h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
        return max(w, 0) * max(h, 0)

    used, rows = set(), []
    for k in sorted(range(len(xywh)), key=lambda k: -score[k]):
        d, best, best_iou = xywh[k], None, 0
        for j, g in enumerate(boxes):
            inter = overlap(d, g)
            iou = inter / (d[2] * d[3] + g[2] * g[3] - inter)
            if j not in used and iou > best_iou:
                best, best_iou = j, iou
        if best is not None and best_iou >= threshold:
            used.add(best)
            rows.append((k, 1))
        elif any(overlap(d, g) / (d[2] * d[3]) >= 0.5 for g in ignore):
            rows.append((k, -1))
        else:
            rows.append((k, 0))
    return rows


box = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 9), st.integers(1, 9)).map(
    list
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(box, st.integers(0, 4)), max_size=8),
    st.lists(box, max_size=5),
    st.lists(box, max_size=3),
    st.sampled_from([0.3, 0.5, 0.75]),
)
def test_verdicts_are_those_of_the_plain_twin(found, boxes, ignore, threshold):
    xywh, score = [f[0] for f in found], [f[1] for f in found]
    got = match(
        boxes_from_xywh(xywh), score, boxes_from_xywh(boxes), boxes_from_xywh(ignore), iou=threshold
    )
    for k, verdict in plain_rows(xywh, score, boxes, ignore, threshold):
        assert got.verdict[k] == verdict
    hits = got.verdict == 1
    assert sorted(got.box[hits]) == sorted(np.flatnonzero(got.found_by >= 0))
    assert all(got.box[got.found_by[j]] == j for j in np.flatnonzero(got.found_by >= 0))


def test_refuses_nonsense():
    with pytest.raises(ParameterError, match="`score` has 2 entries for 1 detections"):
        match([[0, 0, 1, 1]], [1, 2], [])
    with pytest.raises(ParameterError, match="`iou` must be above 0"):
        match([], [], [], iou=0)


def test_no_detections_and_no_faces_are_no_error():
    empty = Curve.of([], [], 0)
    assert (empty.ap, empty.recall_at(5), empty.threshold_at(5)) == (0, 0, float("inf"))
    one = match(np.empty((0, 4)), [], [[0, 0, 5, 5]])
    assert one.found_by.tolist() == [-1]


def test_average_precision_by_hand():
    # hit, alarm, hit of 4 faces: precision 1, 1/2, 2/3; made monotone 1, 2/3, 2/3
    curve = Curve.of([np.array([1, 0, 1], np.int8)], [np.array([3.0, 2.0, 1.0])], 4)
    assert curve.ap == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    assert curve.recall_at(0) == 0.25
    assert curve.recall_at(1) == 0.5
    assert curve.threshold_at(0) == 3.0
    assert curve.alarms_per_picture.tolist() == [0, 1, 1]


scorer = DATA.parent / "score.py"


@pytest.mark.skipif(not scorer.is_file(), reason="needs the scorer beside the data (VJ_DATA)")
@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_figures_are_those_of_the_reference_scorer(threshold):
    spec = importlib.util.spec_from_file_location("reference_scorer", scorer)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    rng = np.random.default_rng(3)
    items = json.loads((DATA / "boxes_dev" / "annotations.json").read_text())
    found = {}
    for item in items:
        near = np.array(item["boxes"], float).reshape(-1, 4).repeat(2, axis=0)
        near = near + rng.normal(0, 4, near.shape)
        far = rng.uniform(10, 80, (5, 4))
        rows = np.concatenate([near, far])
        rows[:, 2:] = np.maximum(rows[:, 2:], 4)
        score = rng.integers(0, 30, (len(rows), 1))  # with ties
        found[item["file"]] = np.concatenate([rows, score], axis=1).round(2).tolist()
    want = reference.score(items, found, threshold, False)

    verdicts, scores, faces = [], [], 0
    for picture in read_annotations(DATA / "boxes_dev"):
        rows = np.array(found[picture.name])
        got = match(
            boxes_from_xywh(rows[:, :4]), rows[:, 4], picture.boxes, picture.ignore, iou=threshold
        )
        verdicts.append(got.verdict)
        scores.append(rows[:, 4])
        faces += len(picture.boxes)
    curve = Curve.of(verdicts, scores, faces)
    assert faces == want["faces"]
    assert curve.ap == pytest.approx(want["ap"], abs=1e-12)
    for alarms, recall in want["recall_at_fp"].items():
        assert curve.recall_at(alarms) == pytest.approx(recall, abs=1e-12)
