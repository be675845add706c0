"""What an experiment found, its result file and figure, and the page of all findings.

An experiment is a module of `claims` with a function ``experiment(quick=False) -> Finding``;
``quick`` is for tests: it runs for a moment, on invented data where need be, and its numbers mean
nothing.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import io
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from bench.harness import records
from bench.lecture import MINUTES, data
from bench.report.tables import anchor

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE / "README.md"
VERDICTS = ("yes", "in part", "no")
HEAD = """\
# The lecture notes, run

Written by `python -m bench report --write` from `bench/lecture/results/*.json`; do not edit. Each
experiment asks whether a claim of the lecture notes can be observed on the face data, with networks
of our own; where it cannot, it says so.

- `OPENBLAS_NUM_THREADS=1 python -m bench lecture.NAME` repeats an experiment and writes its figure
  and its result file. `VJ_DATA` names the folder of the data.
- People and source images of the test set are not in the training set (`bench/lecture/data.py`).
  Seeds are fixed; experiments use one thread unless they say otherwise; minutes are CPU time on an
  AMD EPYC that was shared with other work.
- Photographs of the data are blanked in the figures, as they are not ours to publish;
  `VJ_LECTURE_PHOTOGRAPHS=1` shows them in figures that you make yourself. Generated faces show
  nobody.
- These are small networks, trained for minutes. They show what holds at this size; they do not
  contradict what is known to need millions of pictures.
"""


@dataclass
class Finding:
    """What an experiment found.

    Attributes
    ----------
    claim : str
        The claim of the notes.
    method : str
        The experiment.
    measured : str
        The result in words and figures.
    holds : "yes", "in part" or "no"
        Whether the result agrees with the claim.
    numbers : dict
        All figures.
    figure : Figure or Image
    minutes : float, optional
        CPU time of it all; that of the process if not given.
    """

    claim: str
    method: str
    measured: str
    holds: str
    numbers: dict[str, Any]
    figure: Figure | Image.Image = field(repr=False)
    minutes: float | None = None

    def __post_init__(self) -> None:
        assert self.holds in VERDICTS, self.holds


def verdict(checks: Iterable[bool]) -> str:
    """Whether all, some or none of the checks of a claim hold."""
    found = list(checks)
    return "yes" if all(found) else "in part" if any(found) else "no"


def answers(checks: Mapping[str, bool]) -> str:
    """What was checked, and whether it is so."""
    return "; ".join(f"{what}: {'yes' if so else 'no'}" for what, so in checks.items())


def run(module: ModuleType, arguments: Sequence[str]) -> int:
    """Command line of an experiment: run it, write its figure and its result file."""
    name = module.__name__.rpartition(".")[2]
    parser = argparse.ArgumentParser(
        prog=f"python -m bench lecture.{name}", description=inspect.getdoc(module)
    )
    parser.add_argument("--quick", action="store_true", help="run for a moment, write nothing")
    if "folder" in inspect.signature(module.experiment).parameters:
        parser.add_argument("--folder", type=Path, help="keeps checkpoints, to resume from")
    chosen = vars(parser.parse_args(arguments))
    why = None if chosen["quick"] else data.missing()
    if why:
        raise SystemExit(f"skipped: {why}")
    began = time.process_time()
    finding = module.experiment(**chosen)
    if finding.minutes is None:
        finding.minutes = round((time.process_time() - began) / 60, 2)
    if not chosen["quick"]:
        write(name, finding)
    print(f"{name}: {finding.holds}: {finding.measured}")
    return 0


def write(name: str, finding: Finding, folder: Path = RESULTS) -> None:
    """The figure as a picture, the rest as JSON beside it."""
    folder.mkdir(exist_ok=True)
    figure = finding.figure
    if isinstance(figure, Image.Image):
        figure.save(folder / f"{name}.png", optimize=True)
    else:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=100, bbox_inches="tight")
        palette = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
        palette.save(folder / f"{name}.png", optimize=True)
    kept = {key: value for key, value in vars(finding).items() if key != "figure"}
    records.save(folder / f"{name}.json", name=name, **kept)


def findings() -> list[dict[str, Any]]:
    """All result files, in the order of the page."""
    return [found for name in MINUTES if (found := records.read(RESULTS / f"{name}.json"))]


def title(name: str) -> str:
    """First line of the docstring of an experiment."""
    text = (HERE / "claims" / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or name).splitlines()[0].rstrip(".")


def section(found: dict[str, Any]) -> str:
    """One finding."""
    name = found["name"]
    return (
        f"## {title(name)}\n\n**Claim.** {found['claim']}\n\n**Tried.** {found['method']}\n\n"
        f"**Found.** {found['measured']}\n\n**Holds: {found['holds']}.** [`{name}.py`](claims/"
        f"{name}.py), [numbers](results/{name}.json), {found['minutes']:.1f} minutes.\n\n"
        f"![{title(name)}](results/{name}.png)\n"
    )


def page() -> str:
    """bench/lecture/README.md."""
    found = findings()
    rows = ["| claim | holds | minutes |", "|---|---|---|"]
    for entry in found:
        name = title(entry["name"])
        rows.append(f"| [{name}](#{anchor(name)}) | {entry['holds']} | {entry['minutes']:.1f} |")
    parts = [HEAD, "\n".join(rows) + "\n", *map(section, found)]
    return "\n".join(parts).rstrip() + "\n"
