"""The scales of a detection, exactly as OpenCV orders them, and their split into bands of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError
from vj.kernels import pyramid as kernels

MAX_LEVELS = 10_000
_BAND_ROWS = 192  # pixel rows: enough to make the rows that two bands share a small part
_BATCH = 4096  # windows whose survivors share one list


@dataclass(frozen=True, slots=True)
class Level:
    """One scale: the image shrunk by `factor`, scanned in steps of `step` pixels.

    Attributes
    ----------
    factor : np.float32
    rows, cols : int
        Size of the shrunk image.
    step : int
        2 where factor < 2, else 1.
    window_rows, window_cols : int
        Windows in each direction.
    window : (height, width)
        Size of its windows in the image.
    """

    factor: np.float32
    rows: int
    cols: int
    step: int
    window_rows: int
    window_cols: int
    window: tuple[int, int]

    def to_image(self, cols: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """``x, y, w, h`` in the image of the windows at columns and rows of the level."""
        out = np.empty((len(cols), 4), np.int32)
        out[:, 0] = np.rint(cols.astype(np.float32) * self.factor)
        out[:, 1] = np.rint(rows.astype(np.float32) * self.factor)
        out[:, 2:] = self.window[1], self.window[0]
        return out


def check_factor(scale_factor: float) -> None:
    """Raise ParameterError unless `scale_factor` is a finite number above 1."""
    if not (math.isfinite(scale_factor) and scale_factor > 1):
        raise ParameterError(f"`scale_factor` must be a finite number above 1, got {scale_factor}")


def all_factors(
    shape: tuple[int, int], window: tuple[int, int], scale_factor: float
) -> list[np.float32]:
    """Every factor at which the window fits the image, smallest first.

    Raises
    ------
    ParameterError
        `scale_factor` is not a finite number above 1, or so close to it that there would be more
        than ``MAX_LEVELS`` levels.
    """
    check_factor(scale_factor)
    # a window of 3 px may be rounded up to the image from 5/6 of its size on
    largest = 1.2 * min(shape[0] / window[0], shape[1] / window[1])
    if largest > 1 and math.log(largest) / math.log(scale_factor) > MAX_LEVELS:
        raise ParameterError(
            f"`scale_factor` {scale_factor} makes more than {MAX_LEVELS} pyramid levels; "
            "1.05 is fine already"
        )
    factors = []
    factor = 1.0
    while _rint(window[0] * factor) <= shape[0] and _rint(window[1] * factor) <= shape[1]:
        factors.append(np.float32(factor))
        factor *= scale_factor
    return factors


def levels(
    shape: tuple[int, int],
    window: tuple[int, int],
    scale_factor: float,
    min_size: tuple[int, int] | None,
    max_size: tuple[int, int] | None,
    *,
    strict: bool = True,
) -> list[Level]:
    """The levels of a detection, smallest windows first; sizes are (rows, cols).

    Where no window lies within the limits the result is empty, or, unless `strict`, the one level
    whose window is nearest to `min_size`, as OpenCV has it.
    """
    if shape[0] < window[0] or shape[1] < window[1]:
        return []
    factors = all_factors(shape, window, scale_factor)
    low = min_size or (0, 0)
    high = max_size or shape
    sizes = [_window_at(window, factor) for factor in factors]
    kept = [
        factor
        for factor, size in zip(factors, sizes, strict=True)
        if low[0] <= size[0] <= high[0] and low[1] <= size[1] <= high[1]
    ]
    if not kept and factors and not strict:
        away = [(low[0] - size[0]) ** 2 + (low[1] - size[1]) ** 2 for size in sizes]
        kept = [factors[int(np.argmin(away))]]
    return _geometry(shape, window, kept)


def _geometry(
    shape: tuple[int, int], window: tuple[int, int], factors: Sequence[np.float32]
) -> list[Level]:
    out: list[Level] = []
    stripes = 1
    for factor in factors:
        rows, cols = (_rint(np.float32(side) / factor) for side in shape)
        step = 1 if factor >= 2 else 2
        down, across = rows + 1 - window[0], cols + 1 - window[1]
        if not out:
            stripes = math.ceil(across / 32)
        # OpenCV shares the rows out to stripes of `down // step` rows, which forgets an odd last
        # one unless the rounding up leaves room for it
        stripe = max((down // step + stripes - 1) // stripes, 1) * step
        down = min(stripes * stripe, down)
        out.append(
            Level(
                factor, rows, cols, step, -(-down // step), -(-across // step),
                _window_at(window, factor),
            )
        )  # fmt: skip
    return out


def _window_at(window: tuple[int, int], factor: np.float32) -> tuple[int, int]:
    return _rint(np.float32(window[0]) * factor), _rint(np.float32(window[1]) * factor)


def _rint(value: float | np.float32) -> int:
    """Nearest whole number, halves to even."""
    return int(np.rint(value))


# --------------------------------------------------------------------------- for the kernel


def bands(pyramid: Sequence[Level], window: tuple[int, int]) -> NDArray[np.int64]:
    """Rows of windows that are scanned together, in scan order: the kernel's table."""
    rows_of_band = max(_BAND_ROWS, 6 * window[0])
    out = []
    for k, level in enumerate(pyramid):
        at_once = max(1, (rows_of_band - window[0]) // level.step)
        batch = max(1, _BATCH // level.window_cols)
        for first in range(0, level.window_rows, at_once):
            rows = min(at_once, level.window_rows - first)
            pixel_rows = (rows - 1) * level.step + window[0]
            out.append(
                (
                    k, level.rows, level.cols, first * level.step, pixel_rows,
                    level.step, rows, level.window_cols, min(batch, rows),
                )
            )  # fmt: skip
    return np.array(out, np.int64).reshape(len(out), 9)


def layout(
    pyramid: Sequence[Level],
    table: NDArray[np.int64],
    window: tuple[int, int],
    has_squares: bool,
    has_tilted: bool,
) -> NDArray[np.int64]:
    """How the integral images lie in memory, the same for every band of an image."""
    cols = max(
        (level.cols + 1) // 2 if level.step == 2 else level.cols // 2 + 8 for level in pyramid
    )
    half = _round_up(cols, 8) + 8
    half += 8 * (1 - half // 8 % 2)  # rows an odd number of cache lines apart use all cache sets
    pitch = 2 * half
    plane = pitch * (int(table[:, kernels.PIXEL_ROWS].max()) + 1)
    out = [pitch, half, plane, plane if has_squares else 0, 2 * plane if has_tilted else 0]
    out.append(_round_up(int(table[:, kernels.COLS].max()), 32) + 8)
    for step in (1, 2):
        left, right = (x if step == 1 else (x >> 1) + (x & 1) * half for x in (1, window[1] - 1))
        top, bottom = pitch, (window[0] - 1) * pitch
        out += [top + left, top + right, bottom + left, bottom + right]
    return np.array(out, np.int64)


def place_corners(
    corners: NDArray[np.int32], tilted: NDArray[np.bool_], where: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Offsets of the corners of every node in the buffer, for windows that step by one and two."""
    x, y = corners[..., 0].astype(np.int64), corners[..., 1]
    start = y * where[kernels.PITCH] + tilted[:, None] * where[kernels.TILTED]
    single = (start + x).astype(np.int32).ravel()
    double = (start + (x >> 1) + (x & 1) * where[kernels.HALF]).astype(np.int32).ravel()
    return single, double


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
