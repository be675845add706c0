"""Figures of detectors on pictures from anywhere, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench.detection import wild
from bench.report.detectors import wild as table
from vj.detections import Detections

NONE = np.empty((0, 4), np.float32)


class Script:
    """Finds what it was told to find, picture after picture."""

    def __init__(self, *found):
        self.found = iter(found)

    def detect(self, image):
        boxes, score = next(self.found)
        score = np.array(score, np.float32)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), score, confidence=score)


class Blank:
    def pixels(self, entry):
        return np.zeros((8, 8, 4), np.uint8)


def picture(boxes, ignore=()):
    boxes, ignore = (np.array(b, np.float32).reshape(-1, 4) for b in (boxes, ignore))
    return SimpleNamespace(entry=None, boxes=boxes, ignore=ignore)


PICTURES = [
    picture([[0, 0, 10, 10], [20, 0, 40, 30]], [[50, 50, 90, 90]]),
    picture([[0, 0, 100, 100]]),
    picture([]),
]
FOUND = [
    ([[0, 0, 10, 10], [55, 55, 70, 70], [20, 0, 40, 30]], [0.9, 0.8, 0.5]),
    ([[200, 0, 210, 10], [0, 0, 99, 100]], [0.85, 0.7]),
    ([[5, 5, 9, 9]], [0.6]),
]


@pytest.fixture(autouse=True)
def _blank(monkeypatch):
    monkeypatch.setattr(wild, "Store", Blank)


def test_figures_of_faces_at_the_default_threshold():
    row = wild.on_faces(Script(*FOUND), PICTURES, 0.65)
    assert (row["pictures"], row["faces"]) == (3, 3)
    # By falling score: hit, miss, hit, miss, hit; what lies in the region to ignore is neither.
    assert row["ap"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert row["recall_at_50"] == 1
    assert row["precision"] == pytest.approx(2 / 3)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["false_positives_a_picture"] == pytest.approx(1 / 3)
    assert row["recall_by_size"] == {"under 12": [1, 1.0], "16-24": [1, 1.0], "from 96": [1, 1.0]}


def test_faces_missed_at_50_false_positives_count_by_size(monkeypatch):
    monkeypatch.setattr(wild, "FALSE_POSITIVES", 1)
    row = wild.on_faces(Script(*FOUND), PICTURES, 0.65)
    assert row["recall_by_size"] == {"under 12": [1, 1.0], "16-24": [1, 0.0], "from 96": [1, 1.0]}


def test_false_positives_where_there_is_no_face():
    row = wild.on_nothing(Script((NONE, []), *FOUND[:1]), [None, None], 0.8)
    assert row == {"pictures": 2, "false_positives_a_picture": 1.0}


def test_calibration_error_by_counting():
    """Confidences of a bin against the share of faces in it, weighted by how many there are."""
    row = wild.calibration_error(Script(*FOUND), PICTURES)
    # .9: a face; .85: none; .7: a face; .6: none; .5: a face; .8 is in a region to ignore
    error = abs(1 - 0.9) + abs(0 - 0.85) + abs(1 - 0.7) + abs(0 - 0.6) + abs(1 - 0.5)
    assert row["detections"] == 5
    assert row["expected_calibration_error"] == pytest.approx(error / 5, abs=1e-6)
    assert wild.calibration_error(Script(*FOUND), PICTURES, least=0.82)["detections"] == 2


def test_the_table_has_a_row_for_each_detector_best_first():
    one = wild.on_faces(Script(*FOUND), PICTURES, 0.65)
    free = {"false_positives_a_picture": 0.25}
    row = {"default": 0.65, "wild": one, "boxes_dev": one, "face_free": free, "scikit_image": free,
           "confidence": {"expected_calibration_error": 0.02}}  # fmt: skip
    better = row | {"wild": one | {"ap": 0.9}}
    lines = list(table({"wild": {"worse": row, "better": better}}))
    (top,) = (k for k, line in enumerate(lines) if line.startswith("| better | 0.900 | 1.000 |"))
    assert lines[top + 1].startswith("| worse | 0.756 | 1.000 | 0.756 | 0.650 | 0.667 |")
    assert "| faces | 1 | 1 | 1 |" in lines
