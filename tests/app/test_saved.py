"""Detections of an earlier run: what was written comes back, what lies is one line."""

import json

import pytest

from vj.app.saved import read_saved
from vj.errors import SourceError

BOX = {"xyxy": [10, 5, 30, 17], "score": 2.4, "level": 20, "neighbors": 3}
ROW = {"schema": 1, "source": "a.png", "frame": 0, "time_s": None, "boxes": [BOX]}


def write(tmp_path, rows):
    path = tmp_path / "found"
    path.write_text(
        "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    )
    return str(path)


def test_lines_and_documents_come_back(tmp_path):
    marked = {**BOX, "landmarks": [[1, 2], [3, 4]], "score": None}
    rows = [ROW, {**ROW, "source": "v.mp4", "time_s": 0.5, "boxes": [marked]}]
    lines = read_saved(write(tmp_path, rows))
    whole = read_saved(write(tmp_path, [json.dumps({"schema": 1, "results": rows})]))
    for saved in (lines, whole):
        assert saved.found["a.png"][0].xyxy.tolist() == [BOX["xyxy"]]
        assert saved.found["v.mp4"][0.5].landmarks.tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"source": ["a"]}, "source: wanted text"),
        ({"source": {}}, "source: wanted text"),
        ({"frame": "²"}, "frame: wanted a whole number"),
        ({"frame": -1}, "frame: wanted a whole number"),
        ({"frame": []}, "frame: wanted a whole number"),
        ({"time_s": float("nan")}, "time_s: wanted 1 number"),
        ({"time_s": "soon"}, "time_s: wanted 1 number"),
        ({"boxes": "ab"}, "boxes: wanted a list"),
        ({"boxes": ["ab"]}, "box 0: wanted an object"),
        ({"boxes": [{**BOX, "xyxy": [1, 2, 3]}]}, "box 0, xyxy: wanted 4 numbers"),
        ({"boxes": [{**BOX, "xyxy": [1, 2, float("inf"), 4]}]}, "xyxy: wanted 4 numbers"),
        ({"boxes": [{**BOX, "xyxy": [1, 2, 1e30, 4]}]}, "xyxy: wanted numbers of at most"),
        ({"boxes": [{**BOX, "level": 1e400}]}, "no list of detections"),
        ({"boxes": [{**BOX, "level": 2**40}]}, "no list of detections"),
        ({"boxes": [{**BOX, "level": [1]}]}, "`level` must have shape"),
        ({"boxes": [{**BOX, "score": 1e300}]}, "score: wanted numbers of at most"),
        ({"boxes": [{**BOX, "landmarks": [1, 2]}]}, r"landmarks\[0\]: wanted 2 numbers"),
        ({"boxes": [BOX, {"xyxy": [1, 2, 3, 4]}]}, "no list of detections"),
    ],
)
def test_rows_that_lie_are_named_by_line(tmp_path, changes, says):
    path = write(tmp_path, [ROW, {**ROW, **changes}])
    with pytest.raises(SourceError, match=f"found: not what --json or --jsonl writes: .*{says}"):
        read_saved(path)


@pytest.mark.parametrize(
    "text", ["7", "[1]", "[" * 100_000, '{"a":' * 100_000, '{"schema": 1, "results": 3}']
)
def test_other_json_is_refused(tmp_path, text):
    with pytest.raises(SourceError, match="found: not what --json or --jsonl writes"):
        read_saved(write(tmp_path, [text]))
