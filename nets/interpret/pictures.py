"""Convert arrays to displayable images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ImageError
from vj.io.images import Pixels


def as_picture(
    numbers: ArrayLike, *, signed: bool = False, limits: tuple[float, float] | None = None
) -> Pixels:
    """Scale an array to uint8, the minimum black and the maximum white.

    Parameters
    ----------
    numbers : (H, W), (C, H, W) with 1 or 3 channels, or with any axes before these
    signed : bool
        If True, 0 becomes 128 and the largest magnitude becomes white or black.
    limits : (low, high), optional
        Values that become black and white, by default the extremes.

    Returns
    -------
    (..., H, W) or (..., H, W, 3) uint8
    """
    values: NDArray[np.float64] = np.asarray(numbers, np.float64)
    if values.ndim < 2 or not values.size:
        raise ImageError(f"an array of shape {values.shape} is not an image")
    if limits is None:
        low, high = float(values.min()), float(values.max())
        if signed:
            high = max(-low, high)
            low = -high
    else:
        low, high = limits
    scaled = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 127.5)
    pixels = np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)
    if pixels.ndim > 2 and pixels.shape[-3] in (1, 3):
        pixels = np.moveaxis(pixels, -3, -1)
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    return pixels


def grid(
    pictures: ArrayLike, columns: int | None = None, *, gap: int = 1, ground: int = 255
) -> Pixels:
    """Arrange images in a grid.

    Parameters
    ----------
    pictures : (N, H, W) or (N, H, W, 3) uint8
    columns : int, optional
        By default about as many as rows.
    gap : int
        Pixels between images.
    ground : int
        Gray level of the gaps and of empty cells.

    Returns
    -------
    (rows, cols) or (rows, cols, 3) uint8
    """
    tiles = np.asarray(pictures)
    if tiles.dtype != np.uint8 or tiles.ndim not in (3, 4) or not len(tiles):
        raise ImageError(
            f"images must be uint8 (N, H, W) or (N, H, W, 3), got {tiles.dtype} {tiles.shape}: "
            "use `as_picture`"
        )
    wide = math.ceil(math.sqrt(len(tiles))) if columns is None else columns
    high = -(-len(tiles) // wide)
    rows, cols = tiles.shape[1:3]
    size = (high * (rows + gap) - gap, wide * (cols + gap) - gap)
    out = np.full((*size, *tiles.shape[3:]), ground, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // wide) * (rows + gap), (i % wide) * (cols + gap)
        out[y : y + rows, x : x + cols] = tile
    return out
