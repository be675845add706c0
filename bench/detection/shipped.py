"""The cascades of this package against haarcascade_frontalface_alt2 in our engine and OpenCV's."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import cv2

import vj
from bench.detection.opencv import CASCADES, photographs
from bench.harness.timing import Case

ABOUT = (
    "The cascades of this package at their defaults against haarcascade_frontalface_alt2, which "
    "runs in our engine and in OpenCV's; gray photographs, scale factor 1.1."
)


def cases(_) -> Iterator[Case]:
    cv2.setNumThreads(1)
    theirs = cv2.CascadeClassifier(f"{cv2.data.haarcascades}{CASCADES['alt2']}.xml")
    alt2 = vj.CascadeDetector(CASCADES["alt2"])
    for name in ("frontalface", "frontalface-fast"):
        for picture, image in photographs().items():
            calls = {
                "vj": partial(vj.CascadeDetector(name).detect, image),
                "alt2 in our engine": partial(alt2.detect, image),
                "opencv alt2": partial(theirs.detectMultiScale, image),
            }
            yield Case("Our cascades", ABOUT, f"{name}: {picture}", calls)
