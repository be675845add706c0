"""Write the documentation's figures from the results, or check that they are the same.

``--write`` writes bench/README.md, bench/lecture/README.md, the plots, the scores in the model
cards and the marked parts of README.md and nets/README.md; ``--check`` says which of them differ
from bench/results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.harness import records
from bench.lecture import findings
from bench.report import detectors, readme, tables

ROOT = Path(__file__).parents[2]
BENCH, DATA = ROOT / "bench", ROOT / "nets" / "data"
HEAD = """\
# Benchmarks

Written by `python -m bench report --write` from `bench/results/*.json`; do not edit. `python -m
bench` lists what can be run. Losses are printed as plainly as wins.

## Method

- `python -m bench NAME --write` measures and writes `bench/results/NAME.json`, with the machine,
  the versions and the commit; a commit that ends in `+` had uncommitted changes.
- All libraries get the same arrays, through their public functions, in one process. They run on one
  thread unless a table says otherwise.
- Every function is called before the clock starts, so that nothing compiles while it runs. Then the
  competitors take turns: one call that is not counted, because caches and thread pools still belong
  to the previous competitor, then three that are. (In the tables of features, cascades, cascade
  training and start-up, measured on 23 November 2026, each competitor made all its calls in a row.)
- The clock is the CPU time of the thread, which other programs disturb least, unless a table says
  wall time. A time is the minimum of all counted calls; the JSON has the median beside it.
- "vj against the best" is the best peer's time divided by our best time: 2.00 is twice as fast,
  0.50 half as fast.
"""
CARDS = {  # model card, row of detectors.json
    "face-cnn": "vj face-cnn",
    "face-fast": "vj face-fast",
    "face-tiny": "vj face-tiny",
    "yunet-n": "vj YuNet-n",
    "yunet-s": "vj YuNet-s",
    "scrfd-500m": "vj SCRFD-500M",
    "scrfd-2.5g": "vj SCRFD-2.5G",
    "ultralight-rfb": "vj Ultra-Light RFB",
    "ultralight-slim": "vj Ultra-Light slim",
}


def load() -> dict[str, dict[str, Any]]:
    """Every result file by name, the lecture's findings and the cards of the shipped networks."""
    results = {path.stem: records.read(path) for path in sorted(records.RESULTS.glob("*.json"))}
    lecture = {f"lecture.{entry['name']}": entry for entry in findings.findings()}
    return results | lecture | {"cards": dict(shipped_cards())}


def shipped_cards() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / "nets" / "data").glob("face-*.json")):
        yield (
            path.stem,
            records.read(path) | {"bytes": path.with_suffix(".safetensors").stat().st_size},
        )


def measured(results: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The result files among them."""
    return {
        name: content for name, content in results.items()
        if "machine" in content and not name.startswith("lecture.")
    }  # fmt: skip


def bench_page(results: dict[str, dict[str, Any]]) -> str:
    """bench/README.md."""
    files = measured(results)
    found = [table for content in files.values() for table in content.get("tables", ())]
    lines = [HEAD, *tables.machines(files), *tables.summary(found)]
    for content in files.values():
        if "variants" in content:
            lines += detectors.ablation(content)
        if "wild" in content:
            lines += detectors.wild(content)
        if "detectors" in content:
            lines += detectors.section(content)
    for table in found:
        lines += tables.section(table)
    return "\n".join(lines).rstrip() + "\n"


def plots(results: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Path below bench/, the numbers, and the function that draws them into a folder."""
    for content in measured(results).values():
        for table in content.get("tables", ()):
            if tables.has_plot(table):
                yield tables.plot_path(table), table, tables.plot
        if content.get("set") == "boxes_dev":
            yield detectors.PLOT, content, detectors.plot


def cards(results: dict[str, dict[str, Any]]) -> Iterator[tuple[Path, str]]:
    """Model cards with the scores of detectors.json."""
    rows = results["detectors"]["detectors"]
    for path in sorted(DATA.glob("*.json")):
        content = records.read(path)
        entries = content.items() if path.stem == "published" else [(path.stem, content)]
        for name, card in entries:
            row = rows[CARDS[name]]
            card["scores"] = {"AP": row["ap"], "recall at 50 false alarms": row["recall_at_50"]}
        yield path, json.dumps(content, indent=1) + "\n"
    for path in sorted((ROOT / "vj" / "data").glob("*.json")):
        card, row = records.read(path), rows[f"vj {path.stem}"]
        by_source = {f"ap_{name}": round(ap, 4) for name, ap in row["ap_by_source"].items()}
        card["scores"] = {key: row[key] for key in ("ap", "recall_at_50")} | by_source
        yield path, json.dumps(card, indent=1) + "\n"


def pages(results: dict[str, dict[str, Any]]) -> Iterator[tuple[Path, str]]:
    """Every file with figures, and what it should hold."""
    yield BENCH / "README.md", bench_page(results)
    yield findings.PAGE, findings.page()
    for path in (ROOT / "README.md", ROOT / "nets" / "README.md"):
        yield path, readme.filled(path.read_text(encoding="utf-8"), results)
    yield from cards(results)


def differences(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Files that are not what the results say, with the first line that differs."""
    for path, text in pages(results):
        now = path.read_text(encoding="utf-8")
        if now != text:
            pairs = zip(now.splitlines(), text.splitlines(), strict=False)
            number, is_, wanted = next(
                ((k, a, b) for k, (a, b) in enumerate(pairs, 1) if a != b), (0, "", "other length")
            )
            yield f"{path.relative_to(ROOT)}:{number}: has {is_!r}, the results say {wanted!r}"
    for name, numbers, _ in plots(results):
        path = BENCH / name
        if not path.is_file() or tables.digest(numbers) not in path.read_text(encoding="utf-8"):
            yield f"bench/{name}: drawn from other numbers"


def write(results: dict[str, dict[str, Any]]) -> None:
    for path, text in pages(results):
        path.write_text(text, encoding="utf-8")
    for _, numbers, draw in plots(results):
        draw(numbers, BENCH)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench report", description=(__doc__ or "").split("\n\n")[0]
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write all pages, plots and cards")
    what.add_argument("--check", action="store_true", help="exit with 1 if one differs")
    args = parser.parse_args(argv)
    results = load()
    if args.write:
        write(results)
        return 0
    found = list(differences(results))
    for line in found:
        print(line)
    if found:
        print("`python -m bench report --write` brings them up to date")
    return 1 if found else 0
