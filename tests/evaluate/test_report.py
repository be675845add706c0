"""Evaluation of detectors whose answers are known, and the page about it."""

import json
import re

import numpy as np
import pytest

from vj.datasets.annotations import Picture, read_annotations
from vj.detections import Detections
from vj.errors import ParameterError
from vj.evaluate import html as page
from vj.evaluate.evaluation import evaluate
from vj.evaluate.report import Report
from vj.io.images import write_image
from vj.metrics import Curve


class Scripted:
    """Answers with a list of boxes for each picture, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def detect(self, image):
        rows = np.array(self.answers.pop(0), np.float32).reshape(-1, 5)
        return Detections(rows[:, :4].copy(), rows[:, 4].copy()).sorted()


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    entries = []
    boxes = ([[10, 10, 20, 20], [50, 40, 40, 40]], [[5, 5, 10, 10]])
    for k, (rows, source) in enumerate(zip(boxes, ("a", "b"), strict=True)):
        write_image(tmp_path / f"{k}.png", rng.integers(0, 255, (90, 120, 3)).astype(np.uint8))
        entries.append({"file": f"{k}.png", "boxes": rows, "source": source})
    (tmp_path / "annotations.json").write_text(json.dumps(entries))
    return tmp_path


PERFECT = ([[10, 10, 30, 30, 9], [50, 40, 90, 80, 8]], [[5, 5, 15, 15, 7]])
POOR = ([[10, 10, 30, 30, 5], [90, 0, 110, 20, 6]], [])


def test_a_perfect_detector_is_perfect(dataset):
    got = evaluate(Scripted(*PERFECT), dataset, name="perfect")
    assert (got.ap, got.curve.recall_at(0)) == (1.0, 1.0)
    assert [row[1:] for row in got.recall_by_size()] == [(1, 1.0), (1, 1.0), (1, 1.0)]


def test_one_call_evaluates_and_shows(dataset, tmp_path):
    import vj

    done = vj.evaluate(Scripted(*POOR), dataset)
    assert [v.tolist() for v in done.roc] == [[1, 1], [0, 1 / 3]]
    assert [v.tolist() for v in done.pr] == [[0, 1 / 3], [0, 0.5]]
    done.save_html(tmp_path / "one.html")
    assert "Evaluation of detector" in (tmp_path / "one.html").read_text()
    assert vj.evaluate("lbpcascade_frontalface", dataset).name == "lbpcascade_frontalface"


def test_a_poor_one_is_judged_by_hand(dataset):
    got = evaluate(Scripted(*POOR), dataset)
    assert got.ap == pytest.approx(1 / 3 * 1 / 2)
    assert (got.curve.recall_at(0), got.curve.recall_at(10)) == (0, pytest.approx(1 / 3))
    assert [(row[0], row[2]) for row in got.recall_by_size()] == [
        ("0-20", 0), ("20-30", 1), ("30-45", 0)
    ]  # fmt: skip
    assert {name: one.ap for name, one in got.sources().items()} == {"a": 0.25, "b": 0}


def test_the_page_holds_everything_and_nothing_from_elsewhere(dataset, tmp_path):
    one, two = (
        evaluate(Scripted(*answers), dataset, name=name)
        for name, answers in (("<perfect>", PERFECT), ("poor", POOR))
    )
    report = Report("A & B", (one, two))
    report.save_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("<svg") == 3
    assert "&lt;perfect&gt;" in text
    assert "<perfect>" not in text
    assert "A &amp; B" in text
    assert text.count("data:image/png") == 2 + 1  # two misses, one false alarm
    assert "http" not in text
    figures = report.to_dict()["detectors"]
    assert figures[0]["AP"] == 1
    assert figures[1]["by_source"] == {"a": 0.25, "b": 0}
    assert figures[1]["alarms"] == 1


class Sweeping(Scripted):
    """Reports from a threshold, and can report everything."""

    threshold = 5.5

    def lowered(self, min_score=None):
        self.asked = min_score
        return Scripted(*self.answers)

    def detect(self, image):
        raise AssertionError("evaluated at its own threshold")


def test_detectors_are_evaluated_at_their_lowest_threshold(dataset, tmp_path):
    answers = ([*POOR[0], [50, 40, 90, 80, 5.5], [60, 0, 80, 20, 1]], PERFECT[1])
    detector = Sweeping(*answers)
    got = evaluate(detector, dataset, name="swept")
    assert detector.asked is None
    assert got.curve.score.tolist() == [7, 6, 5.5, 5, 1]
    point = got.default
    assert point == (5.5, pytest.approx(2 / 3), pytest.approx(2 / 3), 1, 0.5)
    assert [(row[0], row[2]) for row in got.recall_by_size()] == [
        ("0-20", 1), ("20-30", 0), ("30-45", 1)
    ]  # fmt: skip
    report = Report("t", (got, evaluate(Scripted(*answers), dataset, name="fixed")))
    assert report.points() == [["swept", "score 5.5", 0.6667, 0.6667, 0.5]]
    figures = report.to_dict()["detectors"]
    assert figures[0]["default"]["alarms_per_picture"] == 0.5
    assert figures[1]["default"] is None
    report.save_html(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert text.count("<circle") == 3  # one a chart
    assert "<title>swept: 0.6667, 0.6667</title>" in text
    assert "score 5.5" in text


def test_curves_may_begin_at_a_score(dataset):
    answers = ([*POOR[0], [50, 40, 90, 80, 5.5]], PERFECT[1])
    detector = Sweeping(*answers)
    got = evaluate(detector, dataset, min_score=6)
    assert detector.asked == 6
    assert got.curve.score.tolist() == [7, 6]
    assert got.default.threshold == 6
    assert evaluate(Scripted(*answers), dataset, min_score=5.5).curve.score.tolist() == [7, 6, 5.5]


def test_a_point_of_a_curve():
    verdicts = [np.array([1, 0, 1, 0], np.int8)]
    curve = Curve.of(verdicts, [np.array([4.0, 3, 2, 2])], 4)
    assert curve.at(2.5) == (2.5, 0.5, 0.25, 1, 1)
    assert curve.at(2) == (2, 0.5, 0.5, 2, 2)
    assert curve.at(9) == (9, 1, 0, 0, 0)


def test_unreadable_pictures_are_listed_and_do_not_count(dataset):
    (dataset / "0.png").write_bytes(b"broken")
    got = evaluate(Scripted(PERFECT[1]), dataset)
    assert (got.ap, got.curve.faces) == (1.0, 1)
    assert "0.png: not a picture" in got.problems[0]


def test_refuses_sets_without_pictures_or_boxes(dataset):
    gone = [Picture("x", dataset / "x.png", np.array([[0.0, 0, 5, 5]]))]
    with pytest.raises(ParameterError, match=r"no picture can be read: x: no picture at"):
        evaluate(Scripted(), gone)
    bare = [Picture("0", dataset / "0.png", np.empty((0, 4)))]
    with pytest.raises(ParameterError, match="no picture has a box"):
        evaluate(Scripted([]), bare)


def test_the_order_of_pictures_changes_nothing(dataset):
    pictures = read_annotations(dataset)
    forward = evaluate(Scripted(*POOR), pictures)
    back = evaluate(Scripted(*POOR[::-1]), pictures[::-1])
    assert forward.ap == back.ap


def test_charts_stay_inside_their_frame():
    svg = page.chart("t", {"a": [(0, 0), (0.5, 1), (1, 0.2)], "b": []}, "x", "y")
    numbers = [float(v) for v in svg.split('d="M')[-1].split('"')[0].replace("L", " ").split()]
    assert all(0 <= v <= 430 for v in numbers)
    logarithmic = page.chart("t", {"a": [(0, 0), (0.01, 0.5), (10, 1)]}, "x", "y", log_x=True)
    assert "0.01" in logarithmic
    assert page.number(0.123456) == "0.1235"


def test_what_leaves_the_axes_is_cut_off_and_names_stand_below():
    lines = {"long name <1>": [(0, -5), (1, 0.95)], "b": [(0, 0.5)]}
    marks = {"long name <1>": (0.5, 0.92), "b": (0.5, 0.2)}
    svg = page.chart("t", lines, "x", "y", y_range=(0.9, 1), x_range=(0, 1), marks=marks)
    clip = re.search(r'<clipPath id="(\w+)"><rect x="52" y="14" width="368" height="244"/>', svg)
    assert f'<g clip-path="url(#{clip[1]})"><path d="M' in svg
    assert svg.count("<circle") == 1  # the other one is off the axes
    assert re.search(r'y="(\d+)">long name &lt;1&gt;</text>', svg)[1] == "310"
    height = int(re.search(r'height="(\d+)"', svg)[1])
    assert height > 310
