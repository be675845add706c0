"""Boxes and landmarks as the numbers that the cells of a network give out.

The inverse of what `nets.detectors.yunet` decodes: of a cell in column ``c``, row ``r`` of the grid
of stride ``s``, the centre of its box is ``((c + dx) s, (r + dy) s)``, the size
``(s exp(dw), s exp(dh))``, and every landmark ``((c + px) s, (r + py) s)``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError

F32 = NDArray[np.float32]
STRIDES = (8, 16, 32)


@lru_cache(maxsize=16)
def grid(rows: int, cols: int) -> F32:
    """All cells of an image: (P, 3) float32 column, row, stride.

    Stride after stride, row after row: the order of the outputs of a network, concatenated.

    Raises
    ------
    ParameterError
        A side is no multiple of the largest stride.
    """
    if rows % STRIDES[-1] or cols % STRIDES[-1] or min(rows, cols) <= 0:
        raise ParameterError(f"sides must be multiples of {STRIDES[-1]}, got {rows}x{cols}")
    parts = []
    for stride in STRIDES:
        y, x = np.mgrid[: rows // stride, : cols // stride]
        parts.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], 1))
    cells: F32 = np.concatenate(parts).astype(np.float32)
    cells.flags.writeable = False
    return cells


def centres(cells: F32) -> F32:
    """Middle of each cell in pixels, (P, 2) x, y: where a cell looks from."""
    middle: F32 = (cells[:, :2] + np.float32(0.5)) * cells[:, 2:]
    return middle


def encode_boxes(boxes: F32, cells: F32) -> F32:
    """What the cells (n, 3) have to give out for the boxes (n, 4): dx, dy, dw, dh."""
    stride = cells[:, 2:]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / stride - cells[:, :2]
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], np.float32(1e-3)) / stride
    return np.concatenate([centre, np.log(size)], 1).astype(np.float32)


def decode_boxes(raw: F32, cells: F32) -> F32:
    """Boxes x1, y1, x2, y2 of the numbers (..., P, 4) of all cells (P, 3)."""
    stride = cells[:, 2:]
    centre = (raw[..., :2] + cells[:, :2]) * stride
    half = np.exp(raw[..., 2:]) * stride / 2
    return np.concatenate([centre - half, centre + half], -1).astype(np.float32)


def encode_points(landmarks: F32, cells: F32) -> F32:
    """What the cells (n, 3) have to give out for landmarks (n, 5, 2): (n, 10); NaN stays NaN."""
    points = landmarks / cells[:, None, 2:] - cells[:, None, :2]
    return points.reshape(len(cells), 2 * landmarks.shape[1]).astype(np.float32)


def decode_points(raw: F32, cells: F32) -> F32:
    """Landmarks (..., P, 5, 2) of the numbers (..., P, 10) of all cells (P, 3)."""
    points = raw.reshape(*raw.shape[:-1], raw.shape[-1] // 2, 2) + cells[:, None, :2]
    return (points * cells[:, None, 2:]).astype(np.float32)
