"""`python -m bench`: the catalogue, how competitors are timed, what is recorded."""

import ast
import json
import time

import numpy as np
import pytest

import bench.__main__ as command
from bench.harness import records, timing
from vj.io.files import data_folder

QUICK = {  # a case of each timing that takes a moment
    "detection.opencv": "one thread: lbp: rocket",
    "detection.shipped": "frontalface-fast: rocket",
    "features.integral": "by its side: 2x2",
    "features.haar": "lbp",
    "features.correlation": "template matching: 8x8",
    "nets.whole": "plain",
    "nets.layers": "16-16 @10",
    "nets.training": "1 thread: lenet",
    "training.cascade": "responses: lbp",
    "training.frames": "background, 256",
    "start": "import numpy",
}


def timings():
    """The benchmarks whose module lists cases."""
    return [one for one in command.CATALOGUE if functions(one) & {"cases", "main"} == {"cases"}]


def functions(one):
    path = command.ROOT.joinpath(*one.module.split(".")).with_suffix(".py")
    return {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}


def test_the_catalogue_lists_every_benchmark_with_a_line(capsys):
    assert command.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for one in command.CATALOGUE:
        (line,) = (line for line in lines if line.startswith(f"{one.name} "))
        assert len(one.about) > 20, one.name
        assert one.about in line
        assert functions(one) & {"cases", "experiment", "main"}, one.name
    listed = {one.module for one in command.CATALOGUE}
    for path in (command.ROOT / "bench").rglob("*.py"):
        module = ".".join(path.relative_to(command.ROOT).with_suffix("").parts)
        runs = ("\ndef cases(_)", "\ndef cases(options)", "\ndef experiment(")
        if any(text in path.read_text() for text in runs):
            assert module in listed


def test_names_and_prefixes_choose():
    assert [one.name for one in command.chosen(["features"])] == [
        "features.integral", "features.haar", "features.correlation",
    ]  # fmt: skip
    assert [one.name for one in command.chosen(["start", "nets.whole"])] == ["nets.whole", "start"]
    with pytest.raises(SystemExit, match="no benchmark 'net': `python -m bench` lists them"):
        command.main(["net", "--quick"])


def test_competitors_take_turns_and_the_first_call_of_a_turn_does_not_count():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in ("vj", "peer")}
    samples = timing.race(calls, "perf_counter", seconds=0, least=2)
    assert order[:4] == ["vj", "vj", "peer", "peer"]  # compiles, then tells how long a call takes
    assert order[4:] == (["vj"] * 4 + ["peer"] * 4) * 2
    assert {name: len(s) for name, s in samples.items()} == {"vj": 6, "peer": 6}


def test_slow_calls_count_from_the_first():
    calls = {"vj": lambda: time.sleep(1.1 * timing.SLOW)}
    (samples,) = timing.race(calls, "perf_counter", seconds=0).values()
    assert len(samples) == 2
    assert min(samples) > timing.SLOW


def test_a_row_has_the_fastest_variant_and_the_share_of_the_peak(monkeypatch):
    seconds = {"vj/direct": 4.0, "vj/winograd": 2.0, "vj, all": 3.0, "peer": 6.0}
    monkeypatch.setattr(timing, "race", lambda *_: {n: [s + 1, s] for n, s in seconds.items()})
    monkeypatch.setattr(timing, "peak_rate", lambda: 10.0)
    case = timing.Case("T", "About.", "c", lambda: {}, x=3, flops=lambda: 15.0, threads=2, per=2)
    row = timing.measure(case)
    assert row["times"] == {
        "vj": {"min": 1.0, "median": 1.25, "calls": 2, "by": "winograd"},
        "vj, all": {"min": 1.5, "median": 1.75, "calls": 2},
        "peer": {"min": 3.0, "median": 3.25, "calls": 2},
    }
    assert (row["x"], row["share"]) == (3, 0.75)
    assert timing.ratio(row["times"]) == 3
    assert timing.ratio({"peer": {"min": 1.0}}) is None
    assert "3.00x" in timing.line(row)
    assert "75% of the peak" in timing.line(row)


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.50 s"), (0.0123, "12.3 ms"), (1e-6, "1.00 µs"), (2e-4, "200 µs")]
)
def test_durations(seconds, text):
    assert timing.duration(seconds) == text


@pytest.mark.parametrize("one", timings(), ids=lambda one: one.name)
def test_a_timing_runs_and_records(one, tmp_path, capsys):
    if one.name == "video":
        pytest.skip("makes two clips and searches them: tests/app has the pipeline")
    if one.name.startswith("nets."):
        pytest.importorskip("torch")
    if one.name == "training.frames" and not (data_folder() / "faces_train").is_dir():
        pytest.skip("VJ_DATA has no faces_train")
    output = tmp_path / "times.json"
    arguments = ["--quick", "--only", QUICK[one.name], "--output", str(output)]
    assert one.run(arguments) == 0
    kept = json.loads(output.read_text())
    assert set(kept) == {"date", "commit", "machine", "tables"}
    assert kept["machine"]["versions"]["numpy"] == np.__version__
    rows = [row for table in kept["tables"] for row in table["cases"]]
    assert rows
    for row in rows:
        assert all(t["min"] > 0 for t in row["times"].values())
    assert rows[0]["case"] in capsys.readouterr().out


def test_only_whole_benchmarks_are_recorded():
    one = next(one for one in command.CATALOGUE if one.name == "features.haar")
    with pytest.raises(SystemExit, match="drop --only and --quick"):
        one.run(["--write", "--quick"])


def test_rows_are_replaced_by_name_and_stamped(tmp_path, monkeypatch):
    path = tmp_path / "rows.json"
    stamps = iter(("a", "b+"))
    monkeypatch.setattr(records, "commit", lambda: commit)
    commit = next(stamps)
    records.merge(path, "detectors", {"x": {"ap": 1}, "y": {"ap": 2}}, dict, set="s")
    commit = next(stamps)
    records.merge(path, "detectors", {"y": {"ap": 3}}, dict, set="s")
    kept = records.read(path)
    found = {name: (row["ap"], row["commit"]) for name, row in kept["detectors"].items()}
    assert found == {"x": (1, "a"), "y": (3, "b+")}
    assert kept["set"] == "s"
    assert records.read(tmp_path / "none.json") == {}


def test_outside_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "bench" / "results")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert records.commit() is None
