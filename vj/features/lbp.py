"""Multi-block local binary patterns: enumeration and codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ParameterError
from vj.features.bounds import check_inside, checked_corners, checked_window
from vj.features.integral import integral_image
from vj.io.images import as_gray


def enumerate_lbp(window: tuple[int, int] = (24, 24)) -> NDArray[np.int32]:
    """All multi-block LBP features of a window, in the order of opencv_traincascade.

    Parameters
    ----------
    window : (rows, cols)
        Size of the window.

    Returns
    -------
    (F, 4) int32
        ``x, y`` of the first of 3 x 3 cells and ``w, h`` of one cell.

    Examples
    --------
    >>> len(enumerate_lbp((24, 24)))
    8464
    """
    rows, cols = checked_window(window)
    x, y, w, h = np.ogrid[:cols, :rows, 1 : cols // 3 + 1, 1 : rows // 3 + 1]
    blocks = np.argwhere((x + 3 * w <= cols) & (y + 3 * h <= rows))
    return np.add(blocks, [0, 0, 1, 1], dtype=np.int32, casting="unsafe")


def lbp_codes(image: Any, blocks: ArrayLike, at: ArrayLike = (0, 0)) -> NDArray[np.uint8]:
    """Multi-block LBP codes at one or more places of an image.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Colour is turned to gray.
    blocks : (F, 4) int
        ``x, y`` in the window of the first of 3 x 3 cells and ``w, h`` of one cell, from
        `enumerate_lbp`.
    at : (2,) or (n, 2) int
        ``x, y`` of the upper left corner of the window, or of n of them.

    Returns
    -------
    (F,) or (n, F) uint8
        A bit is set where a neighbour is not darker than the centre: top left 128, top 64, top
        right 32, right 16, bottom right 8, bottom 4, bottom left 2, left 1.

    Raises
    ------
    ImageError
        As `integral_image`.
    ParameterError
        Blocks that leave the image or are not integers of shape (F, 4).

    References
    ----------
    Zhang et al., Face Detection Based on Multi-Block LBP Representation, ICB 2007.

    Examples
    --------
    >>> lbp_codes(np.uint8([[9, 0, 0], [0, 5, 7], [0, 0, 0]]), [[0, 0, 1, 1]]).tolist()
    [144]
    """
    from vj.kernels.lbp import lbp_responses

    gray = as_gray(image)
    cells = np.asarray(blocks)
    if cells.ndim != 2 or cells.shape[1] != 4 or cells.dtype.kind not in "iu":
        raise ParameterError(
            f"`blocks` must be integers of shape (F, 4), got {cells.dtype} {cells.shape}"
        )
    corners, single = checked_corners(at)
    check_inside(cells.astype(np.int64) * [1, 1, 3, 3], False, corners, gray.shape)
    out = np.empty((len(corners), len(cells)), np.uint8)
    lbp_responses(integral_image(gray), corners, np.ascontiguousarray(cells, np.int32), out)
    return out[0] if single else out
