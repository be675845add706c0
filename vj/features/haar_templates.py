"""The families of Haar features, and the enumeration of all of them in a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError
from vj.features.bounds import checked_window


class Family(NamedTuple):
    """A kind of feature: a block of cells, some of which are dark."""

    tilted: bool
    block: tuple[int, int]  # cells along x and y
    weight: int  # of the dark cells; the block as a whole weighs -1
    dark: tuple[tuple[int, int, int, int], ...]  # x, y, w, h in cells


FAMILIES = {
    "x2": Family(False, (2, 1), 2, ((1, 0, 1, 1),)),
    "y2": Family(False, (1, 2), 2, ((0, 1, 1, 1),)),
    "x3": Family(False, (3, 1), 3, ((1, 0, 1, 1),)),
    "y3": Family(False, (1, 3), 3, ((0, 1, 1, 1),)),
    "x4": Family(False, (4, 1), 2, ((1, 0, 2, 1),)),
    "y4": Family(False, (1, 4), 2, ((0, 1, 1, 2),)),
    "x2y2": Family(False, (2, 2), 2, ((0, 0, 1, 1), (1, 1, 1, 1))),
    "centre": Family(False, (3, 3), 9, ((1, 1, 1, 1),)),
    "tilted_x2": Family(True, (2, 1), 2, ((0, 0, 1, 1),)),
    "tilted_y2": Family(True, (1, 2), 2, ((0, 0, 1, 1),)),
    "tilted_x3": Family(True, (3, 1), 3, ((1, 0, 1, 1),)),
    "tilted_y3": Family(True, (1, 3), 3, ((0, 1, 1, 1),)),
    "tilted_x4": Family(True, (4, 1), 2, ((1, 0, 2, 1),)),
    "tilted_y4": Family(True, (1, 4), 2, ((0, 1, 1, 2),)),
}
"""Two, three or four cells in a row (x) or a column (y), 2 x 2, 3 x 3; in OpenCV's order."""

MODES = {
    "BASIC": ("x2", "y2", "x3", "y3", "x2y2"),
    "CORE": ("x2", "y2", "x3", "y3", "x4", "y4", "x2y2", "centre"),
    "ALL": tuple(FAMILIES),
}
"""The sets of families that opencv_traincascade knows; BASIC are the five of Viola and Jones."""


@dataclass(frozen=True, slots=True, eq=False)
class HaarFeatures:
    """F features of a window, as a struct of arrays; slices and masks select among them."""

    rects: NDArray[np.int32]  # (F, 3, 4) x, y, w, h; all 0 where a feature has no third box
    weights: NDArray[np.float32]  # (F, 3)
    tilted: NDArray[np.bool_]  # (F,)

    def __len__(self) -> int:
        return len(self.rects)

    def __getitem__(self, index: Any) -> HaarFeatures:
        index = [index] if isinstance(index, int | np.integer) else index
        return HaarFeatures(self.rects[index], self.weights[index], self.tilted[index])


def enumerate_haar(
    window: tuple[int, int] = (24, 24),
    mode: str = "BASIC",
    families: Iterable[str] | None = None,
) -> HaarFeatures:
    """All Haar features of a window, in the order of opencv_traincascade.

    Parameters
    ----------
    window : (rows, cols)
        Size of the window.
    mode : {"BASIC", "CORE", "ALL"}
        Which families: 162,336, 210,400 or 261,600 features in 24 x 24.
    families : names from `FAMILIES`, optional
        The families to use instead of those of ``mode``.

    Returns
    -------
    HaarFeatures
        In the order of x, y, width and height of a cell, family. The first box is the whole block
        and weighs -1, the other boxes are dark and weigh what makes the response 0 where the image
        is flat: 2, in lines of three cells 3 (older versions of OpenCV: 2), in 3 x 3 cells 9.

    Raises
    ------
    ParameterError
        Unknown mode or family, or a window that is not two sizes of at least 1.

    Examples
    --------
    >>> len(enumerate_haar((24, 24), "BASIC"))
    162336
    """
    rows, cols = checked_window(window)
    chosen = _chosen_families(mode, families)
    y, dx, dy = np.ogrid[:rows, 1 : cols + 1, 1 : rows + 1]
    found = []
    for x in range(cols):  # one column at a time: the whole grid of a large window is large
        fits = np.stack([_fits(family, x, y, dx, dy, rows, cols) for family in chosen], axis=-1)
        place = np.argwhere(fits) + np.array([0, 1, 1, 0])
        found.append(np.insert(place, 0, x, axis=1))
    return _features(chosen, np.concatenate(found).T)


def _chosen_families(mode: str, families: Iterable[str] | None) -> list[Family]:
    if mode not in MODES:
        raise ParameterError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}")
    names = MODES[mode] if families is None else tuple(families)
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise ParameterError(f"`families` must be among {', '.join(FAMILIES)}, got {names!r}")
    return [FAMILIES[name] for name in names]


def _fits(family: Family, x: int, y: Any, dx: Any, dy: Any, rows: int, cols: int) -> Any:
    """Where in the grid the block, of cells of ``dx`` by ``dy`` pixels, is inside the window."""
    w, h = family.block[0] * dx, family.block[1] * dy
    if family.tilted:
        inside = (x + w <= cols) & (y + w + h <= rows) & (x - h >= 0)
    else:
        inside = (x + w <= cols) & (y + h <= rows)
    return np.broadcast_to(inside, (rows, cols, rows))


def _features(families: list[Family], places: NDArray[np.int64]) -> HaarFeatures:
    """Features from rows x, y, dx, dy and number of the family."""
    cells = np.zeros((len(families), 3, 4), np.int64)
    weights = np.zeros((len(families), 3), np.float32)
    for number, family in enumerate(families):
        boxes = ((0, 0, *family.block), *family.dark)
        cells[number, : len(boxes)] = boxes
        weights[number, : len(boxes)] = (-1, *[family.weight] * len(family.dark))
    tilted = np.array([family.tilted for family in families])
    x, y, dx, dy = places[:4, :, None]
    which = places[4]
    right, below, w, h = np.moveaxis(cells[which] * np.stack([dx, dy, dx, dy], axis=-1), -1, 0)
    lean = tilted[which][:, None]  # a step to the right also leads down, a step down to the left
    rects = np.stack(
        [x + right - lean * below, y + below + lean * right, w, h], axis=-1, dtype=np.int32
    )
    rects[weights[which] == 0] = 0
    return HaarFeatures(rects, weights[which], tilted[which])
