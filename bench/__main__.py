"""List the benchmarks and run them.

python -m bench                         what there is
python -m bench NAME ... [options]      run these; a prefix (nets) runs all below it (nets.whole)
python -m bench NAME --help             the options of one
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Benchmark(NamedTuple):
    """``module.main(argv)`` runs it; the first line of the module says what it measures."""

    name: str
    module: str
    minutes: float
    needs: str = ""

    @property
    def about(self) -> str:
        path = ROOT.joinpath(*self.module.split(".")).with_suffix(".py")
        return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]


CATALOGUE = [
    Benchmark("detectors", "bench.detection.detectors", 40, "VJ_DATA, onnxruntime"),
    Benchmark("parity", "bench.parity", 25, "opencv-python<5"),
]


def listing() -> Iterator[str]:
    for one in CATALOGUE:
        needs = f"; needs {one.needs}" if one.needs else ""
        yield f"{one.name:22s} {one.about} ({one.minutes:g} min{needs})"


def chosen(names: list[str]) -> list[Benchmark]:
    """The benchmarks of these names or prefixes, in the order of the catalogue."""
    for name in names:
        if not any(covers(name, one) for one in CATALOGUE):
            raise SystemExit(f"no benchmark {name!r}: `python -m bench` lists them")
    return [one for one in CATALOGUE if any(covers(name, one) for name in names)]


def covers(name: str, one: Benchmark) -> bool:
    return one.name == name or one.name.startswith(f"{name}.")


def main(argv: list[str]) -> int:
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
    if not names:
        print((__doc__ or "").strip(), *listing(), sep="\n")
        return 0
    todo = chosen(names)
    for one in todo:
        if len(todo) > 1:
            print(f"\n{one.name}")
        status = import_module(one.module).main(argv[len(names) :])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
