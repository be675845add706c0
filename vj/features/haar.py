"""Responses of Haar features on an image, and their picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ParameterError
from vj.features.bounds import check_inside, checked_corners, checked_window
from vj.features.haar_templates import FAMILIES, MODES, HaarFeatures, enumerate_haar
from vj.features.integral import (
    integral_image,
    squared_integral_image,
    tilted_integral_image,
)
from vj.io.images import as_gray, as_rgb

__all__ = ["FAMILIES", "MODES", "HaarFeatures", "draw_feature", "enumerate_haar", "haar_features"]


def haar_features(
    image: Any,
    features: HaarFeatures,
    at: ArrayLike = (0, 0),
    *,
    convention: str = "opencv",
    window: tuple[int, int] | None = None,
) -> NDArray[np.float32]:
    """Responses of Haar features at one or more places of an image.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Colour is turned to gray.
    features : HaarFeatures
        From `enumerate_haar`, or any struct with the same three arrays, such as a cascade's.
    at : (2,) or (n, 2) int
        ``x, y`` of the upper left corner of the window, or of n of them.
    convention : {"opencv", "mean"}
        "opencv": the weighted sum of the boxes, in the float32 arithmetic of OpenCV's detector.
        "mean": mean of the dark region minus mean of the light one, in grey levels.
    window : (rows, cols), optional
        With "opencv": divide by area times standard deviation of the window, both without its
        outermost pixels, as the detector does; the responses of a flat window are 0.

    Returns
    -------
    (F,) or (n, F) float32
        One row a window.

    Raises
    ------
    ImageError
        As `integral_image`.
    ParameterError
        A feature or window that leaves the image, unknown convention, or with "mean" a feature
        whose first box does not contain the others.

    References
    ----------
    Viola & Jones, IJCV 57(2), 2004, section 2; Lienhart & Maydt, ICIP 2002.

    Examples
    --------
    >>> edge = np.uint8([[10, 10, 90, 90]])
    >>> left_right = enumerate_haar((1, 4), families=["x2"])[1]
    >>> left_right.rects[0, :2].tolist()
    [[0, 0, 4, 1], [2, 0, 2, 1]]
    >>> haar_features(edge, left_right).tolist()
    [160.0]
    >>> haar_features(edge, left_right, convention="mean").tolist()
    [80.0]
    """
    from vj.kernels import haar as kernels

    if convention not in ("opencv", "mean"):
        raise ParameterError(f"`convention` must be 'opencv' or 'mean', got {convention!r}")
    if convention == "mean" and window is not None:
        raise ParameterError("`window` normalises the convention 'opencv' only: leave one of them")
    gray = as_gray(image)
    rects, weights, tilted = _arrays(features)
    corners, single = checked_corners(at)
    check_inside(rects.reshape(-1, 4), np.repeat(tilted, 3), corners, gray.shape)
    ii = integral_image(gray)
    iit = tilted_integral_image(gray) if tilted.any() else ii
    out = np.empty((len(corners), len(rects)), np.float32)
    if convention == "mean":
        _check_nested(rects, weights, tilted)
        kernels.haar_contrasts(ii, iit, corners, rects, weights, tilted, out)
        return out[0] if single else out
    norms = np.ones(len(corners), np.float32)
    if window is not None:
        rows, cols = checked_window(window, smallest=3)
        check_inside([[0, 0, cols, rows]], False, corners, gray.shape)
        kernels.window_norms(ii, squared_integral_image(gray), corners, rows, cols, norms)
    kernels.haar_responses(ii, iit, corners, norms, rects, weights, tilted, out)
    return out[0] if single else out


def _arrays(
    features: HaarFeatures,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    rects = np.ascontiguousarray(features.rects, np.int32)
    weights = np.ascontiguousarray(features.weights, np.float32)
    tilted = np.ascontiguousarray(features.tilted, np.bool_)
    n = len(rects)
    if rects.shape != (n, 3, 4) or weights.shape != (n, 3) or tilted.shape != (n,):
        raise ParameterError(
            "`features` must have rects (F, 3, 4), weights (F, 3) and tilted (F,), "
            f"got {rects.shape}, {weights.shape}, {tilted.shape}"
        )
    return rects, weights, tilted


def _check_nested(
    rects: NDArray[np.int32], weights: NDArray[np.float32], tilted: NDArray[np.bool_]
) -> None:
    """Refuse features whose first box is not the whole of them."""
    x, y, w, h = np.moveaxis(rects, -1, 0).astype(np.int64)
    lean, used = tilted[:, None], weights != 0
    # A tilted box is upright along x + y and y - x, where a step counts twice.
    left, right = np.where(lean, (x + y, x + y + 2 * w), (x, x + w))
    top, bottom = np.where(lean, (y - x, y - x + 2 * h), (y, y + h))
    inside = (left >= left[:, :1]) & (right <= right[:, :1])
    inside &= (top >= top[:, :1]) & (bottom <= bottom[:, :1])
    area = w * h * used
    rest = area[:, 0] - area[:, 1:].sum(axis=1)
    if not ((inside | ~used).all() and (rest > 0).all() and (area[:, 1] > 0).all()):
        raise ParameterError(
            "`features` must each have a first box that contains the others and is larger than "
            "they are, for the convention 'mean'"
        )


def draw_feature(
    image: Any,
    features: HaarFeatures,
    at: ArrayLike = (0, 0),
    scale: float = 1.0,
    *,
    opacity: float = 0.7,
) -> NDArray[np.uint8]:
    """Copy of an image with the regions of Haar features laid over it.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        The picture to draw on; it is not changed.
    features : HaarFeatures
        One feature, ``features[i]``, or several, drawn one over the other.
    at : (2,) int or float
        ``x, y`` of the upper left corner of the window.
    scale : float
        Pixels of the picture per pixel of the window.
    opacity : float
        How much of the picture is covered, 0 to 1.

    Returns
    -------
    (H, W, 3) uint8
        Dark regions (which count positive) in black, light ones in white, and a yellow line
        around them. At scale 1 they are exactly the pixels that the feature sums up.
    """
    rects, weights, tilted = _arrays(features)
    place = np.asarray(at, np.float64)
    if place.shape != (2,) or not np.isfinite(place).all():
        raise ParameterError(f"`at` must be two numbers x, y, got {at!r}")
    if not (np.isfinite(scale) and scale > 0):
        raise ParameterError(f"`scale` must be a number above 0, got {scale!r}")
    if not 0 <= opacity <= 1:
        raise ParameterError(f"`opacity` must be 0 to 1, got {opacity!r}")
    out: NDArray[np.uint8] = as_rgb(image).copy()
    rows, cols = out.shape[:2]
    # Centres of the pixels in the coordinates of the window.
    x = (np.arange(cols) + 0.5 - place[0])[None, :] / scale
    y = (np.arange(rows) + 0.5 - place[1])[:, None] / scale
    for boxes, signs, lean in zip(rects, np.sign(weights), tilted, strict=True):
        inside = [_covers(box, lean, x, y) for box in boxes]
        sign = np.zeros((rows, cols))
        for covered, weight in zip(inside, signs, strict=True):
            sign[covered & (weight != 0)] = weight
        shade = np.where(sign > 0, 0.0, 255.0)[..., None]
        blend = np.where(sign != 0, opacity, 0.0)[..., None]
        out[:] = np.rint((1 - blend) * out + blend * shade)
        out[_outline(sign != 0)] = (255, 200, 0)
    return out


def _covers(box: Any, tilted: bool, x: Any, y: Any) -> Any:
    bx, by, w, h = (float(value) for value in box)
    if not tilted:
        return (x >= bx) & (x < bx + w) & (y >= by) & (y < by + h)
    # The topmost pixel that a tilted box sums up is (x - 1, y).
    along, across = x + y - (bx + by - 0.5), y - x - (by - bx + 0.5)
    return (along >= 0) & (along < 2 * w) & (across >= 0) & (across < 2 * h)


def _outline(covered: Any) -> Any:
    """Pixels around the feature, outside of it."""
    grown = np.pad(covered, 1)
    grown = grown[:-2] | grown[1:-1] | grown[2:]
    return (grown[:, :-2] | grown[:, 1:-1] | grown[:, 2:]) & ~covered
