"""Integral images, squared and tilted ones, and sums of boxes, against OpenCV and others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
import skimage.transform

import vj
from bench.features import SIZES, label, noise
from bench.harness.timing import Case

SUM = {
    "vj": vj.integral_image,
    "opencv": partial(cv2.integral, sdepth=cv2.CV_32S),
    "scikit-image": skimage.transform.integral_image,
    "numpy": lambda g: g.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32),
}
SQUARES = {
    "vj": lambda g: (vj.integral_image(g), vj.squared_integral_image(g)),
    "opencv, float64": partial(cv2.integral2, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F),
    "opencv, int32": partial(cv2.integral2, sdepth=cv2.CV_32S, sqdepth=cv2.CV_32S),
}
TILTED = {
    "vj": lambda g: (*SQUARES["vj"](g), vj.tilted_integral_image(g)),
    "opencv, float64": partial(cv2.integral3, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F),
    "opencv, int32": partial(cv2.integral3, sdepth=cv2.CV_32S, sqdepth=cv2.CV_32S),
}
TABLES = [
    ("Integral image", "Sum of the pixels above and to the left of every corner, 32 bit.", SUM),
    (
        "Integral image and squared integral image",
        "Both images; ours holds the squares in 64-bit integers. OpenCV's 32-bit squares wrap.",
        SQUARES,
    ),
    (
        "Integral image, squared and tilted",
        "All three images, the last one tilted by 45 degrees.",
        TILTED,
    ),
]
BOX_SUMS = (
    "Ten thousand square boxes at random places of a 1024x1024 image: four reads a box against "
    "side * side reads."
)


def cases(_) -> Iterator[Case]:
    cv2.setNumThreads(1)
    for table, about, functions in TABLES:
        for size in SIZES:
            calls = {name: partial(f, noise(*size)) for name, f in functions.items()}
            yield Case(table, about, label(size), calls)
    gray = noise(1024, 1024)
    ii = vj.integral_image(gray)
    for side in (2, 4, 8, 16, 32, 64, 128, 256, 512):
        corners = np.random.default_rng(side).integers(0, 1024 - side + 1, (10_000, 2))
        boxes = np.concatenate([corners, np.full((10_000, 2), side)], axis=1)
        calls = {
            "vj, from the integral image": partial(vj.rect_sum, ii, boxes),
            "compiled loop over the pixels": partial(vj.rect_sum_naive, gray, boxes),
        }
        yield Case("Sum of a box, by its side", BOX_SUMS, f"{side}x{side}", calls, x=side)
