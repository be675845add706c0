"""Integral images, features, correlation; images to time on where the content does not matter."""

from __future__ import annotations

from functools import cache

import numpy as np

SIZES = [(480, 640), (1080, 1920)]  # rows, cols


@cache
def noise(rows: int, cols: int) -> np.ndarray:
    """Gray image of independent uniform pixels."""
    return np.random.default_rng(0).integers(0, 256, (rows, cols), dtype=np.uint8)


def label(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
