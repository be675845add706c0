"""Tables of times: Markdown, the summary, plots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness.timing import duration, ours, ratio

Table = Mapping[str, Any]
CLOCKS = {
    "thread_time": "",
    "process_time": "\nCPU time of all threads.",
    "perf_counter": "\nWall time.",
}


def competitors(table: Table) -> list[str]:
    """Ours first, then the peers, in the order of measurement."""
    seen = {name: None for row in table["cases"] for name in row["times"]}
    return sorted(seen, key=lambda name: not ours(name))


def ratios(table: Table) -> list[float]:
    """Best peer over our best in each case that has both, ascending."""
    return sorted(r for row in table["cases"] if (r := ratio(row["times"])) is not None)


def has_plot(table: Table) -> bool:
    rows = table["cases"]
    return sum("x" in row for row in rows) > 2 or any("share" in row for row in rows)


def plot_path(table: Table) -> str:
    words = "".join(c if c.isalnum() else " " for c in table["name"].lower()).split()
    return f"plots/{'-'.join(words)}.svg"


def anchor(title: str) -> str:
    """What a link to a section is called."""
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")


def section(table: Table) -> Iterator[str]:
    """Lines of Markdown."""
    names, rows = competitors(table), table["cases"]
    share = any("share" in row for row in rows)
    yield f"## {table['name']}\n"
    yield table["about"]
    if CLOCKS[table["clock"]]:
        yield CLOCKS[table["clock"]]
    if has_plot(table):
        yield f"\n![{table['name']}]({plot_path(table)})"
    yield ""
    last = ["vj against the best", *["of the peak"] * share]
    yield f"| | {' | '.join([*names, *last])} |"
    yield "|---" * (len(names) + 1 + len(last)) + "|"
    for row in rows:
        cells = [duration(row["times"][n]["min"]) if n in row["times"] else "" for n in names]
        best = ratio(row["times"])
        cells.append("" if best is None else f"**{best:.2f}**" if best >= 1 else f"{best:.2f}")
        if share:
            cells.append(f"{row['share']:.0%}" if "share" in row else "")
        yield f"| {row['case']} | {' | '.join(cells)} |"
    yield ""


def machines(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """On what, with which versions and at which commit each file of results was measured."""
    yield "## Machine\n"
    yield "| results | date | machine | Python | libraries | commit |"
    yield "|---|---|---|---|---|---|"
    for name, content in results.items():
        machine = content["machine"]
        libraries = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
        yield (
            f"| {name}.json | {content['date']} | {machine['cpu']}, {machine['system']} | "
            f"{machine['python']} | {libraries} | {', '.join(commits(content))} |"
        )
    yield ""


def commits(content: Mapping[str, Any]) -> list[str]:
    """The commits at which the rows of a file were measured; without rows, that of the file."""
    rows = [*content.get("detectors", {}).values(), *content.get("variants", {}).values()]
    found = [row["commit"] for row in rows if row.get("commit")] or [content.get("commit")]
    return list(dict.fromkeys(commit or "unknown" for commit in found))


def summary(tables: Iterable[Table]) -> Iterator[str]:
    yield "## Summary\n"
    yield "vj against the best peer, from the worst to the best row of each table.\n"
    yield "| table | worst | median | best |"
    yield "|---|---|---|---|"
    for table in tables:
        if found := ratios(table):
            cells = " | ".join(f"{r:.2f}" for r in (found[0], median(found), found[-1]))
            yield f"| [{table['name']}](#{anchor(table['name'])}) | {cells} |"
    yield ""


def digest(data: Any) -> str:
    """Written into a plot, so that a check can tell whether it shows these numbers."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def save_plot(draw: Any, size: tuple[float, float], data: Any, path: Path) -> None:
    """``draw(axes)`` as an SVG: the same numbers give the same small file."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, rcParams

    rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none"}
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    draw(axes)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Description": digest(data)})
    pyplot.close(figure)


def plot(table: Table, folder: Path) -> None:
    """A picture of a table: times over x, or how much longer the peers take."""
    xs = [row["x"] for row in table["cases"] if "x" in row]

    def draw(axes: Any) -> None:
        (curves if xs else dots)(table, axes)
        axes.set_title(table["name"])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize="small")

    height = 3.8 if xs else 1.2 + 0.22 * len(table["cases"])
    save_plot(draw, (7, height), table, folder / plot_path(table))


def curves(table: Table, axes: Any) -> None:
    """Time over x, both axes logarithmic: a power law is a straight line."""
    from matplotlib import ticker

    rows = sorted((row for row in table["cases"] if "x" in row), key=lambda row: row["x"])
    for name in competitors(table):
        points = [(row["x"], row["times"][name]["min"]) for row in rows if name in row["times"]]
        style = {"lw": 2.4, "marker": "o"} if ours(name) else {"lw": 1.2, "marker": "."}
        axes.plot(*zip(*points, strict=True), label=name, **style)
    axes.set(xscale="log", yscale="log")
    axes.set_xticks([row["x"] for row in rows], [f"{row['x']:g}" for row in rows])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda t, _: duration(t)))


def dots(table: Table, axes: Any) -> None:
    """How many times as long as ours the peers take, a line a case."""
    from matplotlib import ticker

    rows = table["cases"]
    for name in (name for name in competitors(table) if not ours(name)):
        points = [
            (row["times"][name]["min"] / min(t["min"] for n, t in row["times"].items() if ours(n)),
             -k)
            for k, row in enumerate(rows) if name in row["times"]
        ]  # fmt: skip
        axes.plot(*zip(*points, strict=True), "o", markersize=4, label=name)
    axes.axvline(1, color="black", label="vj")
    axes.set_yticks([-k for k in range(len(rows))], [r["case"] for r in rows], fontsize="small")
    axes.set(xscale="log", xlabel="times as long as ours")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda r, _: f"{r:g}"))
