import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vj.app.pipeline import Pipeline, run
from vj.app.progress import Console
from vj.app.sink import Task
from vj.detections import Detections
from vj.errors import SinkError, SourceError
from vj.io.source import Frame


class Item:
    place = Path()
    path = None

    def __init__(self, name, n_frames=1, error=None):
        self.name, self.n_frames, self.error = name, n_frames, error

    def frames(self):
        if self.error:
            raise self.error
        for i in range(self.n_frames):
            yield Frame(np.full((4, 6), int(self.name), np.uint8), i, i / 10)


class Detector:
    """As many faces as the gray level says; slow for the first images."""

    def __init__(self, delay=0.0):
        self.delay, self.lock, self.now, self.most = delay, threading.Lock(), 0, 0

    def detect(self, image):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        n = int(image[0, 0])
        time.sleep(self.delay / (1 + n))
        with self.lock:
            self.now -= 1
        return Detections(np.zeros((n, 4), np.float32), np.zeros(n, np.float32))


def console():
    return Console(io.BytesIO(), io.BytesIO(), io.StringIO())


def ran(items, detector=None, jobs=1, sinks=()):
    rows, talk = [], console()
    pipeline = Pipeline(detector or Detector(), "x", lambda image, found: image, talk)
    tally = run(pipeline, [Task(item) for item in items], [rows.append, *sinks], jobs)
    return rows, tally, talk.stderr.getvalue()


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
def test_records_come_in_the_order_of_the_inputs(jobs):
    items = [Item(str(i)) for i in range(20)]
    detector = Detector(0.02)
    rows, tally, _ = ran(items, detector, jobs)
    assert [row.source for row in rows] == [item.name for item in items]
    assert [len(row.detections) for row in rows] == list(range(20))
    assert (tally.images, tally.faces) == (20, 190)
    assert detector.most <= jobs
    assert detector.most > 1 or jobs == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_next_one_goes_on_after_a_failure(jobs):
    items = [Item("1"), Item("2", error=SourceError("2: gone")), Item("3"), Item("0")]
    rows, tally, said = ran(items, jobs=jobs)
    assert [row.source for row in rows] == ["1", "3", "0"]
    assert (tally.images, tally.faces, tally.failed) == (3, 4, 1)
    assert said == "vj-detect: 2: gone\n"
    assert tally.status() == 1


def test_an_input_of_many_frames():
    rows, tally, _ = ran([Item("2", n_frames=3)])
    assert [(row.frame, row.time) for row in rows] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert (rows[0].width, rows[0].height) == (6, 4)
    assert tally.faces == 6


def test_memory_that_does_not_suffice_is_the_failure_of_one_input():
    _, tally, said = ran([Item("1", error=MemoryError()), Item("1")])
    assert said == "vj-detect: 1: too large for the memory of this machine\n"
    assert tally.status() == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_output_that_fails_stops_the_run(jobs):
    def full(record):
        raise SinkError("full")

    with pytest.raises(SinkError, match="full"):
        ran([Item("1"), Item("2"), Item("3")], jobs=jobs, sinks=[full])


@pytest.mark.parametrize("jobs", [1, 2])
def test_interruption_keeps_what_is_done(jobs):
    def stop(record):
        if record.source == "2":
            raise KeyboardInterrupt

    rows, tally, _ = ran([Item(str(i)) for i in range(9)], jobs=jobs, sinks=[stop])
    assert [row.source for row in rows] == ["0", "1", "2"]
    assert tally.interrupted
    assert tally.status(fail_if_any=True) == 130


@pytest.mark.parametrize(
    ("items", "plain", "if_none", "if_any"),
    [
        ([Item("1"), Item("0")], 0, 0, 11),
        ([Item("0")], 0, 10, 0),
        ([], 0, 10, 0),
        ([Item("0"), Item("0", error=SourceError("x"))], 1, 1, 1),
        ([Item("1"), Item("0", error=SourceError("x"))], 1, 1, 11),
        ([Item("0", error=SourceError("x"))], 3, 3, 3),
    ],
)
def test_status(items, plain, if_none, if_any):
    _, tally, _ = ran(items)
    assert tally.status() == plain
    assert tally.status(fail_if_none=True) == if_none
    assert tally.status(fail_if_any=True) == if_any
