"""Write bench/README.md and its plots from the timings in bench/results/*.json.

pytest bench/test_integral.py --benchmark-json=bench/results/integral.json
python -m bench.report
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench import detector_table

HERE = Path(__file__).parent

HEAD = """\
# Timings

Written by `python -m bench.report` from `bench/results/*.json`; do not edit. Slower than a peer is
printed as plainly as faster.

## Method

- `pytest bench/test_X.py --benchmark-json=bench/results/X.json`, one file of results a test file.
- Every library gets the same array, does its work through its public functions, and returns a new
  array, in the same process. OpenCV runs on one thread (`cv2.setNumThreads(1)`) as ours does.
- Each function is called once before the clock starts: nothing compiles while it runs.
- The clock is the CPU time of the thread, so that other programs do not count, unless a table says
  that it is wall time. A time is the least of several rounds, the one that was disturbed least; the
  JSON has medians and quartiles beside it.
- "vj against the best" is the best peer's time divided by our best time: 2.00 is twice as fast,
  0.50 half as fast.
"""


@dataclass
class Table:
    """All timings of one name: ``times[case][lib]`` in seconds, in the order of measurement.

    ``share`` is what part of the processor's multiply-adds our time amounts to, where that is said.
    """

    name: str
    about: str
    timer: str
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    x: dict[str, float] = field(default_factory=dict)
    share: dict[str, float] = field(default_factory=dict)

    @property
    def libs(self) -> list[str]:
        seen = {lib: None for row in self.times.values() for lib in row}
        return sorted(seen, key=lambda lib: not ours(lib))

    def ratio(self, case: str) -> float | None:
        """Best peer over our best; None where there is only one side."""
        mine = [t for lib, t in self.times[case].items() if ours(lib)]
        theirs = [t for lib, t in self.times[case].items() if not ours(lib)]
        return min(theirs) / min(mine) if mine and theirs else None


def ours(lib: str) -> bool:
    return lib.startswith("vj")


def read(paths: Iterable[Path]) -> tuple[list[Table], list[dict[str, Any]]]:
    """Tables in the order of the files, and what is said about each run."""
    tables: dict[str, Table] = {}
    runs = []
    for path in paths:
        content = json.loads(path.read_text(encoding="utf-8"))
        date = content.get("date") or content["datetime"][:10]
        machine = content.get("machine") or content["machine_info"]
        runs.append({"file": path.name, "date": date, **machine})
        for entry in content.get("benchmarks", ()):
            info, name = entry["extra_info"], entry["group"]
            table = tables.setdefault(name, Table(name, info["about"], entry["timer"]))
            table.times.setdefault(info["case"], {})[info["lib"]] = entry["stats"]["min"]
            for key, column in (("x", table.x), ("share", table.share)):
                if key in info:
                    column[info["case"]] = info[key]
    return list(tables.values()), runs


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            value = seconds / size
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f} {unit}"
    raise AssertionError


def markdown(table: Table, picture: str | None) -> Iterator[str]:
    yield f"## {table.name}\n"
    yield table.about.replace("\n", " ")
    if table.timer != "thread_time":
        yield {"process_time": "\nCPU time of all threads."}.get(table.timer, "\nWall time.")
    if picture:
        yield f"\n![{table.name}]({picture})"
    yield ""
    last = ["vj against the best", *(["of the peak"] if table.share else [])]
    yield "| | " + " | ".join([*table.libs, *last]) + " |"
    yield "|---" * (len(table.libs) + 1 + len(last)) + "|"
    for case, row in table.times.items():
        times = [duration(row[lib]) if lib in row else "" for lib in table.libs]
        ratio = table.ratio(case)
        verdict = "" if ratio is None else f"**{ratio:.2f}**" if ratio >= 1 else f"{ratio:.2f}"
        share = [f"{table.share[case]:.0%}" if case in table.share else ""] if table.share else []
        yield f"| {case} | " + " | ".join([*times, verdict, *share]) + " |"
    yield ""


def machines(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Machine\n"
    yield "| results | date | machine | Python | libraries |"
    yield "|---|---|---|---|---|"
    for run in runs:
        libraries = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        yield (
            f"| {run['file']} | {run['date']} | {run['cpu']}, {run['system']} | {run['python']} | "
            f"{libraries} |"
        )
    yield ""


def summary(tables: list[Table]) -> Iterator[str]:
    yield "## Summary\n"
    yield "vj against the best peer, from the worst to the best row of each table.\n"
    yield "| table | worst | median | best |"
    yield "|---|---|---|---|"
    for table in tables:
        ratios = sorted(r for r in map(table.ratio, table.times) if r is not None)
        if ratios:
            picked = ratios[0], median(ratios), ratios[-1]
            link = "".join(c for c in table.name.lower() if c.isalnum() or c in " -")
            cells = " | ".join(f"{r:.2f}" for r in picked)
            yield f"| [{table.name}](#{link.replace(' ', '-')}) | {cells} |"
    yield ""


def plot(table: Table, path: Path) -> None:
    """A picture of a table."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, rcParams

    rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none"}  # same numbers, same small file
    high = 3.8 if table.x else 1.2 + 0.22 * len(table.times)
    figure, axes = pyplot.subplots(figsize=(7, high), layout="constrained")
    (curves if table.x else ratios)(table, axes)
    axes.set_title(table.name)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def curves(table: Table, axes: Any) -> None:
    """Time over x, both axes logarithmic: a power law is a straight line."""
    from matplotlib import ticker

    for lib in table.libs:
        points = [(table.x[case], row[lib]) for case, row in table.times.items() if lib in row]
        style = (
            {"linewidth": 2.4, "marker": "o"} if ours(lib) else {"linewidth": 1.2, "marker": "."}
        )
        axes.plot(*zip(*sorted(points), strict=True), label=lib, **style)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(sorted(table.x.values()), [f"{x:g}" for x in sorted(table.x.values())])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda t, _: duration(t)))


