"""How competitors are timed: in turns in one process, the minimum and the median of many calls.

Every call runs once before the clock starts, so that nothing compiles while it is timed. Then the
competitors take turns: one call that is not counted, because the caches and the thread pools still
belong to the previous competitor, then a few that are. Slow calls (over `SLOW` seconds) are
counted from the first. The clock is the CPU time of the thread, which other programs disturb
least, unless a case says that it needs several threads or processes.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.harness import records
from vj.kernels.jit import kernel
from vj.kernels.simd import fma, lane_sum, load16

Call = Callable[[], object]
SLOW, TURN = 0.05, 3


@dataclass(frozen=True)
class Case:
    """One row of a table: the same work by several competitors.

    Attributes
    ----------
    table, about : str
        Title of the table and the sentences under it.
    name : str
    calls : dict, or function that makes it
        One call by competitor; ours begin with "vj". Of "vj/a", "vj/b" the fastest counts as "vj".
    clock : str
        Function of `time`: thread_time, process_time (several threads) or perf_counter (wall).
    x : float, optional
        Plotted over this.
    flops : function, optional
        Gives the work of a call, to print the share of the processor's peak.
    threads : int
    seconds : float
        For all competitors together.
    per : int
        Units of work in a call (frames): times are for one.
    """

    table: str
    about: str
    name: str
    calls: Mapping[str, Call] | Callable[[], Mapping[str, Call]]
    clock: str = "thread_time"
    x: float | None = None
    flops: Callable[[], float] | None = None
    threads: int = 1
    seconds: float = 1.0
    per: int = 1


def several(threads: int) -> dict[str, Any]:
    """Clock and thread count of a `Case`: CPU time on one thread, wall time on more."""
    return {"threads": threads, "clock": "thread_time" if threads == 1 else "perf_counter"}


def race(calls: Mapping[str, Call], clock: str, seconds: float, least: int = 5) -> dict[str, list]:
    """Seconds of each counted call by competitor, at least ``least`` turns of short calls."""
    timer: Callable[[], float] = getattr(time, clock)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    first = {}
    for name, call in calls.items():
        call()
        first[name] = _seconds(call, time.perf_counter)
    end, turns = time.perf_counter() + seconds, 0
    gc.disable()
    try:
        while turns < (min(2, least) if max(first.values()) > SLOW else least) or (
            time.perf_counter() < end
        ):
            for name, call in calls.items():
                if first[name] < SLOW:
                    call()
                for _ in range(TURN if first[name] < SLOW else 1):
                    samples[name].append(_seconds(call, timer))
            turns += 1
    finally:
        gc.enable()
    return samples


def _seconds(call: Call, timer: Callable[[], float]) -> float:
    start = timer()
    call()
    return timer() - start


def measure(case: Case, quick: bool = False) -> dict[str, Any]:
    """The case as a row of a result file."""
    calls = case.calls() if callable(case.calls) else case.calls
    samples = race(calls, case.clock, 0 if quick else case.seconds, 1 if quick else 5)
    times = {
        name: {"min": _rounded(min(s) / case.per), "median": _rounded(median(s) / case.per),
               "calls": len(s)}
        for name, s in samples.items()
    }  # fmt: skip
    variants = {name: times.pop(name) for name in list(times) if name.startswith("vj/")}
    if variants:
        best = min(variants, key=lambda name: variants[name]["min"])
        times = {"vj": variants[best] | {"by": best.removeprefix("vj/")}} | times
    row: dict[str, Any] = {"case": case.name}
    if case.x is not None:
        row["x"] = case.x
    if case.flops is not None:
        best_time = min(t["min"] for name, t in times.items() if ours(name))
        row["share"] = _rounded(case.flops() / best_time / (case.threads * peak_rate()))
    return row | {"times": times}


def ours(competitor: str) -> bool:
    return competitor.startswith("vj")


def ratio(times: Mapping[str, Mapping[str, float]]) -> float | None:
    """Best peer over our best; None where there is only one side."""
    mine = [t["min"] for name, t in times.items() if ours(name)]
    theirs = [t["min"] for name, t in times.items() if not ours(name)]
    return min(theirs) / min(mine) if mine and theirs else None


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            value = seconds / size
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


@cache
def peak_rate() -> float:
    """Floating-point operations a second of one core, measured on fused multiply-adds."""
    z = np.random.default_rng(0).uniform(-0.9, 0.9, 64).astype(np.float32)
    samples = race({"peak": lambda: fma_chains(300_000, z)}, "thread_time", 0.5)
    return 300_000 * 256 / min(samples["peak"])


@kernel("float32(int64, Array(float32, 1, 'C', readonly=True))")
def fma_chains(rounds, z):
    """Eight chains of multiply-adds in registers: 256 flops a round with vectors of sixteen."""
    a = load16(z, 0)
    c, d, e, f = load16(z, 16), load16(z, 17), load16(z, 18), load16(z, 19)
    g, h, i, j = load16(z, 20), load16(z, 21), load16(z, 22), load16(z, 23)
    for _ in range(rounds):
        c, d, e, f = fma(a, c, a), fma(a, d, a), fma(a, e, a), fma(a, f, a)
        g, h, i, j = fma(a, g, a), fma(a, h, a), fma(a, i, a), fma(a, j, a)
    return lane_sum(((c + d) + (e + f)) + ((g + h) + (i + j)))


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """Options of every timing."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}", description=about)
    add = parser.add_argument
    add("--only", default="", metavar="PART", help="cases with this in `table: case`")
    add("--threads", type=int, nargs="+", metavar="N", help="for networks and training steps")
    add("--quick", action="store_true", help="one turn each, to see that everything runs")
    add("--write", action="store_true", help="record the times in bench/results")
    add("--output", type=Path, help="record them in this file instead")
    return parser


def main(name: str, module: Any, argv: list[str]) -> int:
    """Time the ``module.cases(options)`` and print a line for each."""
    options = parser(name, module.__doc__).parse_args(argv)
    if options.write and (options.only or options.quick):
        raise SystemExit("--write records whole benchmarks: drop --only and --quick")
    tables: dict[str, dict[str, Any]] = {}
    for case in selected(module.cases(options), options.only):
        if case.table not in tables:
            print(f"\n{case.table} ({case.clock}, load {os.getloadavg()[0]:.1f})")
        about = {"name": case.table, "about": case.about, "clock": case.clock,
                 "threads": case.threads, "cases": []}  # fmt: skip
        table = tables.setdefault(case.table, about)
        row = measure(case, options.quick)
        table["cases"].append(row)
        print(line(row), flush=True)
    output = records.RESULTS / f"{name}.json" if options.write else options.output
    if output:
        records.save(output, tables=list(tables.values()))
    return 0


def selected(cases: Iterator[Case], only: str) -> Iterator[Case]:
    return (case for case in cases if only.lower() in f"{case.table}: {case.name}".lower())


def line(row: Mapping[str, Any]) -> str:
    """One case: every competitor, our advantage over the best peer, the share of the peak."""
    parts = [f"{name} {duration(t['min'])}" for name, t in row["times"].items()]
    best = ratio(row["times"])
    if best is not None:
        parts.append(f"{best:.2f}x")
    if "share" in row:
        parts.append(f"{row['share']:.0%} of the peak")
    return f"  {row['case']:28s} " + "  ".join(parts)
