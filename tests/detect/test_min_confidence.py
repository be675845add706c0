"""One number: what labels show is what `min_confidence` cuts and what the defaults are told in."""

import io
import json
import pickle
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nets
import vj
from nets.cards import list_models
from vj.app.cli import program
from vj.app.options import parser
from vj.app.progress import Console
from vj.cascade.zoo import list_cascades
from vj.detect.registry import DEFAULT, list_detectors, open_detector
from vj.detect.scoring import Scoring
from vj.errors import ParameterError

SHIPPED = ["face-cnn", "face-fast", "face-tiny"]
CASCADES = ["frontalface", "frontalface-fast"]


@pytest.mark.parametrize("name", [*SHIPPED, *CASCADES, "hybrid:face-tiny"])
def test_cuts_exactly_the_confidence(name, astronaut):
    every = open_detector(name).lowered().detect(astronaut)
    assert len(every) > 3
    one = every.confidence[len(every) // 2]  # on the boundary it stays
    for least in (0.02, 0.3, 0.5, float(one), float(np.nextafter(one, np.float32(1))), 0.9, 1):
        found = open_detector(name, min_confidence=least).detect(astronaut)
        kept = every[every.confidence >= np.float32(least)]
        np.testing.assert_array_equal(found.xyxy, kept.xyxy)
        np.testing.assert_array_equal(found.confidence, kept.confidence)
        np.testing.assert_array_equal(found.score, kept.score)


@given(
    st.floats(0, 1, width=32),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50),
    st.one_of(st.none(), st.tuples(st.floats(0.1, 5), st.floats(-6, 6))),
)
def test_the_score_of_a_confidence_is_exact(least, scores, calibration):
    card = replace(list_models()["face-fast"], calibration=calibration)
    scores = np.array(scores, np.float32)
    cut = scores >= np.float32(card.score_at(least))
    sure = card.confidence(scores) >= np.float32(least)
    assert (cut == sure)[scores < 1].all()  # of 1 nothing is cut, where nothing is so sure


@pytest.mark.parametrize("name", [*SHIPPED, *CASCADES])
def test_the_default_is_told_in_that_number(name, astronaut):
    card = {**list_models(), **list_cascades()}[name]
    entries = card.details["scoring"] if name in CASCADES else card.details
    least = entries["min_confidence"]
    assert 0.1 < least < 0.99
    assert f"; by default min_confidence={least:g})" in list_detectors()[name]
    own = open_detector(name).detect(astronaut)
    assert own.xyxy.tolist() == vj.detect(astronaut, name, min_confidence=least).xyxy.tolist()
    assert (own.confidence >= np.float32(least - 0.0005)).all()
    if name in SHIPPED:
        assert card.min_confidence == least == round(nets.load(name).min_confidence, 3)
    else:
        scoring = Scoring.of_card(card.details)
        assert scoring.min_confidence == scoring.to_card()["min_confidence"] == least


def test_the_help_tells_the_default():
    least = list_models()[DEFAULT].min_confidence
    text = " ".join(parser().format_help().split())
    assert f"(default: the detector's own; of {DEFAULT} {least:g})" in text


def test_the_label_shows_that_number(monkeypatch, astronaut):
    said = []
    module = import_module("vj.draw")
    monkeypatch.setattr(module, "_label", lambda pen, box, text, *_: said.append(text))
    found = vj.detect(astronaut, min_confidence=0.1)
    vj.draw(astronaut, found)
    assert said[::-1] == [f"{value:.0%}" for value in found.confidence]


@pytest.mark.parametrize("name", SHIPPED)
def test_scores_still_cut_scores(name, astronaut):
    detector = open_detector(name, min_score=0.3)
    assert detector.threshold == 0.3
    assert detector.min_confidence == pytest.approx(
        float(detector.card.confidence(np.float32([0.3]))[0]), abs=1e-6
    )
    found = detector.detect(astronaut)
    assert (found.score >= np.float32(0.3)).all()
    assert nets.load(name, score_threshold=0.3).threshold == 0.3
    assert nets.load(name).lowered(0.3).min_confidence == detector.min_confidence


def test_a_copy_of_a_cascade_keeps_it(astronaut):
    detector = vj.CascadeDetector("frontalface", min_confidence=0.2)
    other = pickle.loads(pickle.dumps(detector))
    assert other.min_confidence == 0.2
    assert len(other.detect(astronaut)) == len(detector.detect(astronaut))
    assert detector.threshold == pytest.approx(Scoring.of_card(
        list_cascades()["frontalface"].details).score_at(0.2))  # fmt: skip
    assert detector.lowered().threshold == 0


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("face-tiny", {"min_confidence": 1.5}, "`min_confidence` must be 0 to 1, got 1.5"),
        ("face-tiny", {"min_confidence": float("nan")}, "`min_confidence` must be 0 to 1"),
        ("frontalface", {"min_confidence": -1}, "`min_confidence` must be 0 to 1, got -1"),
        ("frontalface", {"min_confidence": float("nan")}, "`min_confidence` must be 0 to 1"),
        (
            "face-tiny",
            {"min_confidence": 0.5, "min_score": 0.5},
            "`min_confidence` and `score_threshold` exclude each other",
        ),
        (
            "frontalface",
            {"min_confidence": 0.5, "min_score": 1.0},
            "`min_confidence` and `min_score` exclude each other",
        ),
        (
            "frontalface",
            {"min_confidence": 0.5, "min_neighbors": 3},
            "this cascade is not calibrated, as `min_neighbors` is given: use `min_score`",
        ),
        (
            "lbpcascade_frontalface",
            {"min_confidence": 0.5},
            "this cascade is not calibrated, as it has no card: use `min_score`",
        ),
    ],
)
def test_refuses(name, options, says):
    with pytest.raises(ParameterError, match=says):
        open_detector(name, **options)


def command(*argv):
    console = Console(io.BytesIO(), io.BytesIO(), io.StringIO())
    status = program(["--sample", *argv], console)
    return status, console.stdout.getvalue().decode(), console.stderr.getvalue()


def test_the_command():
    for option in ("--min-confidence", "--min-score"):
        assert command(option, "0.9999")[:2] == (0, "astronaut: 0 faces\n")
    status, out, _ = command("--min-confidence", "0.001", "--jsonl", "-")
    (row,) = map(json.loads, out.splitlines())
    assert status == 0
    assert min(box["confidence"] for box in row["boxes"]) < 0.5


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ["--min-confidence", ".5", "--min-score", ".5"],
            "--min-confidence and --min-score exclude each other",
        ),
        (["--min-confidence", "2"], "argument --min-confidence: a number of 0 to 1 is wanted"),
        (
            ["--detector", "face-fast", "--scale-factor", "1.2"],
            "--scale-factor: face-fast has no such option; it has --min-confidence, --min-score, "
            "--min-size, --max-size, --second-pass\n",
        ),
        (
            ["--detector", "frontalface", "--second-pass"],
            "--second-pass: frontalface has no such option; it has --scale-factor, "
            "--min-neighbors, --min-confidence, --min-score, --min-size, --max-size\n",
        ),
        (
            ["--detector", "hybrid", "--min-neighbors", "3"],
            "--min-neighbors: hybrid has no such option; it has --scale-factor, ",
        ),
    ],
)
def test_the_command_refuses(argv, says):
    status, out, err = command(*argv)
    assert (status, out) == (2, "")
    assert err.startswith(f"vj-detect: {says}")
    assert err.count("\n") == 1
