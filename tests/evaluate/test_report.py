"""Evaluation of detectors whose answers are known, and the page about it."""

import json

import numpy as np
import pytest

from vj.datasets.annotations import Picture, read_annotations
from vj.detections import Detections
from vj.errors import ParameterError
from vj.evaluate import html as page
from vj.evaluate.report import Report, evaluate
from vj.io.images import write_image


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
