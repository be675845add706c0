"""What every timing shares: CPU time of one thread, everything compiled before the clock starts.

A timing is a test with a parameter ``lib``, that hands one function to the fixture `race`:

    @pytest.mark.parametrize("lib", RUN)
    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_integral_image(race, lib, size):
        \"\"\"One sentence that stands under the title of the table.\"\"\"
        image = picture(*size)
        race(lambda: RUN[lib](image), table="Integral image", case=f"{size[1]}x{size[0]}", lib=lib)

The report makes one table of each ``table``: a row a ``case``, a column a ``lib``. Libraries whose
name begins with "vj" are ours, the others are peers; ``lib`` is the parameter on top, so that
competitors run one right after the other. With a number ``x`` the table is plotted over x. Work in
several threads is timed on the wall:
``@pytest.mark.benchmark(timer=time.perf_counter)``.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os

import pytest

DEFAULTS = {
    "benchmark_timer": "time.thread_time",
    "benchmark_min_rounds": 5,
    "benchmark_max_time": "0.5",
    "benchmark_disable_gc": True,
}
PACKAGES = ("numpy", "numba", "scipy", "scikit-image", "opencv-python")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    for name, value in DEFAULTS.items():
        setattr(config.option, name, value)


def pytest_benchmark_update_machine_info(config, machine_info):
    """Keep what makes timings comparable, and nothing that names this machine."""
    cpu = machine_info["cpu"]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    kept = {
        "cpu": f"{cpu.get('brand_raw', machine_info['machine'])}, {os.cpu_count()} cores",
        "system": f"{machine_info['system']} {machine_info['machine']}",
        "python": machine_info["python_version"],
        "versions": versions,
    }
    machine_info.clear()
    machine_info.update(kept)


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["commit_info"] = {"id": output_json["commit_info"].get("id", "")[:10]}
    for entry in output_json["benchmarks"]:
        entry["stats"] = {
            key: entry["stats"][key] for key in ("min", "median", "q1", "q3", "rounds")
        }
        entry["timer"] = entry["options"]["timer"]
        for key in ("options", "params", "param", "fullname"):
            entry.pop(key, None)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import cv2

    cv2.setNumThreads(1)


@pytest.fixture
def race(benchmark, request):
    """Time a function as the entry of ``lib`` in the row ``case`` of a table."""

    def run(function, *, table, case, lib, x=None):
        about = inspect.cleandoc(request.function.__doc__ or "")
        benchmark.group = table
        benchmark.extra_info.update(case=case, lib=lib, about=about)
        if x is not None:
            benchmark.extra_info["x"] = x
        function()  # compiles, and allocates what is kept between calls
        return benchmark(function)

    return run
