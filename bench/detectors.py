"""Accuracy against time of every face detector at hand: ``python -m bench.detectors``.

All see the same pictures at their own size (or shrunk beforehand, with ``--side``) on one thread.
Time is CPU time of the thread for a whole call, from the RGB picture to boxes and scores: the least
of several after a first one that does not count (composed pictures are shown once). A hit needs IoU
0.5, every face can be hit once, regions marked as doubtful count neither way, as in the scoring
script beside the data.

Results are kept by name in bench/results/detectors.json; a run replaces those of the detectors that
it runs. ``python -m bench.report`` makes the table and the plot.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from bench import entrants as field
from bench.pictures_of_faces import composed, development
from bench.record import keep
from vj.evaluate import Curve, match

RESULTS = Path(__file__).parent / "results" / "detectors.json"
ALARMS = 50
ROUNDS, PATIENCE = 2, 0.08  # showings of a picture, and seconds after which there are no more


def show(detect, image, rounds: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Boxes, scores, and the least CPU time of a call after the first one."""
    boxes, score = detect(image)  # plans and buffers for this size are made here
    least, spent = float("inf"), 0.0
    for _ in range(rounds):
        start = time.thread_time()
        detect(image)
        seconds = time.thread_time() - start
        least, spent = min(least, seconds), spent + seconds
        if spent > PATIENCE:
            break
    return np.asarray(boxes, float).reshape(-1, 4), np.asarray(score, float).ravel(), least


class Tally:
    """What a detector did on a set."""

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
        """Faces, and the share found with a score of at least the threshold."""
        hits: dict[str, list[bool]] = {}
        for case, found, _, score, _ in self.rows:
            for kind, by in zip(case.kinds, found.found_by, strict=True):
                hits.setdefault(kind, []).append(bool(by >= 0 and score[by] >= threshold))
        return {kind: (len(h), float(np.mean(h))) for kind, h in sorted(hits.items())}

    @property
    def milliseconds(self) -> float:
        return float(np.mean([row[4] for row in self.rows]) * 1e3)


def judge(dev: Tally, made: Tally) -> dict:
    """Figures of one detector."""
    curve = dev.curve()
    threshold = curve.threshold_at(ALARMS)
    by_kind = dev.recall_by_kind(threshold) | made.recall_by_kind(threshold)
    sources = sorted({row[0].source for row in dev.rows})
    figures = {
        "ms": dev.milliseconds,
        "ap": curve.ap,
        "recall_at_50": curve.recall_at(ALARMS),
        "cmu_mit_B_strict_at_50": dev.curve("cmu_mit_B", strict=True).recall_at(ALARMS),
        "threshold_at_50": threshold if np.isfinite(threshold) else None,
        "ap_by_source": {name: dev.curve(name).ap for name in sources},
        "recall_by_kind": {k: [n, round(r, 4)] for k, (n, r) in by_kind.items()},
    }
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}


def race(runners: dict, cases, rounds: int, say) -> dict[str, Tally]:
    """Show every case to everybody in turn, and again for the time."""
    tallies = {name: Tally() for name in runners}
    for number, case in enumerate(cases):
        for name, detect in runners.items():
            tallies[name].add(case, *show(detect, case.image, rounds))
        if number % 20 == 19:
            say(f"  {number + 1} pictures, load {os.getloadavg()[0]:.1f}")
    return tallies


def best_first(rows: dict[str, dict]) -> dict[str, dict]:
    return dict(sorted(rows.items(), key=lambda item: -item[1]["ap"]))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.detectors", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("extra", nargs="*", help="names or files of more detectors (vj.detect)")
    parser.add_argument("--only", nargs="+", help="parts of the names of the detectors to run")
    parser.add_argument("--data", type=Path, default=field.DATA)
    parser.add_argument("--side", type=int, default=0, help="longest side of the pictures")
    parser.add_argument("--first", type=int, help="only so many pictures of boxes_dev")
    parser.add_argument("--no-composed", action="store_true", help="boxes_dev only")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    if not (args.data / "boxes_dev").is_dir():
        parser.error(f"{args.data} has no boxes_dev: name the folder of the data (VJ_DATA)")

    def say(text: str) -> None:
        print(text, flush=True)

    runners = {}
    for entrant in field.entrants(args.extra):
        if args.only and not any(part in entrant.name for part in args.only):
            continue
        try:
            runners[entrant.name] = entrant.make()
        except Exception as exc:  # a peer that is absent or cannot read its file
            say(f"left out: {entrant.name}: {str(exc).splitlines()[0][:100]}")
    for line in field.missing():
        say(f"left out: {line}")
    size = f"longer side at most {args.side} px" if args.side else "own size, at most 1024 px"
    policy = f"Pictures: {size}. {field.POLICY}."
    say(policy)
    cases = list(development(args.data / "boxes_dev", args.side))[: args.first]
    dev = race(runners, cases, ROUNDS, say)
    made = {name: Tally() for name in runners}
    if not args.no_composed:
        made = race(runners, composed(args.data), 0, say)
    rows = {name: judge(dev[name], made[name]) for name in runners}
    for name, row in rows.items():
        say(f"{name:30s} AP {row['ap']:.3f}  R@{ALARMS} {row['recall_at_50']:.3f}  "
            f"cmu {row['cmu_mit_B_strict_at_50']:.3f}  {row['ms']:.2f} ms")  # fmt: skip
    faces = sum(len(case.boxes) for case in cases)
    keep(
        args.output, "detectors", rows, best_first,
        policy=policy, pictures=len(cases), faces=faces,
    )  # fmt: skip


if __name__ == "__main__":
    main()
