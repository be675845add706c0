"""Correlation with general and separable kernels, and template matching."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
import scipy.ndimage
import scipy.signal
import skimage.feature

import vj
from bench.features import SIZES, label, noise
from bench.harness.timing import Case

SIDES = [3, 5, 7, 9, 11, 15, 21, 31]
GENERAL = {
    "vj": vj.correlate,
    "opencv, to float32": lambda g, k: cv2.filter2D(g, cv2.CV_32F, k),
    "opencv, to uint8": lambda g, k: cv2.filter2D(g, -1, k),
    "scipy.ndimage": lambda g, k: scipy.ndimage.correlate(g, k, output=np.float32),
    "scipy.signal, FFT": lambda g, k: scipy.signal.fftconvolve(
        g.astype(np.float32), k[::-1, ::-1].astype(np.float32), "same"
    ),
}
SEPARABLE = {
    "vj": lambda g, line: vj.correlate(g, np.outer(line, line)),
    "opencv filter2D": lambda g, line: cv2.filter2D(g, cv2.CV_32F, np.outer(line, line)),
    "opencv, given the factors": lambda g, line: cv2.sepFilter2D(g, cv2.CV_32F, line, line),
    "scipy.ndimage, given the factors": lambda g, line: scipy.ndimage.correlate1d(
        scipy.ndimage.correlate1d(g, line, 0, output=np.float32), line, 1
    ),
}
KERNELS = {  # about, the kernel (or its factor) of a side, functions
    "general": (
        "Gray uint8 image, random kernel. Ours and scipy return float32, OpenCV float32 or uint8.",
        lambda side: np.random.default_rng(0).normal(size=(side, side)),
        GENERAL,
    ),
    "separable": (
        "Gray uint8 image, a kernel that is an outer product. Ours gets the whole kernel and "
        "detects that it is separable.",
        lambda side: np.random.default_rng(0).normal(size=side),
        SEPARABLE,
    ),
}
MATCH = {
    "vj": vj.match_template,
    "opencv": lambda g, t: cv2.matchTemplate(g, t, cv2.TM_CCOEFF_NORMED),
    "scikit-image": skimage.feature.match_template,
}


def cases(_) -> Iterator[Case]:
    cv2.setNumThreads(1)
    for kind, (about, kernel, functions) in KERNELS.items():
        for size in SIZES:
            table = f"Correlation with a {kind} kernel, {label(size)}"
            for side in SIDES:
                calls = {n: partial(f, noise(*size), kernel(side)) for n, f in functions.items()}
                yield Case(table, about, f"{side}x{side}", calls, x=side)
    gray = noise(480, 640)
    about = (
        "Normalised cross-correlation in a 640x480 image. Ours is exact; OpenCV sums in float32."
    )
    for side in (8, 16, 32, 64, 128):
        template = np.ascontiguousarray(gray[100 : 100 + side, 200 : 200 + side])
        calls = {name: partial(f, gray, template) for name, f in MATCH.items()}
        yield Case("Template matching", about, f"{side}x{side}", calls)
