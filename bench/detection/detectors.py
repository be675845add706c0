"""Accuracy and CPU time of face detectors on annotated pictures.

All detectors see the same pictures on one thread. The time is the CPU time of a whole call, from
the RGB picture to boxes and scores: the minimum of several calls after a first one that is not
counted. A hit needs an IoU of 0.5, each face counts once, detections in regions to ignore count
neither way (`vj.evaluate.match`).

``--data`` takes a folder or box file in any format that `vj.evaluate.read_annotations` reads; the
default is boxes_dev in the data folder (VJ_DATA), with composed frames by size, roll and masks.
``--write`` replaces the rows of the detectors that ran in bench/results/detectors.json, or in
detectors.NAME.json for another set.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from bench.detection.competitors import DATA, POLICY, competitors, missing
from bench.detection.sets import annotated, composed
from bench.harness import records
from vj.evaluate import Curve, match

DEVELOPMENT = DATA / "boxes_dev"
STRICT_SOURCE = "cmu_mit_B"  # every face is labelled by hand: nothing computed is ignored there
FALSE_POSITIVES = 50
CALLS, PATIENCE = 2, 0.08  # timed calls a picture, and seconds after which there are no more


def show(detect, image, calls: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Boxes, scores, and the minimum CPU time of the calls after the first."""
    boxes, score = detect(image)  # plans and buffers for this size are made here
    least, spent = float("inf"), 0.0
    for _ in range(calls):
        start = time.thread_time()
        detect(image)
        seconds = time.thread_time() - start
        least, spent = min(least, seconds), spent + seconds
        if spent > PATIENCE:
            break
    return np.asarray(boxes, float).reshape(-1, 4), np.asarray(score, float).ravel(), least


