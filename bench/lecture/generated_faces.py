"""Generated faces, evaluated by a cascade and a measure that were not used in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

import vj


def share_of_faces(pictures: ArrayLike) -> float:
    """Share of pictures (n, 32, 32), from 0 to 1, in which our small cascade finds a face.

    1.00 for real crops of the test set, 0.01 for windows of backgrounds. The cascade compares light
    and dark areas: it is insensitive to noise, and to how realistic the faces look.
    """
    cascade = vj.CascadeDetector(
        "frontalface-fast", scale_factor=1.05, min_neighbors=1, min_size=(38, 38)
    )
    pixels = np.round(np.clip(np.asarray(pictures), 0, 1) * 255).astype(np.uint8)
    framed = np.pad(pixels, ((0, 0), (4, 4), (4, 4)), mode="edge")
    large = [Image.fromarray(p).resize((80, 80), Image.Resampling.BILINEAR) for p in framed]
    return float(np.mean([len(cascade.detect(np.asarray(p))) > 0 for p in large]))


def detail_of(pictures: ArrayLike) -> float:
    """Mean change from one pixel to its right neighbour."""
    return float(np.abs(np.diff(np.asarray(pictures), axis=2)).mean())
