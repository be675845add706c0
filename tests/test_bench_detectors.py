"""`python -m bench detectors`: counting, sets, the page."""

import json

import numpy as np
import pytest
from PIL import Image

from bench.detection import detectors
from bench.detection.sets import Case, annotated, bucket, roll, shrunk
from bench.report import detectors as detector_table
from bench.report import pages

BOXES = np.array([[10, 10, 30, 30], [50, 50, 130, 130]], float)
DOUBT = np.array([[200, 10, 240, 50]], float)
NONE = np.empty((0, 4))
IMAGE = np.zeros((8, 8, 3), np.uint8)


def case(source="cmu_mit_B"):
    return Case(IMAGE, BOXES, DOUBT, NONE, source, ("10-20 px", "80-160 px"))


def tally():
    found = detectors.Tally()
    boxes = np.array([[11, 10, 31, 30], [205, 12, 235, 48], [300, 300, 340, 340]], float)
    found.add(case(), boxes, np.array([0.9, 0.8, 0.7]), 0.004)
    found.add(case("group"), BOXES, np.array([0.6, 0.95]), 0.002)
    return found


def test_doubtful_regions_count_only_where_they_are_strict():
    found = tally()
    assert found.curve().alarms[-1] == 1
    assert found.curve("cmu_mit_B", strict=True).alarms[-1] == 2
    assert found.curve("group").ap == 1
    assert found.milliseconds == pytest.approx(3)


def test_recall_by_kind_at_a_threshold():
    found = tally()
    assert found.recall_by_kind(0.65) == {"10-20 px": (2, 0.5), "80-160 px": (2, 0.5)}
    assert found.recall_by_kind(0.1) == {"10-20 px": (2, 1.0), "80-160 px": (2, 0.5)}


def test_every_call_is_shown_and_the_least_time_kept():
    calls = []

    def detect(image):
        calls.append(image)
        return [[0, 0, 1, 1]], [0.5]

    boxes, score, seconds = detectors.show(detect, IMAGE, 3)
    assert len(calls) == 4
    assert boxes.shape == (1, 4)
    assert score.tolist() == [0.5]
    assert 0 <= seconds < 1


def test_pictures_are_shrunk_and_never_enlarged():
    image = Image.new("RGB", (1000, 500))
    assert shrunk(image, 640)[0].size == (640, 320)
    assert shrunk(image, 640)[1] == 0.64
    assert shrunk(image, 2000) == (image, 1.0)
    assert shrunk(image, 0) == (image, 1.0)


def test_any_annotated_folder_is_a_set(tmp_path, capsys):
    Image.fromarray(np.full((90, 120), 128, np.uint8)).save(tmp_path / "a.png")
    items = [{"file": "a.png", "boxes": [[10, 20, 40, 40]], "source": "here",
              "ignore": [[0, 0, 9, 9]], "ignore_auto": [[60, 0, 8, 8]]}]  # fmt: skip
    (tmp_path / "annotations.json").write_text(json.dumps(items), encoding="utf-8")
    (one,) = annotated(tmp_path, side=60)
    assert one.image.shape == (45, 60, 3)
    assert one.boxes.tolist() == [[5, 10, 25, 30]]
    assert (len(one.ignore), len(one.strict), one.kinds) == (2, 1, ("20-40 px",))
    output = tmp_path / "out.json"
    command = ["--data", str(tmp_path), "--only", "frontalface-fast", "--output", str(output)]
    assert detectors.main(command) == 0
    assert "vj frontalface-fast" in capsys.readouterr().out
    kept = json.loads(output.read_text(encoding="utf-8"))
    assert (kept["pictures"], kept["faces"], kept["set"]) == (1, 1, tmp_path.name)
    row = kept["detectors"]["vj frontalface-fast"]
    assert row["date"]
    assert "cmu_mit_B_strict_at_50" not in row


def test_names_of_sizes_and_angles():
    assert [bucket(s) for s in (9, 10, 79, 500)] == [
        "under 10 px", "10-20 px", "40-80 px", "from 300 px",
    ]  # fmt: skip
    points = np.array([[0, 0], [10, 2], [5, 5], [2, 8], [8, 8]], float)
    assert roll(points) == "roll 10-20°"
    assert roll(points * (1, -4)) == "roll 30-45°"


def test_the_front_holds_those_that_nobody_beats():
    rows = {"slow": (9, 0.9), "good": (3, 0.9), "fast": (1, 0.5), "poor": (2, 0.4)}
    named = {name: {"ms": ms, "ap": ap} for name, (ms, ap) in rows.items()}
    assert detector_table.front(named) == ["fast", "good"]


def test_the_page(tmp_path):
    kept = detectors.summarise(tally(), tally())
    assert kept["ap_by_source"]["group"] == 1
    content = {
        "date": "2026-01-01", "commit": None, "machine": {"cpu": "c", "system": "s", "python": "p",
        "versions": {"numpy": "1"}}, "set": "boxes_dev", "policy": "Policy.", "pictures": 2,
        "faces": 4, "detectors": {"vj one": kept, "cv2 one": {**kept, "ms": 9.0, "commit": "abc"}},
    }  # fmt: skip
    elsewhere = {**content, "set": "street", "detectors": {"vj one": {**kept, "ms": None}}}
    del elsewhere["detectors"]["vj one"]["cmu_mit_B_strict_at_50"]
    results = {"detectors": content, "detectors.street": elsewhere}
    page = pages.bench_page(results)
    assert "| **vj one** | 0.688 |" in page
    assert "| cv2 one |" in page
    assert "| faces | 2 | 2 |" in page
    assert "| numpy 1 | abc |" in page
    assert "## Face detectors on street" in page
    assert "| vj one | 0.688 | 0.750 |  |  |" in page
    (plot,) = pages.plots(results)
    plot[2](plot[1], tmp_path)
    assert (tmp_path / "plots" / "face-detectors.svg").stat().st_size > 1000


def test_columns_stand_in_order():
    kinds = {"mask", "no mask", "roll 10-20°", "roll 0-10°", "size 20-40", "size 160-300",
             "20-40 px", "under 10 px", "10-20 px", "over half the frame"}  # fmt: skip
    assert detector_table.ordered(kinds) == [
        "under 10 px", "10-20 px", "20-40 px", "size 20-40", "size 160-300",
        "over half the frame", "roll 0-10°", "roll 10-20°", "no mask", "mask",
    ]  # fmt: skip
