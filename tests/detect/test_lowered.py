"""Detectors at their lowest threshold: what they report by default is the upper part of that."""

import numpy as np
import pytest

import nets
from vj.detect.detector import CascadeDetector
from vj.detect.registry import open_detector
from vj.evaluate.evaluation import open_whole
from vj.metrics import SIDE


def upper(detector, image):
    """What the lowered detector gives, from the threshold of the detector itself."""
    found = detector.lowered().detect(image)
    value = getattr(found, getattr(detector, "ranked_by", "score"))
    assert len(found) > (value >= np.float32(detector.threshold)).sum()
    return found[value >= np.float32(detector.threshold)]


@pytest.mark.parametrize(
    ("name", "options", "ranked_by"),
    [
        ("face-tiny", {}, "score"),
        ("face-tiny", {"min_score": 0.4}, "score"),
        ("frontalface-fast", {}, "score"),
        ("frontalface-fast", {"min_score": 1.0}, "score"),
        ("haarcascade_frontalface_alt2", {"scale_factor": 1.02}, "neighbors"),
        ("haarcascade_frontalface_default", {"min_neighbors": 5}, "neighbors"),
        ("frontalface-fast", {"min_neighbors": 2}, "neighbors"),
        ("hybrid:face-tiny", {"grow": 2.0}, "score"),
    ],
)
def test_reports_the_upper_part_of_the_curve(name, options, ranked_by, astronaut):
    detector = open_detector(name, **options)
    assert getattr(detector, "ranked_by", "score") == ranked_by
    own, part = detector.detect(astronaut), upper(detector, astronaut)
    np.testing.assert_array_equal(own.xyxy, part.xyxy)
    np.testing.assert_array_equal(own.score, part.score)


def test_lowering_leaves_the_detector_as_it_is(astronaut):
    for detector in (nets.load("face-tiny"), CascadeDetector("frontalface-fast")):
        before = detector.threshold, len(detector.detect(astronaut))
        detector.lowered()
        assert (detector.threshold, len(detector.detect(astronaut))) == before
        assert detector.lowered(0.5).threshold == 0.5


def test_every_window_is_ranked_by_its_score(astronaut):
    detector = CascadeDetector("haarcascade_frontalface_alt2", min_neighbors=0)
    assert detector.ranked_by == "score"
    assert detector.lowered().min_neighbors == 0


def test_networks_opened_for_an_evaluation_see_whole_pictures():
    assert open_whole("face-tiny").size == SIDE
    assert open_whole("face-tiny", size=320).size == 320
    own = nets.load("face-tiny")
    assert open_whole(own) is own
    assert own.size == 640
