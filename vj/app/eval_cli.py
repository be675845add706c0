"""``vj-eval``: how good are these detectors on these annotated pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vj.app import tools
from vj.app.progress import Console
from vj.app.status import Status
from vj.detections import Detections
from vj.errors import CascadeError, ParameterError
from vj.io.files import replacing, writing

USAGE = "vj-eval DATASET --detector A [--detector B ...] [-o report.html] [options]"
EPILOG = """\
DATASET   COCO JSON, WIDER text, FDDB ellipses, annotations.json, VOC, YOLO, CVAT, LabelMe, CSV
A, B      names that vj-detect knows, model files, or yunet=FILE.onnx (cv2.FaceDetectorYN)

Every detector runs at its lowest threshold, so that curves and AP cover all scores; the threshold
at which vj-detect reports is marked on the curves.

examples:
  vj-eval photos --detector frontalface --detector haarcascade_frontalface_alt2 -o report.html
  vj-eval val.json --detector mine.xml --min-neighbors 0 --json figures.json
"""


def main() -> int:
    """Entry point of the command ``vj-eval``."""
    return tools.execute("vj-eval", parse, run)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    p = tools.ToolParser("vj-eval", USAGE, "Evaluate detectors.", EPILOG)
    add = p.add_argument
    add("dataset", metavar="DATASET")
    add("--detector", action="append", required=True, metavar="NAME", help="may be repeated")
    add("-o", "--output", metavar="FILE", help="report to write (.html)")
    add("--json", metavar="FILE", help="figures to write; - is standard output")
    add("--iou", type=float, default=0.5, metavar="F", help="overlap of a hit (default: 0.5)")
    add("--names", nargs="+", metavar="NAME", help="classes to find (default: all)")
    add("--source", nargs="+", metavar="NAME", help="collections of the set (default: all)")
    add(
        "--min-score",
        type=float,
        metavar="F",
        help="begin the curves at this score (default: the lowest the detector has)",
    )
    add(
        "--size",
        type=int,
        metavar="N",
        help="longer side of pictures beyond which networks "
        "shrink them (default: 1024; vj-detect: 640)",
    )
    add("--min-neighbors", type=int, metavar="N", help="for cascades")
    add("--scale-factor", type=float, metavar="F", help="for cascades")
    add("--min-size", type=tools.size, metavar="W[xH]", help="for cascades")
    return p.parse_args(list(argv))


def run(args: argparse.Namespace, console: Console) -> Status:
    """Do what the arguments say."""
    from vj.datasets.annotations import read_annotations
    from vj.evaluate.evaluation import evaluate
    from vj.evaluate.report import HEADER, POINT_HEADER, Report

    for target in (args.output, args.json):
        if target and target != "-":
            with writing(target):
                Path(target).parent.mkdir(parents=True, exist_ok=True)
    pictures = read_annotations(args.dataset, names=args.names)
    if args.source:
        known = sorted({p.source for p in pictures})
        if unknown := sorted(set(args.source) - set(known)):
            raise ParameterError(f"--source: no {unknown[0]!r}: the set has {', '.join(known)}")
        pictures = [p for p in pictures if p.source in args.source]
    done = []
    for spec, name in zip(args.detector, _names(args.detector), strict=True):
        detector = _open(spec, args)
        with console.bar(len(pictures), "pictures") as step:
            one = evaluate(
                detector,
                pictures,
                min_score=args.min_score,
                name=name,
                iou=args.iou,
                on_picture=step,
            )
        done.append(one)
    report = Report(f"Evaluation on {args.dataset}", tuple(done))
    problems = done[0].problems
    for problem in problems[:5]:
        console.say(f"left out: {problem}")
    if len(problems) > 5:
        console.say(f"left out: {len(problems) - 5} more")
    table = _table([HEADER, *report.rows()])
    if report.points():
        table += f"\n\nat the default threshold\n{_table([POINT_HEADER, *report.points()])}"
    if args.json == "-":
        console.say(table)
    else:
        console.write(f"{table}\n".encode())
    if args.output:
        report.save_html(args.output)
        console.say(f"report: {args.output}")
    if args.json:
        _write_json(report.to_dict(), args.json, console)
    return Status.DONE


def _names(specs: Sequence[str]) -> list[str]:
    """What the report calls detectors: of files the stem, unless that names two of them."""
    short = [Path(spec).stem if "/" in spec else spec for spec in specs]
    return [
        spec if short.count(name) > 1 else name for spec, name in zip(specs, short, strict=True)
    ]


def _open(spec: str, args: argparse.Namespace) -> Any:
    from vj.evaluate.evaluation import open_whole

    kind, _, path = spec.partition("=")
    if kind == "yunet" and path:
        return _YuNet(path)
    options = {
        name: getattr(args, name)
        for name in ("size", "min_neighbors", "scale_factor", "min_size")
        if getattr(args, name) is not None
    }
    return open_whole(spec, **options)


def _table(rows: Sequence[Sequence[Any]]) -> str:
    text = [[str(value) for value in row] for row in rows]
    widths = [max(len(row[k]) for row in text) for k in range(len(text[0]))]
    return "\n".join(
        "  ".join(value.rjust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in text
    )


def _write_json(data: dict[str, Any], target: str, console: Console) -> None:
    text = json.dumps(data, indent=1).encode()
    if target == "-":
        console.write(text + b"\n")
        return
    with replacing(target) as file:
        file.write(text)


class _YuNet:
    """``cv2.FaceDetectorYN`` with the manners of a detector."""

    threshold = 0.9  # the default of ``cv2.FaceDetectorYN.create``

    def __init__(self, path: str) -> None:
        try:
            import cv2
        except ImportError as exc:
            raise CascadeError(f"yunet={path}: needs cv2: pip install opencv-python") from exc
        if not hasattr(cv2, "FaceDetectorYN"):
            raise CascadeError(f"yunet={path}: cv2 {cv2.__version__} has no FaceDetectorYN")
        if not Path(path).is_file():
            raise CascadeError(f"yunet={path}: no such file")
        try:
            self._net = cv2.FaceDetectorYN.create(path, "", (320, 320), 0.02, 0.3, 5000)
        except cv2.error as exc:
            why = " ".join(str(exc.err).split())[:200]
            raise CascadeError(f"yunet={path}: cv2 cannot read it: {why}") from exc

    def detect(self, image: Any) -> Detections:
        """Detections of one image."""
        from vj.io.images import as_rgb

        rgb = as_rgb(image)
        self._net.setInputSize((rgb.shape[1], rgb.shape[0]))
        _, rows = self._net.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
        if rows is None:
            return Detections.empty()
        rows = np.asarray(rows, np.float32)
        xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Detections(
            xyxy, rows[:, 14].copy(), landmarks=rows[:, 4:14].reshape(-1, 5, 2)
        ).sorted()
