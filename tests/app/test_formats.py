import csv
import io
import json

import numpy as np
import pytest

from vj.app.formats import FORMATS, Record, count
from vj.app.sink import data_sink
from vj.detections import Detections


def record(name="a.jpg", n=2, **more):
    boxes = np.array([[10, 20, 30.5, 45], [1, 2, 3, 4]], np.float32)[:n]
    found = Detections(
        boxes, np.array([1.5, -0.25], np.float32)[:n], neighbors=np.array([7, 3], np.int32)[:n]
    )
    fields = {"frame": 0, "time": None, "width": 64, "height": 48, "detector": "frontalface"}
    return Record(name, **{**fields, "detections": found, **more})


def text(kind, *records):
    form = FORMATS[kind]()
    return form.head() + "".join(form.body(r) for r in records) + form.tail()


def test_the_row():
    assert json.loads(text("jsonl", record())) == {
        "schema": 1,
        "source": "a.jpg",
        "frame": 0,
        "time_s": None,
        "width": 64,
        "height": 48,
        "detector": "frontalface",
        "boxes": [
            {"xyxy": [10, 20, 30.5, 45], "score": 1.5, "neighbors": 7},
            {"xyxy": [1, 2, 3, 4], "score": -0.25, "neighbors": 3},
        ],
    }


@pytest.mark.parametrize("n", [0, 1, 3])
def test_json_holds_the_rows_of_json_lines(n):
    records = [record(f"{i}.jpg") for i in range(n)]
    document = json.loads(text("json", *records))
    assert document["schema"] == 1
    assert document["results"] == [
        json.loads(line) for line in text("jsonl", *records).splitlines()
    ]


def test_csv_has_a_line_for_every_box():
    points = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    full = Detections(
        np.array([[10, 20, 30.5, 45], [1, 2, 3, 4]], np.float32),
        np.array([1.5, 2], np.float32),
        confidence=np.array([0.9, 0.1], np.float32),
        level=np.array([20, 20], np.int32),
        landmarks=points,
        track_id=np.array([4, 5], np.int32),
    )
    rows = list(
        csv.DictReader(
            io.StringIO(
                text("csv", record('odd ", name.jpg'), record(n=0), record(detections=full))
            )
        )
    )
    assert [row["source"] for row in rows] == ['odd ", name.jpg'] * 2 + ["a.jpg"] * 2
    assert [rows[0][k] for k in ("x1", "y1", "x2", "y2")] == ["10", "20", "30.5", "45"]
    assert rows[0]["confidence"] == rows[0]["time_s"] == ""
    assert (rows[0]["neighbors"], rows[2]["neighbors"]) == ("7", "")
    assert (rows[3]["track_id"], rows[3]["confidence"]) == ("5", "0.1")
    assert rows[3]["landmarks"] == "4 5 6 7"


def test_coco():
    document = json.loads(
        text("coco", record(), record("b.jpg", n=0), record("c.mp4", n=1, frame=5, time=0.2))
    )
    assert document["categories"][0]["name"] == "face"
    assert [i["id"] for i in document["images"]] == [1, 2, 3]
    assert document["images"][0] == {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
    assert document["images"][2]["frame"] == 5
    assert [(a["id"], a["image_id"]) for a in document["annotations"]] == [(1, 1), (2, 1), (3, 3)]
    assert document["annotations"][0]["bbox"] == [10, 20, 20.5, 25]
    assert document["annotations"][0]["area"] == 512.5
    assert json.loads(text("coco"))["annotations"] == []


def test_text():
    assert text("text", record()) == "a.jpg: 2 faces: 20x25+10+20 2x2+1+2\n"
    assert text("text", record(n=0)) == "a.jpg: 0 faces\n"
    assert text("text", record(n=1, time=1.5)) == "a.jpg 1.500 s: 1 face: 20x25+10+20\n"


def test_numbers_that_json_does_not_have_become_null():
    odd = Detections(np.zeros((1, 4), np.float32), np.array([np.nan], np.float32))
    for kind in ("json", "jsonl", "coco"):
        assert "NaN" not in text(kind, record(detections=odd))
    assert json.loads(text("jsonl", record(detections=odd)))["boxes"][0]["score"] is None


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_names_that_are_no_utf8_survive(kind, tmp_path):
    name = b"caf\xe9 \xe5\x90\x8d.jpg".decode("utf-8", "surrogateescape")
    with data_sink(kind, str(tmp_path / "out"), None) as write:
        write(record(name))
    data = (tmp_path / "out").read_bytes()
    if kind in ("csv", "text"):
        assert b"caf\xe9 \xe5\x90\x8d.jpg" in data
    else:
        assert name in _values(json.loads(data))


def _values(node):
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _values(child)
    else:
        yield node


def test_count():
    assert [count(n, "face") for n in (0, 1, 2)] == ["0 faces", "1 face", "2 faces"]