def ratios(table: Table, axes: Any) -> None:
    """How many times as long as ours the others take, a line a case."""
    from matplotlib import ticker

    cases = list(table.times)
    for lib in (lib for lib in table.libs if not ours(lib)):
        points = [
            (row[lib] / min(t for name, t in row.items() if ours(name)), -cases.index(case))
            for case, row in table.times.items() if lib in row
        ]  # fmt: skip
        axes.plot(*zip(*points, strict=True), "o", markersize=4, label=lib)
    axes.axvline(1, color="black", label="vj")
    axes.set_yticks([-k for k in range(len(cases))], cases, fontsize="small")
    axes.set(xscale="log", xlabel="times as long as ours")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda r, _: f"{r:g}"))


def write(folder: Path, results: list[Path]) -> Path:
    """README.md and plots/ in ``folder``; returns the former."""
    tables, runs = read(results)
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    lines = [HEAD, *machines(runs), *summary(tables)]
    for path in results:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("detectors"):
            lines += detector_table.section(content, folder)
        if content.get("variants"):
            lines += detector_table.ablation(content)
    for table in tables:
        picture = None
        if len(table.x) > 2 or table.share:
            slug = "-".join("".join(c if c.isalnum() else " " for c in table.name.lower()).split())
            picture = f"plots/{slug}.svg"
            plot(table, folder / picture)
        lines += markdown(table, picture)
    readme = folder / "README.md"
    readme.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return readme


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, help="default: bench/results/*.json")
    parser.add_argument("--output", type=Path, default=HERE, help="folder; default: bench")
    options = parser.parse_args()
    results = options.results or sorted((HERE / "results").glob("*.json"))
    if not results:
        parser.error("no results: run pytest bench --benchmark-json=bench/results/all.json first")
    print(f"wrote {write(options.output, results)}")


if __name__ == "__main__":
    main()
