"""Cascade detection against OpenCV 4 with the same files, on one and on two threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

import vj
from bench.harness.timing import Case, several
from bench.parity import opencv
from vj.compat import CascadeClassifier

CASCADES = {
    "default": "haarcascade_frontalface_default",
    "alt": "haarcascade_frontalface_alt",
    "alt2": "haarcascade_frontalface_alt2",
    "LBP": "lbpcascade_frontalface",
}
TWO_THREADS = ("astronaut, 0.3 Mpx", "astronaut, 1.2 Mpx", "retina, 2.0 Mpx")
ABOUT = {
    1: "Faces with OpenCV's defaults (scale factor 1.1, 3 neighbours), from a gray image.",
    2: "The same on two threads, wall time.",
}


@cache
def photographs() -> dict[str, np.ndarray]:
    """Gray photographs of 0.3 to 8 Mpx; the largest ones are enlarged."""
    face, retina = (vj.as_gray(vj.sample(name)) for name in ("astronaut", "retina"))
    return {
        "rocket, 0.3 Mpx": vj.as_gray(vj.sample("rocket")),
        "astronaut, 0.3 Mpx": face,
        "astronaut, 1.2 Mpx": cv2.resize(face, (1280, 960)),
        "retina, 2.0 Mpx": retina,
        "astronaut, 8.3 Mpx": cv2.resize(face, (3840, 2160), interpolation=cv2.INTER_CUBIC),
    }


def both(path: Path, image: np.ndarray, threads: int) -> Mapping[str, Callable[[], object]]:
    """One file in both engines, once they find the same faces."""
    ours, theirs = CascadeClassifier(path, n_jobs=threads), cv2.CascadeClassifier(str(path))
    found = [sorted(map(tuple, one.detectMultiScale(image))) for one in (ours, theirs)]
    assert np.array_equal(*found), f"{path.stem}: the engines find different faces"

    def detect() -> object:
        cv2.setNumThreads(threads)
        return theirs.detectMultiScale(image)

    return {"vj": partial(ours.detectMultiScale, image), "opencv": detect}


def cases(_) -> Iterator[Case]:
    if opencv() is None:
        raise SystemExit("this OpenCV has no CascadeClassifier: pip install 'opencv-python<5'")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{full}.xml" for name, full in CASCADES.items()}
        for name, path in paths.items():  # so that both read the same file
            vj.save_cascade(vj.load_cascade(CASCADES[name]), path)
        for threads, title in ((1, "one thread"), (2, "two threads")):
            for name, path in paths.items():
                for picture, image in photographs().items():
                    if threads == 1 or picture in TWO_THREADS:
                        yield Case(
                            f"Detection, {title}", ABOUT[threads], f"{name}: {picture}",
                            partial(both, path, image, threads), **several(threads),
                        )  # fmt: skip
