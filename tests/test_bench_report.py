import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def report():
    spec = importlib.util.spec_from_file_location("bench_report", ROOT / "bench" / "report.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_report"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def results(path, times, x=None):
    """A file of results: ``times`` by (table, case, lib)."""
    entries = [
        {
            "group": table,
            "extra_info": {"case": case, "lib": lib, "about": "What it is."}
            | ({"x": x[case]} if x else {}),
            "stats": {"min": seconds},
            "timer": "perf_counter" if table == "Threads" else "thread_time",
        }
        for (table, case, lib), seconds in times.items()
    ]
    machine = {"cpu": "a CPU", "system": "Linux", "python": "3.11", "versions": {"numpy": "2"}}
    path.write_text(
        json.dumps({"datetime": "2026-01-02", "machine_info": machine, "benchmarks": entries})
    )
    return path


def test_one_table_of_each_name_with_wins_and_losses(report, tmp_path):
    first = results(
        tmp_path / "a.json",
        {
            ("Sums", "small", "peer"): 3e-5,
            ("Sums", "small", "slow peer"): 9.0,
            ("Sums", "small", "vj"): 1e-5,
            ("Sums", "large", "peer"): 0.1,
            ("Sums", "large", "vj"): 0.25,
            ("Sums", "large", "vj, 2 threads"): 0.2,
        },
    )
    second = results(tmp_path / "b.json", {("Threads", "one", "vj"): 1.0})
    text = report.write(tmp_path, [first, second]).read_text()
    assert "| small | 10.0 µs |  | 30.0 µs | 9.00 s | **3.00** |" in text
    assert "| large | 250 ms | 200 ms | 100 ms |  | 0.50 |" in text
    assert "| [Sums](#sums) | 0.50 | 1.75 | 3.00 |" in text
    assert "| one | 1.00 s |  |" in text
    assert text.count("Wall time.") == 1
    assert "| a.json | 2026-01-02 | a CPU, Linux | 3.11 | numpy 2 |" in text
    assert not list((tmp_path / "plots").iterdir())


def test_shares_of_the_peak_are_a_column_and_a_picture_of_ratios(report, tmp_path):
    times = {("Nets", case, lib): 1e-3 for case in ("a", "b") for lib in ("vj", "peer")}
    path = results(tmp_path / "a.json", times)
    content = json.loads(path.read_text())
    for entry in content["benchmarks"]:
        entry["extra_info"]["share"] = 0.875
    path.write_text(json.dumps(content))
    text = report.write(tmp_path, [path]).read_text()
    assert "| b | 1.00 ms | 1.00 ms | **1.00** | 88% |" in text
    assert b"times as long as ours" in (tmp_path / "plots" / "nets.svg").read_bytes()


def test_numbers_are_plotted_and_the_same_ones_to_the_same_bytes(report, tmp_path):
    x = {"2x2": 2, "4x4": 4, "8x8": 8}
    times = {("Box sums", case, lib): s * 1e-6 for case, s in x.items() for lib in ("vj", "peer")}
    path = results(tmp_path / "a.json", times, x)
    assert "![Box sums](plots/box-sums.svg)" in report.write(tmp_path, [path]).read_text()
    picture = (tmp_path / "plots" / "box-sums.svg").read_bytes()
    assert b"Box sums" in picture
    report.write(tmp_path, [path])
    assert (tmp_path / "plots" / "box-sums.svg").read_bytes() == picture
