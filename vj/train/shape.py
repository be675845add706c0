"""The window that suits the shape of the objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Picture
from vj.datasets.lists import picture_size
from vj.errors import SourceError
from vj.io.images import Pixels
from vj.train.sources import list_items, list_positives

AUTO = "auto"
SQUARE = (24, 24)  # rows, cols of the window of objects that are about as wide as high
ABOUT_SQUARE = 1.25
NARROWEST, LONGEST = 10, 120  # pixels: Haar features need some room, time grows with the area
_MEASURED = 1000  # pictures, at most, whose headers are read


def list_shaped(
    positives: Any, window: tuple[int, int] | str, names: Sequence[str] | None = None
) -> tuple[tuple[int, int], list[Picture], list[tuple[str, Pixels]]]:
    """As `list_positives`, and the window: as given, or for "auto" the one that suits the objects.

    That of a .vec file is the shape of its samples, which are taken for square.
    """
    items = list_items(positives)
    if not isinstance(window, str):
        return window, *list_positives(items, window, names)
    pictures, arrays = list_positives(items, None, names)
    for item in items:
        if isinstance(item, str | Path) and Path(item).suffix == ".vec":
            sample = next(array for name, array in arrays if name.startswith(f"{item}, "))
            return (sample.shape[0], sample.shape[1]), pictures, arrays
    return suited_window(median_aspect(object_sizes(pictures, arrays))), pictures, arrays


def median_aspect(sizes: Sequence[tuple[float, float]]) -> float:
    """Median of width over height; 1 where nothing has a size."""
    known = np.array([size for size in sizes if min(size) > 0], np.float64).reshape(-1, 2)
    return float(np.median(known[:, 0] / known[:, 1])) if len(known) else 1.0


def suited_window(aspect: float) -> tuple[int, int]:
    """(rows, cols) for objects of this width over height.

    24x24 where that is about 1. Otherwise of its shape and of the same area, since features, and
    so the time that a training takes, grow with the square of the area; but no side is shorter
    than 10 pixels or longer than 120.

    Examples
    --------
    >>> suited_window(1.1), suited_window(3.0), suited_window(0.5)
    ((24, 24), (14, 42), (34, 17))
    """
    if 1 / ABOUT_SQUARE < aspect < ABOUT_SQUARE:
        return SQUARE
    long = max(aspect, 1 / aspect)
    short = max(round(SQUARE[0] / long**0.5), NARROWEST)
    sides = short, min(round(max(SQUARE[0] * long**0.5, short * long)), LONGEST)
    return sides if aspect > 1 else sides[::-1]


def object_sizes(
    pictures: Sequence[Picture], arrays: Sequence[tuple[str, Pixels]]
) -> list[tuple[float, float]]:
    """(width, height) of objects: of boxes, of pictures each of which is an object, of arrays."""
    whole = [p for p in pictures if np.isinf(p.boxes).any()]
    measured = whole[:: max(len(whole) // _MEASURED, 1)]
    drawn = [p.boxes for p in pictures if not np.isinf(p.boxes).any()]
    boxes: NDArray[np.float64] = np.concatenate([np.empty((0, 4)), *drawn])
    sizes = [(float(w), float(h)) for w, h in boxes[:, 2:] - boxes[:, :2]]
    sizes += [(float(a.shape[1]), float(a.shape[0])) for _, a in arrays]
    return sizes + list(_sizes_of_files(measured))


def _sizes_of_files(pictures: Sequence[Picture]) -> Iterator[tuple[float, float]]:
    for picture in pictures:
        try:
            width, height = picture_size(picture.path)
        except SourceError:  # told when the picture is read
            continue
        yield float(width), float(height)
