"""Kernels by name: smoothing, sharpening, edges."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError

Kernel = NDArray[np.float64]


def named_kernel(name: str, **options: float) -> NDArray[np.float64]:
    """A well-known kernel, to be used with `correlate`.

    Parameters
    ----------
    name : str
        Smoothing and blurring: "box" (size), "gaussian" (size, sigma), "binomial" (size), "disk"
        (size), "motion" (size, angle). Sharpening: "sharpen", "sharpen_8", "unsharp" (size, sigma,
        amount). Edges, as first derivatives that are positive where it gets brighter to the right
        (x) or downwards (y): "sobel_x", "sobel_y", "scharr_x", "scharr_y", "prewitt_x",
        "prewitt_y", "roberts_x", "roberts_y" (to the lower right and lower left); and as second
        ones: "laplacian", "laplacian_8", "log" (size, sigma). Relief: "emboss". And "identity".
    **options
        size : odd side in pixels. sigma : standard deviation in pixels. angle : degrees, counted
        from the x axis towards the upper left. amount : how much of the detail is added.

    Returns
    -------
    (h, w) float64
        Smoothing, sharpening and "identity" sum to 1, edges to 0, "emboss" to 1.

    Raises
    ------
    ParameterError
        Unknown name; an option that the kernel does not have, or that makes no sense.

    Examples
    --------
    >>> named_kernel("sobel_x").tolist()
    [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
    >>> named_kernel("box", size=3)[0, 0] == 1 / 9
    np.True_
    """
    if name not in KERNELS:
        raise ParameterError(f"`name` must be one of {', '.join(KERNELS)}, got {name!r}")
    build = KERNELS[name]
    known = inspect.signature(build).parameters
    for option, value in options.items():
        if option not in known:
            allowed = ", ".join(known) or "no options"
            raise ParameterError(f"the kernel {name!r} has {allowed}: not {option!r}")
        if not isinstance(value, int | float | np.number) or not math.isfinite(value):
            raise ParameterError(f"`{option}` must be a finite number, got {value!r}")
    return build(**options)


def _fixed(*rows: tuple[float, ...]) -> Callable[[], Kernel]:
    return lambda: np.array(rows, np.float64)


def _turned(*rows: tuple[float, ...]) -> Callable[[], Kernel]:
    return lambda: np.array(rows, np.float64).T.copy()


def _offsets(size: float) -> Kernel:
    """Distances of the taps of a line from its centre."""
    if size != int(size) or size < 1 or size % 2 == 0:
        raise ParameterError(f"`size` must be an odd number of pixels, got {size!r}")
    return np.arange(int(size), dtype=np.float64) - int(size) // 2


def _normalised(taps: Kernel) -> Kernel:
    normalised: Kernel = taps / taps.sum()
    return normalised


def _positive(sigma: float) -> float:
    if sigma <= 0:
        raise ParameterError(f"`sigma` must be above 0, got {sigma!r}")
    return sigma


def _sides(size: float | None, sigma: float | None) -> tuple[Kernel, float]:
    """Offsets and sigma: a side of 6 sigma, or OpenCV's sigma for a side; 3 where none is given."""
    if sigma is None:
        offsets = _offsets(3 if size is None else size)
        return offsets, 0.3 * ((len(offsets) - 1) * 0.5 - 1) + 0.8
    return _offsets(2 * math.ceil(3 * _positive(sigma)) + 1 if size is None else size), sigma


def _box(size: float = 3) -> Kernel:
    n = len(_offsets(size))
    return np.full((n, n), 1.0 / (n * n))


def _gaussian(size: float | None = None, sigma: float | None = None) -> Kernel:
    offsets, sigma = _sides(size, sigma)
    line = np.exp(-(offsets**2) / (2 * _positive(sigma) ** 2))
    return _normalised(np.outer(line, line))


def _binomial(size: float = 3) -> Kernel:
    n = len(_offsets(size)) - 1
    line = [math.comb(n, k) for k in range(n + 1)]
    return np.outer(line, line) / 4.0**n


def _disk(size: float = 5) -> Kernel:
    """A circle of diameter ``size``, each pixel weighing its covered area (on a 16 x 16 grid)."""
    offsets = _offsets(size)
    fine = (offsets[:, None] + (np.arange(16) - 7.5) / 16).ravel()
    covered = fine[:, None] ** 2 + fine**2 <= (len(offsets) / 2) ** 2
    n = len(offsets)
    return _normalised(covered.reshape(n, 16, n, 16).sum(axis=(1, 3)).astype(np.float64))


def _motion(size: float = 9, angle: float = 0) -> Kernel:
    """A line of ``size`` pixels through the centre; a pixel weighs 1 minus its distance from it."""
    offsets = _offsets(size)
    along = np.cos(np.radians(angle)), -np.sin(np.radians(angle))
    x, y = offsets[None, :], offsets[:, None]
    distance = abs(x * along[1] - y * along[0])
    beyond = abs(x * along[0] + y * along[1]) - len(offsets) // 2
    return _normalised(np.clip(1 - distance, 0, 1) * np.clip(1 - beyond, 0, 1))


def _unsharp(size: float | None = None, sigma: float = 1, amount: float = 1) -> Kernel:
    smooth = _gaussian(size, sigma)
    sharp = -amount * smooth
    sharp[len(smooth) // 2, len(smooth) // 2] += 1 + amount
    return sharp


def _log(size: float | None = None, sigma: float = 1.4) -> Kernel:
    offsets, sigma = _sides(size, sigma)
    square = offsets[:, None] ** 2 + offsets**2
    bell = _normalised(np.exp(-square / (2 * sigma**2)))
    taps = bell * (square - 2 * sigma**2) / sigma**4
    balanced: Kernel = taps - taps.mean()
    return balanced


_SOBEL = (-1, 0, 1), (-2, 0, 2), (-1, 0, 1)
_SCHARR = (-3, 0, 3), (-10, 0, 10), (-3, 0, 3)
_PREWITT = (-1, 0, 1), (-1, 0, 1), (-1, 0, 1)

KERNELS: dict[str, Callable[..., Kernel]] = {
    "identity": _fixed((1,)),
    "box": _box,
    "gaussian": _gaussian,
    "binomial": _binomial,
    "disk": _disk,
    "motion": _motion,
    "sharpen": _fixed((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "sharpen_8": _fixed((-1, -1, -1), (-1, 9, -1), (-1, -1, -1)),
    "unsharp": _unsharp,
    "sobel_x": _fixed(*_SOBEL),
    "sobel_y": _turned(*_SOBEL),
    "scharr_x": _fixed(*_SCHARR),
    "scharr_y": _turned(*_SCHARR),
    "prewitt_x": _fixed(*_PREWITT),
    "prewitt_y": _turned(*_PREWITT),
    "roberts_x": _fixed((-1, 0), (0, 1)),
    "roberts_y": _fixed((0, -1), (1, 0)),
    "laplacian": _fixed((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "laplacian_8": _fixed((1, 1, 1), (1, -8, 1), (1, 1, 1)),
    "log": _log,
    "emboss": _fixed((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
}
