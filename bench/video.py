"""Video from a clip to its boxes, against a plain loop of OpenCV.

The plain loop is ``cv2.VideoCapture`` and ``CascadeClassifier.detectMultiScale`` with the same
cascade and settings. The boxes must be equal.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

import vj
from bench.harness.timing import Call, Case
from vj.app.pipeline import Pipeline
from vj.app.progress import Console
from vj.app.sink import Task
from vj.app.video_pipeline import Film
from vj.io.video_source import Span, Video

SIZES, FRAMES = [(640, 360), (1920, 1080)], 60
CASCADE = "haarcascade_frontalface_default"
TABLES = {
    "Video": "A frame of a clip: decoded and scanned with haarcascade_frontalface_default at "
    "OpenCV's defaults. Plain is cv2.VideoCapture with cv2.CascadeClassifier; the boxes are "
    "equal.",
    "Video, with tracking and with output": "The same with two threads; detection on every third "
    "frame and tracking between; boxes drawn and the video written.",
}


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
    """Boxes ``x, y, w, h`` of each frame in ten lines of cv2."""
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


def ways(path: Path, out: Path) -> dict[str, dict[str, Call]]:
    """The calls of each table, once the boxes are known to be equal."""
    usual, film = partial(ours, path, FRAMES), partial(Film, 2)
    plainly, found = (sorted_boxes(f) for f in (plain(path, FRAMES), usual(film())))
    assert plainly == found, f"{path.stem}: other boxes than OpenCV's"
    two = {"vj, 2 threads": lambda: usual(film())}
    return {
        "Video": {
            "vj, 1 thread": lambda: usual(Film(1)), **two,
            "plain cv2": partial(plain, path, FRAMES),
        },
        "Video, with tracking and with output": {
            **two,
            "vj, 2 threads, every 3": lambda: usual(film(every=3)),
            "vj, 2 threads, video out": lambda: usual(film(), out),
        },
    }  # fmt: skip


def sorted_boxes(frames: list[np.ndarray]) -> list[list]:
    return [sorted(boxes.tolist()) for boxes in frames]


def cases(_) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        for width, height in SIZES:
            path = panned(Path(folder) / f"pan {width}x{height}.mp4", (width, height))
            for table, calls in ways(path, Path(folder) / "out.mp4").items():
                yield Case(table, TABLES[table], path.stem, calls, clock="process_time",
                           threads=2, per=FRAMES)  # fmt: skip
