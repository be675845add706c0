"""Images to time on: a photograph where it matters, noise where it does not."""

from __future__ import annotations

from functools import cache

import numpy as np

SIZES = [(480, 640), (1080, 1920)]  # rows, cols


@cache
def noise(rows, cols):
    """Gray image of independent uniform pixels."""
    return np.random.default_rng(0).integers(0, 256, (rows, cols), dtype=np.uint8)


def label(size):
    return f"{size[1]}x{size[0]}"
