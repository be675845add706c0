"""OpenCV's .vec files: what opencv_createsamples writes and opencv_traincascade reads."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

import numpy as np

from vj.errors import ParameterError, SourceError
from vj.io.files import replacing
from vj.io.images import Pixels

_HEADER = np.dtype([("count", "<i4"), ("size", "<i4"), ("zero", "<i2", 2)])


def read_vec(path: str | os.PathLike[str], window: tuple[int, int] | None = None) -> Pixels:
    """Samples of a .vec file.

    Parameters
    ----------
    path : path
    window : (rows, cols), optional
        The file knows only rows * cols. Without it the samples are taken for square.

    Returns
    -------
    (n, rows, cols) uint8

    Raises
    ------
    SourceError
        No such file, not a .vec file, or another number of pixels than ``window`` has.

    Warns
    -----
    UserWarning
        The header promises more samples than the file holds: opencv_createsamples writes the number
        it was asked for.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as exc:
        raise SourceError(f"{path}: cannot read: {exc.strerror or exc}") from exc
    if len(raw) < _HEADER.itemsize:
        raise SourceError(f"{path}: {len(raw)} bytes are too few for a .vec file")
    header = np.frombuffer(raw, _HEADER, 1)[0]
    count, size = int(header["count"]), int(header["size"])
    if count < 0 or not 0 < size <= 2**20 or header["zero"].any():
        raise SourceError(f"{path}: no .vec file: {count} samples of {size} pixels")
    if window is None:
        side = math.isqrt(size)
        window = (side, side)
    if window[0] * window[1] != size:
        raise SourceError(
            f"{path}: samples have {size} pixels, not {window[1]}x{window[0]}: give the width and "
            "height that opencv_createsamples was run with"
        )
    there = (len(raw) - _HEADER.itemsize) // (1 + 2 * size)
    if there < count:
        warnings.warn(
            f"{path}: the header promises {count} samples, the file holds {there}", stacklevel=2
        )
    row = np.dtype([("flag", "u1"), ("pixels", "<i2", size)])
    rows = np.frombuffer(raw, row, min(count, there), _HEADER.itemsize)["pixels"]
    if rows.size and (rows.min() < 0 or rows.max() > 255):
        raise SourceError(f"{path}: a pixel is outside 0 to 255: no .vec file, or a damaged one")
    return rows.astype(np.uint8).reshape(-1, *window)


def write_vec(path: str | os.PathLike[str], patches: Pixels) -> None:
    """Write (n, rows, cols) uint8 samples so that opencv_traincascade reads them.

    Raises
    ------
    SinkError
        The file cannot be written.
    """
    if patches.ndim != 3 or patches.dtype != np.uint8:
        raise ParameterError(
            f"`patches` must be uint8 (n, rows, cols), got {patches.dtype} {patches.shape}"
        )
    size = patches.shape[1] * patches.shape[2]
    rows = np.zeros(len(patches), np.dtype([("flag", "u1"), ("pixels", "<i2", size)]))
    rows["pixels"] = patches.reshape(len(patches), size)
    header = np.array([(len(patches), size, (0, 0))], _HEADER)
    with replacing(path) as file:
        file.write(header.tobytes() + rows.tobytes())
