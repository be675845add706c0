"""Figures of the experiments: panels, contact sheets, photographs blanked."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

PHOTOGRAPHS = "VJ_LECTURE_PHOTOGRAPHS"  # set it to see the pictures of the data in the figures


def panels(
    rows: int, columns: int, width: float = 3.2, height: float = 2.6
) -> tuple[Figure, NDArray[Any]]:
    """A figure and its axes (rows, columns), each of a size in inches."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def show(axes: Any, picture: ArrayLike, title: str, **options: Any) -> None:
    """A picture without scales; gray where it has no colours."""
    axes.imshow(picture, **{"cmap": "gray", "interpolation": "nearest", **options})
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def hidden(pictures: Any) -> Any:
    """Photographs blanked, which are not ours to publish; `PHOTOGRAPHS` shows them at home."""
    pixels = np.asarray(pictures)
    if os.environ.get(PHOTOGRAPHS):
        return pixels
    return np.full_like(pixels, 215 if pixels.dtype == np.uint8 else 0.84)


def sheet(pictures: ArrayLike, columns: int, zoom: int = 1) -> Image.Image:
    """Pictures (n, H, W) uint8, or of 0..1, side by side in rows."""
    tiles = np.asarray(pictures)
    if tiles.dtype != np.uint8:
        tiles = np.round(np.clip(tiles, 0, 1) * 255).astype(np.uint8)
    n, rows, cols = tiles.shape[:3]
    assert n % columns == 0, f"{n} pictures do not fill rows of {columns}"
    joined = tiles.reshape(-1, columns, *tiles.shape[1:]).swapaxes(1, 2)
    wide = joined.reshape(n // columns * rows, columns * cols, *tiles.shape[3:])
    return Image.fromarray(wide).resize(
        (wide.shape[1] * zoom, wide.shape[0] * zoom), Image.Resampling.NEAREST
    )
