"""A short run of `tests.fuzz` over all readers; `python -m tests.fuzz` makes long ones."""

import os
import time
from collections import Counter

import pytest

from tests.fuzz import run, targets
from tests.fuzz.seeds import Seed
from tests.fuzz.worker import GREEDY, Worker
from vj.errors import SourceError

COUNT = Counter({"video": 12, "cascade": 60, "pictures": 60, "onnx": 40})


@pytest.mark.parametrize("reader", targets.TARGETS)
def test_damaged_files_are_refused_in_one_line(reader, tmp_path):
    if reader == "onnx":
        pytest.importorskip("onnx")
    run.sound(reader, tmp_path / "case")
    tally = run.fuzz(reader, COUNT[reader] or 120, 1, tmp_path / "case")
    assert not tally.findings, tally.findings[0].text
    assert tally.refused[reader], "no input was damaged enough"


def test_the_same_seed_makes_the_same_inputs():
    for reader in ("saved", "annotations", "vec"):
        first, second = (
            [run.case(reader, seed, index)[1] for index in range(100, 130)] for seed in (1, 1)
        )
        assert first == second
        assert first != [run.case(reader, 2, index)[1] for index in range(100, 130)]


def read_well(path):
    assert path.read_bytes() == b"data"


def refuse(path):
    raise SourceError(f"{path}: no")


def ramble(path):
    raise SourceError(f"{path}:\nno")


def stumble(path):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("target", "place"),
    [(read_well, None), (refuse, None), (ramble, "more than one line"), (stumble, "KeyError")],
)
def test_what_counts_as_a_finding(target, place, tmp_path):
    path = run.write(tmp_path / "case", Seed("a", "bytes", b""), b"data")
    got = run.outcome(target, "any", 0, path)
    if place is None:
        assert got == ("read" if target is read_well else "refused")
    else:
        assert place in got.place


def hang(path):
    time.sleep(60)


def crash(path):
    os.abort()


def hog(path):
    assert b"\1" * (80 << 20)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux")  # noqa: PTH110
def test_a_crash_a_hang_and_a_hog_are_findings_and_the_next_input_is_read(tmp_path):
    worker = Worker([], tmp_path / "case", seconds=2, most=50 << 20)
    seed = Seed("a", "bytes", b"")
    try:
        for target, what in (
            (crash, "ends the process with -6"),
            (hog, GREEDY),
            (hang, "more than 2 s"),
        ):
            worker.start()
            assert what in worker.outcome("any", 0, seed, b"data", target).place
        worker.start()
        assert worker.outcome("any", 0, seed, b"data", read_well) == "read"
    finally:
        worker.stop()
