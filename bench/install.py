"""Size on disk of an installation without extras, by package."""

from __future__ import annotations

import argparse
import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from bench.harness import records


def sizes(package: str, found: dict[str, float] | None = None) -> dict[str, float]:
    """Megabytes of a package and everything that it requires."""
    found = {} if found is None else found
    name = re.sub(r"[-_.]+", "-", package).lower()
    try:
        dist = distribution(package)
    except PackageNotFoundError:
        return found
    if name not in found:
        files = (dist.locate_file(file) for file in dist.files or ())
        found[name] = round(sum(f.stat().st_size for f in files if f.is_file()) / 1e6, 1)
        for text in dist.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                sizes(needed.name, found)
    return found


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench install", description=__doc__)
    parser.add_argument("--write", action="store_true", help="record the sizes in bench/results")
    args = parser.parse_args(argv)
    found = dict(sorted(sizes("vj-detect").items(), key=lambda item: -item[1]))
    print(*(f"{size:8.1f} MB  {name}" for name, size in found.items()), sep="\n")
    print(f"{sum(found.values()):8.1f} MB")
    if args.write:
        records.save(records.RESULTS / "install.json", megabytes=found)
    return 0
