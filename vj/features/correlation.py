"""Correlation and convolution of images with small kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from vj.errors import ImageError, ParameterError
from vj.features.spectral import correlate_tiles

MODES = ("same", "full", "valid")
BOUNDARIES = ("reflect", "constant", "nearest", "mirror", "wrap")
METHODS = ("auto", "direct", "separable", "fft")

# Which rows and columns of the image, or -1, stand in the widened one, and from where as they are.
Border = tuple[NDArray[np.int32], NDArray[np.int32], int]

# Where one method begins to beat another; timed on 640x480 and 1920x1080.
_SEPARABLE_TAPS = 9
_FFT_TAPS = 400


def correlate(
    image: Any,
    kernel: ArrayLike,
    mode: str = "same",
    boundary: str | None = None,
    cval: float = 0.0,
    *,
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> NDArray[Any]:
    """Correlate an image with a kernel: every output pixel is the kernel laid over the image there.

    ``out[y, x]`` is the sum of ``kernel[i, j] * image[y + i - h // 2, x + j - w // 2]`` over the
    (h, w) kernel; the kernel is not flipped (`convolve` does that).

    Parameters
    ----------
    image : (H, W) or (H, W, C) uint8, float32 or float64
        Each channel is filtered by itself.
    kernel : (h, w) real numbers
        Of any size; of an even side the centre is ``side // 2``, as in ``scipy.ndimage``.
    mode : {"same", "full", "valid"}
        Size of the result: (H, W); every place where kernel and image overlap, (H + h - 1,
        W + w - 1); or only where the kernel lies inside the image, (H - h + 1, W - w + 1).
    boundary : {"reflect", "constant", "nearest", "mirror", "wrap"}
        What lies beyond the border, named as in ``scipy.ndimage``: d c b a | a b c d | d c b a;
        ``cval``; a a a a | a b c d | d d d d; d c b | a b c d | c b a; a b c d | a b c d | a b c d.
        The default is "reflect", and "constant" where the mode is "full".
    cval : float
        The value of the boundary "constant".
    dtype : {float32, float64, uint8}, optional
        Of the result. The sums are in float64 for float64, else in float32; for uint8 they are then
        rounded to the nearest integer, to the even one of two, and cut to 0..255. The default is
        float64 for a float64 image, else float32.
    method : {"auto", "direct", "separable", "fft"}
        How to compute it; "auto" takes what is fastest. "direct" is exact where the sums are
        integers below 2**24. "separable" runs a kernel that is an outer product (see `separate`) as
        a column and a row. "fft" errs by some 1e-6 (float64: 1e-15) of the largest sum possible.

    Returns
    -------
    (H', W') or (H', W', C)
        As ``mode`` and ``dtype`` say.

    Raises
    ------
    ImageError
        Other dtype or shape, or no pixels.
    ParameterError
        Unknown mode, boundary, dtype or method; a kernel that is empty, not 2-D, not real, not
        finite, with "valid" larger than the image, or with "separable" not an outer product.

    Examples
    --------
    >>> correlate(np.uint8([[0, 0, 9, 9]]), [[-1, 0, 1]]).tolist()
    [[0.0, 9.0, 9.0, 0.0]]
    """
    taps = _checked_kernel(kernel)
    centre = taps.shape[0] // 2, taps.shape[1] // 2
    return _filter(image, taps, centre, mode, boundary, cval, dtype, method)


def convolve(
    image: Any,
    kernel: ArrayLike,
    mode: str = "same",
    boundary: str | None = None,
    cval: float = 0.0,
    *,
    dtype: DTypeLike | None = None,
    method: str = "auto",
) -> NDArray[Any]:
    """Convolve an image with a kernel: correlation with the kernel turned by 180 degrees.

    ``out[y, x]`` is the sum of ``kernel[i, j] * image[y - i + h // 2, x - j + w // 2]``. Parameters
    and result are those of `correlate`.

    Examples
    --------
    >>> convolve(np.uint8([[0, 0, 9, 9]]), [[-1, 0, 1]]).tolist()
    [[0.0, -9.0, -9.0, 0.0]]
    """
    taps = _checked_kernel(kernel)[::-1, ::-1]
    centre = (taps.shape[0] - 1) // 2, (taps.shape[1] - 1) // 2
    return _filter(image, taps, centre, mode, boundary, cval, dtype, method)


def separate(kernel: ArrayLike, tolerance: float = 1e-6) -> tuple[Any, Any] | None:
    """Column and row whose outer product the kernel is, or None where there are none.

    Parameters
    ----------
    kernel : (h, w) real numbers
        The kernel.
    tolerance : float
        How far the product may be from the kernel, in parts of its Frobenius norm; the second
        singular value of a kernel that is accepted is no larger.

    Returns
    -------
    ((h, 1) float64, (1, w) float64) or None
        Row and column of the largest tap, scaled; of an integer kernel they are integers, so that
        sums stay exact, which the vectors of a singular value decomposition are not.

    Examples
    --------
    >>> column, row = separate([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    >>> column.ravel().tolist(), row.ravel().tolist()
    ([1.0, 2.0, 1.0], [1.0, 0.0, -1.0])
    """
    taps = _checked_kernel(kernel)
    i, j = np.unravel_index(np.argmax(abs(taps)), taps.shape)
    row = taps[i : i + 1]
    if (taps == np.rint(taps)).all() and abs(taps[i, j]) < 2**53:
        unit = float(np.gcd.reduce(row.ravel().astype(np.int64)))
    else:
        unit = taps[i, j]
    row = row / (unit or 1.0)  # a kernel of zeros is an outer product, too
    column = taps[:, j : j + 1] / (row[0, j] or 1.0)
    error = np.square(taps - column * row).sum()
    return (column, row) if error <= tolerance**2 * np.square(taps).sum() else None


def _filter(
    image: Any,
    taps: NDArray[np.float64],
    centre: tuple[int, int],
    mode: str,
    boundary: str | None,
    cval: float,
    dtype: DTypeLike | None,
    method: str,
) -> NDArray[Any]:
    if boundary is None:
        boundary = "constant" if mode == "full" else "reflect"
    for name, value, allowed in (
        ("mode", mode, MODES),
        ("boundary", boundary, BOUNDARIES),
        ("method", method, METHODS),
    ):
        if value not in allowed:
            raise ParameterError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}")
    pixels, wanted, real = _checked_image(image, dtype)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    flat = pixels.reshape(pixels.shape[0], -1)  # a row of interleaved channels
    size = pixels.shape[:2]
    more = {"same": 0, "full": 1, "valid": -1}[mode]
    shape = [side + more * (n - 1) for side, n in zip(size, taps.shape, strict=True)]
    before = {"same": centre, "full": [n - 1 for n in taps.shape], "valid": (0, 0)}[mode]
    if min(shape) < 1:
        raise ParameterError(
            f"`kernel` of {taps.shape} is larger than the image of {size}: no place is 'valid'"
        )
    rows, columns = (
        _places(size[axis], before[axis], shape[axis] + taps.shape[axis] - 1, boundary)
        for axis in (0, 1)
    )
    if channels > 1:  # -1, the constant, becomes -channels to -1
        columns = np.add.outer(columns * channels, np.arange(channels, dtype=np.int32)).ravel()
    out = np.empty((shape[0], shape[1] * channels), real)
    border = rows, columns, before[1] * channels
    _run(flat, border, real.type(cval), taps, channels, method, out)
    out = out.reshape(*shape, channels) if pixels.ndim == 3 else out
    if wanted == np.uint8:
        return np.clip(np.rint(out, out=out), 0, 255, out=out).astype(np.uint8)
    return out


def _run(
    flat: NDArray[Any],
    border: Border,
    cval: Any,
    taps: NDArray[np.float64],
    channels: int,
    method: str,
    out: NDArray[Any],
) -> None:
    """Fill ``out`` with the fastest method, or with the one that was asked for."""
    from vj.kernels import correlate as kernels

    real = out.dtype.type
    factors = None
    if method == "separable" or (method == "auto" and taps.size >= _SEPARABLE_TAPS):
        factors = separate(taps, tolerance=8 * float(np.finfo(real).eps))
    if factors is None and method == "separable":
        raise ParameterError("`kernel` is not the product of a column and a row: not 'separable'")
    if method == "fft" or (method == "auto" and factors is None and taps.size > _FFT_TAPS):
        for channel in range(channels):
            mine = slice(channel, None, channels)
            correlate_tiles(flat, border[0], border[1][mine], cval, taps, out[:, mine])
        return
    suffix = "u8" if flat.dtype == np.uint8 else "f32" if real is np.float32 else "f64"
    height, width = taps.shape
    pitch = -(-out.shape[1] // 64) * 64
    line = pitch + (width - 1) * channels
    if factors is not None:
        down, across = (np.ascontiguousarray(factor, real) for factor in factors)
        ring = np.zeros((2, line), real), np.zeros((height + 1, pitch), real)
        run = getattr(kernels, f"separable_{suffix}")
        run(flat, border, cval, (across, down), channels, ring, out)
    else:
        weights = np.ascontiguousarray(taps, real)
        run = getattr(kernels, f"correlate_{suffix}")
        run(flat, border, cval, weights, channels, np.zeros((height + 4, line), real), out)


def _places(side: int, before: int, total: int, boundary: str) -> NDArray[np.int32]:
    """Pixels of a line of ``side`` pixels, widened to ``total``, ``before`` of them in front."""
    place = np.arange(-before, total - before, dtype=np.int32)
    for beyond in (place[:before], place[before + side :]):  # views: the middle stands as it is
        if boundary == "constant":
            beyond[:] = -1
        elif boundary == "nearest":
            np.clip(beyond, 0, side - 1, out=beyond)
        elif boundary == "wrap":
            beyond %= side
        else:
            twice = 1 if boundary == "reflect" else 0  # whether the last pixel is seen twice
            period = max(2 * side - 2 + 2 * twice, 1)
            beyond %= period
            np.minimum(beyond, period - twice - beyond, out=beyond)
    return place


def _checked_kernel(kernel: ArrayLike) -> NDArray[np.float64]:
    taps = np.asarray(kernel)
    if taps.ndim != 2 or taps.size == 0 or taps.dtype.kind not in "biuf":
        raise ParameterError(
            f"`kernel` must be a 2-D array of real numbers, got {taps.dtype} of shape {taps.shape}"
        )
    taps = taps.astype(np.float64)
    if not (abs(taps) < 1e30).all():  # beyond it float32 sums overflow
        raise ParameterError("`kernel` holds a value that is not a finite number below 1e30")
    return taps


def _checked_image(
    image: Any, dtype: DTypeLike | None
) -> tuple[NDArray[Any], np.dtype[Any], np.dtype[Any]]:
    """The image, the dtype of the result, and that of the sums (which a float image takes on)."""
    pixels = np.asarray(image)
    if pixels.dtype not in (np.uint8, np.float32, np.float64):
        raise ImageError(
            f"`image` must be uint8, float32 or float64, got {pixels.dtype}: convert it"
        )
    if pixels.ndim not in (2, 3) or pixels.size == 0:
        raise ImageError(
            f"`image` must have pixels and shape (H, W) or (H, W, C), got {pixels.shape}"
        )
    if dtype is None:
        dtype = np.float64 if pixels.dtype == np.float64 else np.float32
    wanted = np.dtype(dtype)
    if wanted not in (np.uint8, np.float32, np.float64):
        raise ParameterError(f"`dtype` must be float32, float64 or uint8, got {wanted}")
    real = np.dtype(np.float64 if wanted == np.float64 else np.float32)
    if pixels.dtype != np.uint8 or real == np.float64:
        pixels = pixels.astype(real, copy=False)
    return np.ascontiguousarray(pixels), wanted, real
