"""Single windows of an image pyramid: find the one meant, evaluate it plainly and exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.cascade.model import Cascade
from vj.detect.pyramid import Level, all_factors
from vj.errors import ImageError, ParameterError
from vj.features.integral import integral_image, squared_integral_image, tilted_integral_image
from vj.kernels import resize
from vj.kernels import window as kernels

Pixels = NDArray[np.uint8]
_BAND = 128  # rows of windows whose integral images are held at a time


def box_or_point(box: ArrayLike) -> NDArray[np.float64]:
    """Four numbers, or two, as an array."""
    try:
        target = np.asarray(box, np.float64)
    except (TypeError, ValueError):
        target = np.empty(0)
    if target.shape not in ((4,), (2,)) or not np.isfinite(target).all():
        raise ParameterError(f"`box` must be x1, y1, x2, y2 or a point x, y, got {box!r}")
    return target


def pyramid_scales(cascade: Cascade, gray: Pixels, scale_factor: float) -> list[np.float32]:
    """The scales of the pyramid; there is at least one."""
    rows, cols = cascade.window
    if gray.shape[0] < rows or gray.shape[1] < cols:
        raise ImageError(
            f"`image` of {gray.shape[1]}x{gray.shape[0]} px is smaller than the window of "
            f"{cols}x{rows} px: enlarge it"
        )
    return all_factors((gray.shape[0], gray.shape[1]), cascade.window, scale_factor)


def checked_scale(cascade: Cascade, gray: Pixels, scale: float) -> list[np.float32]:
    """The one scale asked for, if the image has it."""
    rows, cols = cascade.window
    level = level_shape(gray, np.float32(scale)) if scale >= 1 else (0, 0)
    if level[0] < rows or level[1] < cols:
        most = min(gray.shape[0] / rows, gray.shape[1] / cols)
        raise ParameterError(f"`scale` must be 1 to {most:.4g} for this image, got {scale}")
    return [np.float32(scale)]


def level_shape(gray: Pixels, scale: np.float32) -> tuple[int, int]:
    """Rows and columns of the level of a scale."""
    rows, cols = (int(np.rint(np.float32(side) / scale)) for side in gray.shape)
    return rows, cols


def make_level(gray: Pixels, scale: np.float32) -> Pixels:
    """The image shrunk to one level of the pyramid, straight from its full size."""
    shape = level_shape(gray, scale)
    if shape == gray.shape:
        return gray
    out = np.empty(shape, np.uint8)
    resize.resize_bilinear(gray, np.empty((4, shape[1]), np.int32), out)
    return out


def evaluate(
    cascade: Cascade, level: Pixels, step: int, *, to_the_end: bool
) -> tuple[NDArray[np.int32], tuple[NDArray[Any], ...]]:
    """Depth of the windows of a level, and sums, leaves and values of the last one."""
    rows, cols = cascade.window
    sums = integral_image(level)
    haar = cascade.feature_type == "HAAR"
    squares = squared_integral_image(level) if haar else np.zeros((1, 1), np.int64)
    tilted = tilted_integral_image(level) if cascade.has_tilted else sums
    depth = np.empty(
        [(n - m) // step + 1 for n, m in zip(level.shape, (rows, cols), strict=True)], np.int32
    )
    last = (
        np.empty(cascade.n_stages, np.float64),
        np.empty(cascade.n_trees, np.int32),
        np.empty(cascade.n_nodes, np.float32),
    )
    kernels.evaluate_windows(
        *(cascade.packed(), sums, squares, tilted, rows, cols, step, to_the_end, last, depth)
    )
    return depth, last


def depths(cascade: Cascade, level: Pixels, step: int) -> NDArray[np.int32]:
    """Depth of every window of a level of any size, band by band."""
    rows = cascade.window[0]
    count = (level.shape[0] - rows) // step + 1
    bands = []
    for first in range(0, count, _BAND):
        stop = min(first + _BAND, count)
        band = level[first * step : (stop - 1) * step + rows]
        bands.append(evaluate(cascade, band, step, to_the_end=False)[0])
    return np.concatenate(bands)


def nearest(
    cascade: Cascade, gray: Pixels, box: NDArray[np.float64], scales: list[np.float32]
) -> tuple[np.float32, int, int]:
    """Scale and place of the window of the pyramid that is nearest to a box."""
    x, y, w, h = box[0], box[1], box[2] - box[0], box[3] - box[1]
    if w <= 0 or h <= 0:
        raise ParameterError(f"`box` must be x1, y1, x2, y2 with x1 < x2 and y1 < y2, got {box}")
    rows, cols = cascade.window
    size = (w / cols + h / rows) / 2
    scale = scales[int(np.argmin(np.abs(np.log(scales) - np.log(size))))]
    level = level_shape(gray, scale)
    place = np.rint(np.array([x, y]) / scale).clip(0, [level[1] - cols, level[0] - rows])
    return scale, int(place[0]), int(place[1])


def deepest(
    cascade: Cascade, gray: Pixels, point: NDArray[np.float64], scales: list[np.float32]
) -> tuple[np.float32, int, int]:
    """Scale and place of the window about a point that passes the most stages."""
    if not ((point >= 0) & (point < gray.shape[::-1])).all():
        raise ParameterError(f"`box` must be a point in the image, got {point}")
    size = np.array(cascade.window)
    best: tuple[int, float] = (-2, 0.0)
    found = (scales[0], 0, 0)
    for scale in scales:
        level = make_level(gray, scale)
        end, at = np.array(level.shape) - size, point[::-1] / scale
        centre = (at - size / 2).clip(0, end)
        first = np.ceil(np.maximum(centre - size / 8, at - size)).clip(0, end).astype(int)
        stop = np.floor(np.minimum(centre + size / 8, at)).clip(first, end).astype(int) + size
        depth, _ = evaluate(
            cascade, level[first[0] : stop[0], first[1] : stop[1]], 1, to_the_end=False
        )
        for y, x in np.argwhere(depth == depth.max()):
            place = first + np.array([y, x])
            rank = (int(depth[y, x]), -float(np.abs(place - centre).sum()))
            if rank > best:
                best, found = rank, (scale, int(place[1]), int(place[0]))
    return found


def one_stage_candidates(
    cascade: Cascade, gray: Pixels, levels: list[Level]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """What OpenCV reports with reject levels for a cascade of one stage.

    Windows without contrast are among it: for a single stage their code is that of a window that
    passes. They carry the sum of the window before.
    """
    rows, cols = cascade.window
    stale = np.zeros(1)
    rects, weights = [np.empty((0, 4), np.int32)], [np.empty(0)]
    for level in levels:
        pixels = make_level(gray, level.factor)
        # the rows that OpenCV scans, see `vj.detect.pyramid`
        pixels = pixels[: (level.window_rows - 1) * level.step + rows]
        room = level.window_rows * level.window_cols
        windows, sums = np.empty((room, 2), np.int32), np.empty(room)
        haar = cascade.feature_type == "HAAR"
        total = integral_image(pixels)
        n = kernels.one_stage_windows(
            cascade.packed(),
            total,
            squared_integral_image(pixels) if haar else np.zeros((1, 1), np.int64),
            tilted_integral_image(pixels) if cascade.has_tilted else total,
            *(rows, cols, level.step),
            (np.empty(cascade.n_trees, np.int32), np.empty(cascade.n_nodes, np.float32)),
            stale,
            (windows, sums),
        )
        rects.append(level.to_image(windows[:n, 0], windows[:n, 1]))
        weights.append(sums[:n])
    return np.concatenate(rects), np.concatenate(weights)
