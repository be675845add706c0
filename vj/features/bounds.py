"""Where boxes and windows lie: the checks that kernels, which read unchecked, rely on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ParameterError

_FAR = 2**40  # beyond any image, and no sum of a few of them overflows


def reach(boxes: Any, tilted: Any) -> tuple[Any, Any, Any, Any]:
    """Edges left, top, right, bottom of boxes (n, 4) ``x, y, w, h``, where ``tilted`` of tilted."""
    x, y, w, h = np.ascontiguousarray(np.clip(np.transpose(boxes), -_FAR, _FAR), np.int64)
    lean = np.asarray(tilted, np.int64)
    return x - lean * h, y, x + w, y + h + lean * w


def checked_window(window: Any, smallest: int = 1) -> tuple[int, int]:
    """``window`` as (rows, cols) of at least ``smallest`` pixels each."""
    size = np.asarray(window)
    if size.shape != (2,) or size.dtype.kind not in "iu" or (size < smallest).any():
        raise ParameterError(
            f"`window` must be (rows, cols), each an integer of at least {smallest}, got {window!r}"
        )
    return int(size[0]), int(size[1])


def checked_corners(at: ArrayLike) -> tuple[NDArray[np.int64], bool]:
    """Positions of windows as (n, 2) int64, and whether there was a single one."""
    corners = np.asarray(at)
    single = corners.shape == (2,)
    if corners.size == 0:
        corners = np.zeros((0, 2), np.int64)
    corners = np.atleast_2d(corners)
    if corners.ndim != 2 or corners.shape[1] != 2 or corners.dtype.kind not in "iu":
        raise ParameterError(
            "`at` must be integers x, y of shape (2,) or (n, 2), "
            f"got {corners.dtype} {np.shape(at)}"
        )
    return np.ascontiguousarray(corners, np.int64), single


def check_inside(
    boxes: Any, tilted: Any, corners: NDArray[np.int64], shape: tuple[int, ...]
) -> None:
    """Refuse boxes (m, 4) of a window that leave an image of ``shape`` at one of ``corners``."""
    boxes = np.asarray(boxes)
    if not len(boxes) or not len(corners):
        return
    if (boxes[..., 2:] < 0).any():
        raise ParameterError("a feature has a box of negative width or height")
    left, top, right, bottom = reach(boxes, tilted)
    extent = np.array([left.min(), top.min(), -right.max(), -bottom.max()])
    room = np.concatenate([corners, [shape[1], shape[0]] - corners], axis=1)
    outside = (room + extent < 0).any(axis=1)
    if outside.any():
        x, y = corners[np.argmax(outside)]
        raise ParameterError(
            f"`at` = ({x}, {y}) puts a box outside the image of {shape[1]}x{shape[0]} px"
        )
