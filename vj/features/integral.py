"""Integral images: the sum of any box of pixels with four reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ImageError, ParameterError
from vj.features.bounds import reach
from vj.io.images import as_gray

MAX_PIXELS = (2**31 - 1) // 255
"""Pixels up to which 32-bit sums are exact whatever the image shows: 8,421,504."""


def integral_image(image: Any) -> NDArray[np.int32]:
    """Integral image with a first row and column of zeros.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Colour is turned to gray.

    Returns
    -------
    (H+1, W+1) int32
        ``out[y, x]`` is the sum of ``image[:y, :x]``, as in ``cv2.integral``.

    Raises
    ------
    ImageError
        No uint8 image, or one of more than 8,421,504 pixels, whose sum could exceed 32 bits.

    References
    ----------
    Viola & Jones, Robust Real-Time Face Detection, IJCV 57(2), 2004, section 2.1.

    Examples
    --------
    >>> integral_image(np.ones((2, 3), np.uint8)).tolist()
    [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6]]
    """
    from vj.kernels import integral as kernels

    gray = _summable(image)
    out = _bordered(gray, np.int32)
    kernels.integral_sum(gray, out)
    return out


def squared_integral_image(image: Any) -> NDArray[np.int64]:
    """Integral image of the squares of the pixels, exact for an image of any size.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Colour is turned to gray.

    Returns
    -------
    (H+1, W+1) int64
        ``out[y, x]`` is the sum of ``image[:y, :x] ** 2``; ``cv2.integral2`` has the same numbers
        in float64.

    Raises
    ------
    ImageError
        No uint8 image.
    """
    from vj.kernels import integral as kernels

    gray = as_gray(image)
    out = _bordered(gray, np.int64)
    kernels.integral_squares(gray, out)
    return out


def tilted_integral_image(image: Any) -> NDArray[np.int32]:
    """Integral image turned by 45 degrees.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Colour is turned to gray.

    Returns
    -------
    (H+1, W+1) int32
        ``out[Y, X]`` is the sum of the pixels (x, y) with ``y < Y`` and
        ``abs(x - X + 1) <= Y - y - 1``, as in ``cv2.integral3``.

    Raises
    ------
    ImageError
        As `integral_image`.

    References
    ----------
    Lienhart & Maydt, An Extended Set of Haar-like Features for Rapid Object Detection, ICIP 2002,
    section 2.2.
    """
    from vj.kernels import integral as kernels

    gray = _summable(image)
    out = _bordered(gray, np.int32)
    kernels.integral_tilted(gray, out)
    return out


def rect_sum(integral: NDArray[Any], rects: ArrayLike, tilted: bool = False) -> Any:
    """Sums of boxes of pixels, each from four values of an integral image.

    Parameters
    ----------
    integral : (H+1, W+1) int32 or int64
        From `integral_image` or `squared_integral_image`; from `tilted_integral_image` when
        ``tilted``.
    rects : (n, 4) or (4,) int
        ``x, y, w, h``, inside the image. A tilted box has its topmost corner at (x, y) and extends
        ``w`` steps down to the right and ``h`` steps down to the left of it: 2wh pixels.
    tilted : bool
        The boxes are tilted by 45 degrees.

    Returns
    -------
    (n,) int64, or one int64
        The sums.

    Raises
    ------
    ImageError
        Not an integral image.
    ParameterError
        A box that leaves the image, a negative size, or numbers that are not integers.

    Examples
    --------
    >>> ii = integral_image(np.arange(12, dtype=np.uint8).reshape(3, 4))
    >>> rect_sum(ii, [[0, 0, 4, 3], [1, 1, 2, 1]]).tolist()
    [66, 11]
    """
    from vj.kernels import integral as kernels

    ii = np.ascontiguousarray(integral)
    if ii.ndim != 2 or ii.dtype not in (np.int32, np.int64) or ii.size == 0:
        raise ImageError(
            f"`integral` must be a 2-D int32 or int64 integral image, got {ii.dtype} {ii.shape}"
        )
    boxes, single = _checked_rects(rects, (ii.shape[0] - 1, ii.shape[1] - 1), tilted)
    out = np.empty(len(boxes), np.int64)
    sums = kernels.box_sums if ii.dtype == np.int32 else kernels.box_sums_i64
    sums(ii, boxes, int(tilted), out)
    return out[0] if single else out


def rect_sum_naive(image: Any, rects: ArrayLike, tilted: bool = False) -> Any:
    """The sums of `rect_sum`, pixel by pixel from the image itself: w * h reads a box.

    It exists to be compared with; the parameters are those of `rect_sum`, save that ``image`` is
    the (H, W) or (H, W, 3) uint8 image.
    """
    from vj.kernels import integral as kernels

    gray = as_gray(image)
    boxes, single = _checked_rects(rects, gray.shape, tilted)
    out = np.empty(len(boxes), np.int64)
    kernels.box_sums_naive(gray, boxes, int(tilted), out)
    return out[0] if single else out


def _summable(image: Any) -> NDArray[np.uint8]:
    gray = as_gray(image)
    if gray.size > MAX_PIXELS:
        raise ImageError(
            f"`image` of {gray.shape[1]}x{gray.shape[0]} px could overflow 32-bit sums; the limit "
            f"is {MAX_PIXELS} px: cut it into tiles or shrink it"
        )
    return gray


def _bordered(gray: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    return np.empty((gray.shape[0] + 1, gray.shape[1] + 1), dtype)


def _checked_rects(
    rects: ArrayLike, shape: tuple[int, ...], tilted: bool
) -> tuple[NDArray[np.int64], bool]:
    """Boxes as (n, 4) int64, and whether there was a single one."""
    boxes = np.asarray(rects)
    if boxes.size == 0 and boxes.ndim <= 2:
        boxes = np.zeros((0, 4), np.int64)
    single = boxes.ndim == 1
    boxes = np.atleast_2d(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "iu":
        raise ParameterError(
            f"`rects` must be integers of shape (n, 4), got {boxes.dtype} {np.shape(rects)}"
        )
    boxes = np.ascontiguousarray(boxes, np.int64)
    left, _, right, bottom = reach(boxes, tilted)
    inside = (boxes >= 0).all(axis=1) & (left >= 0) & (right <= shape[1]) & (bottom <= shape[0])
    if not inside.all():
        i = np.argmin(inside)
        raise ParameterError(
            f"`rects[{i}]` = {boxes[i].tolist()} (x, y, w, h{', tilted' if tilted else ''}) "
            f"is not inside the image of {shape[1]}x{shape[0]} px"
        )
    return boxes, single
