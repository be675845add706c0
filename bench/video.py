"""Frames a second from a clip to its boxes, against a plain loop of OpenCV.

    python -m bench.video [CLIP] [--frames N] [--rounds N] [--json bench/results/video.json]

The plain loop is ``cv2.VideoCapture`` and ``CascadeClassifier.detectMultiScale`` with the same
cascade and settings, on as many threads as OpenCV takes. Both are timed in one process, in turn,
after a first round outside the clock; what is printed are medians. The boxes must be equal. With
``--json`` the CPU time a frame is written for `bench.report`, which other programs do not disturb.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

import vj
from bench.harness.records import write
from vj.app.pipeline import Pipeline
from vj.app.progress import Console
from vj.app.sink import Task
from vj.app.video_pipeline import Film
from vj.io.video_source import Span, Video

SIZES = [(640, 360), (1920, 1080)]
CASCADE = "haarcascade_frontalface_default"


def panned(path: Path, size: tuple[int, int], n: int = 120) -> Path:
    """A clip that moves over a photograph."""
    photo = vj.sample("astronaut")
    width, height = size
    scale = 1.3 * max(width / photo.shape[1], height / photo.shape[0])
    big = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    room_x, room_y = big.shape[1] - width, big.shape[0] - height
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for i in range(n):
            share = 0.5 - 0.5 * np.cos(2 * np.pi * i / n)
            x, y = int(room_x * share), int(room_y * share / 2)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(big[y : y + height, x : x + width])
            )
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def plain(path: Path, frames: int) -> list[np.ndarray]:
    """Boxes ``x, y, w, h`` of each frame, as one writes it in ten lines."""
    classifier = cv2.CascadeClassifier(f"{cv2.data.haarcascades}{CASCADE}.xml")
    film, found = cv2.VideoCapture(str(path)), []
    while len(found) < frames:
        there, image = film.read()
        if not there:
            break
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        found.append(np.array(classifier.detectMultiScale(gray, 1.1, 3)).reshape(-1, 4))
    return found


def ours(path: Path, frames: int, film: Film, out: Path | None = None) -> list[np.ndarray]:
    """The same by the pipeline of ``vj-detect``."""
    console = Console(io.BytesIO(), io.BytesIO(), io.StringIO())
    detector = vj.CascadeDetector(CASCADE)
    pipeline = Pipeline(detector, CASCADE, vj.draw, console, film)
    task = Task(Video(path.name, path, path, Span(max_frames=frames)), out)
    return [r.detections.xywh for r in pipeline.outcome(task)]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> int:
    """Frames with other boxes."""
    return sum(sorted(x.tolist()) != sorted(y.tolist()) for x, y in zip(a, b, strict=True))


def compare(path: Path, frames: int, rounds: int) -> dict[str, object]:
    """Frames a second of each way, and in how many frames the boxes differ."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        ways = {
            "plain cv2": lambda: plain(path, frames),
            "vj, 1 thread": lambda: ours(path, frames, Film(1)),
            "vj, 2 threads": lambda: ours(path, frames, Film(2)),
            "vj, 2 threads, every 3": lambda: ours(path, frames, Film(2, every=3)),
            "vj, 2 threads, video out": lambda: ours(path, frames, Film(2), out),
        }
        found = {name: way() for name, way in ways.items()}
        wall: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                started, worked = time.perf_counter(), time.process_time()
                way()
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - worked)
    n = len(found["plain cv2"])
    return {
        "clip": path.stem,
        "frames": n,
        "frames_per_second": {k: round(n / statistics.median(s), 1) for k, s in wall.items()},
        "cpu_a_frame": {name: min(s) / n for name, s in cpu.items()},
        "frames_with_other_boxes": same(found["plain cv2"], found["vj, 2 threads"]),
    }


def entries(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What `compare` found as `bench.report` reads it."""
    tables = {
        "Video": "A frame of a clip: decoded and searched with haarcascade_frontalface_default at "
        "OpenCV's defaults. Plain is cv2.VideoCapture with cv2.CascadeClassifier; the boxes are "
        "equal.",
        "Video, less and more": "The same with two threads; each third frame searched and faces "
        "tracked between; and with boxes drawn and the video written.",
    }
    return [
        {
            "group": table,
            "timer": "process_time",
            "extra_info": {"case": found["clip"], "lib": name, "about": about},
            "stats": {"min": seconds},
        }
        for table, about in tables.items()
        for name, seconds in found["cpu_a_frame"].items()
        if name == "vj, 2 threads" or ("," in name.removeprefix("vj, ")) == ("," in table)
    ]


def main() -> None:
    """Print a line of JSON for every clip."""
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("clips", nargs="*", type=Path)
    args.add_argument("--frames", type=int, default=60)
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--json", help="file for bench.report")
    given, rows = args.parse_args(), []
    with tempfile.TemporaryDirectory() as folder:
        made = [panned(Path(folder) / f"pan {w}x{h}.mp4", (w, h)) for w, h in SIZES]
        for path in given.clips or made:
            found = compare(path, given.frames, given.rounds)
            rows += entries(found)
            print(json.dumps(found), flush=True)
    if given.json:
        write(given.json, rows)


if __name__ == "__main__":
    main()