class Tally:
    """What a detector found in a set."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []  # case, match, strict match, scores, seconds

    def add(self, case, boxes, score, seconds) -> None:
        usual = match(boxes, score, case.boxes, case.ignore)
        strict = match(boxes, score, case.boxes, case.strict)
        self.rows.append((case, usual, strict, score, seconds))

    def curve(self, source: str | None = None, strict: bool = False) -> Curve:
        rows = [row for row in self.rows if source in (None, row[0].source)]
        verdicts = [row[2 if strict else 1].verdict for row in rows]
        return Curve.of(verdicts, [row[3] for row in rows], sum(len(r[0].boxes) for r in rows))

    def recall_by_kind(self, threshold: float) -> dict[str, tuple[int, float]]:
        """Faces of each kind, and the share found with a score of at least ``threshold``."""
        hits: dict[str, list[bool]] = {}
        for case, found, _, score, _ in self.rows:
            for kind, by in zip(case.kinds, found.found_by, strict=True):
                hits.setdefault(kind, []).append(bool(by >= 0 and score[by] >= threshold))
        return {kind: (len(h), float(np.mean(h))) for kind, h in sorted(hits.items())}

    @property
    def sources(self) -> list[str]:
        return sorted({row[0].source for row in self.rows})

    @property
    def milliseconds(self) -> float | None:
        """Mean time of a picture; None if calls were not timed."""
        mean = float(np.mean([row[4] for row in self.rows]) * 1e3)
        return mean if np.isfinite(mean) else None


def summarise(found: Tally, made: Tally) -> dict:
    """Figures of one detector on the annotated and on the composed pictures."""
    curve = found.curve()
    threshold = curve.threshold_at(FALSE_POSITIVES)
    by_kind = found.recall_by_kind(threshold) | made.recall_by_kind(threshold)
    figures = {
        "ms": found.milliseconds,
        "ap": curve.ap,
        "recall_at_50": curve.recall_at(FALSE_POSITIVES),
        "threshold_at_50": threshold if np.isfinite(threshold) else None,
        "ap_by_source": {name: found.curve(name).ap for name in found.sources},
        "recall_by_kind": {k: [n, round(r, 4)] for k, (n, r) in by_kind.items()},
    }
    if STRICT_SOURCE in found.sources:
        strict = found.curve(STRICT_SOURCE, strict=True)
        figures["cmu_mit_B_strict_at_50"] = strict.recall_at(FALSE_POSITIVES)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}


def run(detectors: dict, cases, calls: int) -> dict[str, Tally]:
    """Show every case to one detector after the other, again for the time."""
    tallies = {name: Tally() for name in detectors}
    for number, case in enumerate(cases, 1):
        for name, detect in detectors.items():
            tallies[name].add(case, *show(detect, case.image, calls))
        if number % 20 == 0:
            print(f"  {number} pictures, load {os.getloadavg()[0]:.1f}", flush=True)
    return tallies


def opened(only: list[str] | None, also: list[str]) -> dict:
    """Detector functions by name; says what is left out, and why."""
    found = {}
    for one in competitors(also):
        if only and not any(part in one.name for part in only):
            continue
        try:
            found[one.name] = one.make()
        except Exception as exc:  # a peer that is absent or cannot read its file
            print(f"left out: {one.name}: {str(exc).splitlines()[0][:100]}")
    for line in missing():
        print(f"left out: {line}")
    return found


def best_first(rows: dict[str, dict]) -> dict[str, dict]:
    return dict(sorted(rows.items(), key=lambda item: -item[1]["ap"]))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench detectors", description=(__doc__ or "").split("\n\n")[0]
    )
    add = parser.add_argument
    add("--data", type=Path, default=DEVELOPMENT, help="annotated pictures (default: boxes_dev)")
    add("--only", nargs="+", metavar="PART", help="detectors with one of these in their names")
    add("--also", nargs="+", default=[], metavar="NAME", help="more names or files for vj.detect")
    add("--side", type=int, default=0, help="scale pictures down to this longer side")
    add("--first", type=int, metavar="N", help="only the first N pictures")
    add("--quick", action="store_true", help="5 pictures, no composed frames")
    add("--no-composed", action="store_true", help="no composed frames")
    add("--untimed", action="store_true", help="accuracy alone, on a busy machine")
    add("--write", action="store_true", help="record the rows in bench/results")
    add("--output", type=Path, help="record them in this file instead")
    args = parser.parse_args(argv)
    if not args.data.exists():
        parser.error(f"--data {args.data}: no such folder: name one, or set VJ_DATA")
    if args.write and (args.quick or args.first or args.side):
        parser.error("--write records whole sets at their own size: drop --quick, --first, --side")
    first, standard = 5 if args.quick else args.first, args.data == DEVELOPMENT
    calls = 0 if args.untimed else CALLS
    size = f"longer side at most {args.side} px" if args.side else "own size"
    policy = f"Pictures: {size}. {POLICY}."
    print(policy)
    detectors = opened(args.only, args.also)
    cases = list(annotated(args.data, args.side))[:first]
    found, made = run(detectors, cases, calls), {name: Tally() for name in detectors}
    if standard and not (args.no_composed or args.quick):
        made = run(detectors, composed(DATA), 0)
    rows = {name: summarise(found[name], made[name]) for name in detectors}
    for name, row in best_first(rows).items():
        spent = "" if row["ms"] is None else f"{row['ms']:.2f} ms"
        print(
            f"{name:30s} AP {row['ap']:.3f}  R@{FALSE_POSITIVES} {row['recall_at_50']:.3f}  {spent}"
        )
    output = args.output
    if args.write and not output:
        suffix = "" if standard else f".{args.data.resolve().stem}"
        output = records.RESULTS / f"detectors{suffix}.json"
    if output:
        faces = sum(len(case.boxes) for case in cases)
        records.merge(output, "detectors", rows, best_first, set=args.data.resolve().stem,
                      policy=policy, pictures=len(cases), faces=faces)  # fmt: skip
    return 0
