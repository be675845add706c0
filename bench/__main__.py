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

from bench.lecture import MINUTES

ROOT = Path(__file__).parents[1]


class Benchmark(NamedTuple):
    """The first line of the module's docstring says what it measures."""

    name: str
    module: str
    minutes: float
    needs: str = ""

    @property
    def about(self) -> str:
        path = ROOT.joinpath(*self.module.split(".")).with_suffix(".py")
        return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]

    def run(self, argv: list[str]) -> int:
        module = import_module(self.module)
        if hasattr(module, "main"):
            return module.main(argv)
        if hasattr(module, "experiment"):
            from bench.lecture import findings

            return findings.run(module, argv)
        from bench.harness import timing

        return timing.main(self.name, module, argv)


def below(package: str, *rows: tuple[str, float, str]) -> Iterator[Benchmark]:
    """Benchmarks with the names of their modules."""
    for name, minutes, needs in rows:
        yield Benchmark(f"{package}.{name}", f"bench.{package}.{name}", minutes, needs)


CATALOGUE = [
    Benchmark("detectors", "bench.detection.detectors", 40, "VJ_DATA, onnxruntime"),
    *below(
        "detection",
        ("wild", 5, "VJ_DATA"),
        ("opencv", 6, "opencv-python<5"),
        ("shipped", 2, "opencv-python<5"),
    ),
    *below("features", ("integral", 1, ""), ("haar", 1, ""), ("correlation", 4, "")),
    *below(
        "nets",
        ("whole", 3, "VJ_DATA, onnxruntime, torch"),
        ("layers", 4, "onnxruntime, torch"),
        ("training", 5, "torch"),
    ),
    *below("training", ("cascade", 3, ""), ("frames", 2, "VJ_DATA"), ("ablation", 240, "VJ_DATA")),
    Benchmark("video", "bench.video", 2, "opencv-python<5"),
    Benchmark("start", "bench.start", 1),
    Benchmark("install", "bench.install", 0.1),
    Benchmark("parity", "bench.parity", 25, "opencv-python<5"),
    *(
        Benchmark(f"lecture.{name}", f"bench.lecture.claims.{name}", minutes, "VJ_DATA")
        for name, minutes in MINUTES.items()
    ),
    Benchmark("report", "bench.report.pages", 0.2),
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
        if status := one.run(argv[len(names) :]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
