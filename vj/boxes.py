"""Box algebra: ``(n, 4)`` arrays of ``x1, y1, x2, y2``, lower-right exclusive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ParameterError


def as_boxes(boxes: ArrayLike, name: str = "boxes") -> NDArray[np.float32]:
    """Boxes as a contiguous (n, 4) float32 array.

    Raises
    ------
    ParameterError
        The shape is not (n, 4), or a value is not a finite number.
    """
    array = np.asarray(boxes, np.float32)
    if array.size == 0:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ParameterError(f"`{name}` must have shape (n, 4), got {array.shape}")
    if not np.isfinite(array).all():
        raise ParameterError(f"`{name}` holds a value that is not a finite number")
    return np.ascontiguousarray(array)


def to_xyxy(xywh: ArrayLike) -> NDArray[np.float32]:
    """``x, y, w, h`` rows to ``x1, y1, x2, y2`` rows."""
    out: NDArray[np.float32] = as_boxes(xywh, "xywh").copy()
    out[:, 2:] += out[:, :2]
    return out


def to_xywh(xyxy: ArrayLike) -> NDArray[np.float32]:
    """``x1, y1, x2, y2`` rows to ``x, y, w, h`` rows."""
    out: NDArray[np.float32] = as_boxes(xyxy, "xyxy").copy()
    out[:, 2:] -= out[:, :2]
    return out


def clip(xyxy: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Boxes cut to an image of ``shape`` (rows, cols, ...); a box outside becomes empty."""
    rows, cols = shape[:2]
    limit = np.array([cols, rows, cols, rows], np.float32)
    return np.clip(xyxy, np.float32(0), limit)


def grow(xyxy: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Boxes with their sides multiplied by ``factor`` about their centres."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    half = (xyxy[:, 2:] - xyxy[:, :2]) * np.float32(factor / 2)
    return np.concatenate([centre - half, centre + half], axis=1, dtype=np.float32)


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
    """Intersection over union of each box of ``a`` with each of ``b``.

    Parameters
    ----------
    a, b : (n, 4) and (m, 4)
        ``x1, y1, x2, y2``, lower-right exclusive.

    Returns
    -------
    (n, m) float32
        0 for boxes apart, 1 for equal ones; 0 where both are empty.

    Examples
    --------
    >>> iou([[0, 0, 2, 2]], [[1, 0, 3, 2]]).round(3).tolist()
    [[0.3330000042915344]]
    """
    from vj.kernels import group as kernels

    first, second = as_boxes(a, "a"), as_boxes(b, "b")
    out: NDArray[Any] = np.empty((len(first), len(second)), np.float32)
    kernels.iou_matrix(first, second, out)
    return out
