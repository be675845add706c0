"""Template matching: where an image looks like a smaller one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError
from vj.features.correlation import correlate
from vj.features.integral import squared_integral_image
from vj.features.spectral import correlate_tiles
from vj.io.images import as_gray

METHODS = ("sqdiff", "sqdiff_normed", "ccorr", "ccorr_normed", "ccoeff", "ccoeff_normed")
"""In OpenCV's order: TM_SQDIFF is 0, TM_CCOEFF_NORMED is 5."""

_EXACT_PIXELS = 2**24 // 255**2  # of a template whose products float32 adds up without an error


def match_template(image: Any, template: Any, method: str = "ccoeff_normed") -> NDArray[np.float32]:
    """Score of a template at every place of an image.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
        Where to look. Colour is turned to gray.
    template : (h, w) or (h, w, 3) uint8
        What to look for, no larger than the image.
    method : {"ccoeff_normed", "ccoeff", "ccorr_normed", "ccorr", "sqdiff_normed", "sqdiff"}
        "ccorr": sum of the products of the pixels; "ccoeff": the same after the mean is taken from
        window and template; "sqdiff": sum of the squared differences, the lower the better.
        "_normed": divided by the product of the Euclidean norms, so a perfect match has 1 (or 0).
        Where a norm is 0, a flat window or template, the score is 0 (an unequal "sqdiff_normed" 1).

    Returns
    -------
    (H-h+1, W-w+1) float32
        ``out[y, x]`` is the score of the window whose upper left pixel is (x, y), as in
        ``cv2.matchTemplate``. All sums are exact; only the last division rounds.

    Raises
    ------
    ImageError
        ``image`` or ``template`` is no uint8 image.
    ParameterError
        A template larger than the image, or an unknown method.

    References
    ----------
    Lewis, Fast Normalized Cross-Correlation, 1995: denominators from integral images.

    Examples
    --------
    >>> image = np.uint8([[0, 0, 0, 0], [0, 9, 1, 0], [0, 1, 9, 0]])
    >>> match_template(image, image[1:3, 1:3])[1].round(2).tolist()
    [-0.56, 1.0, -0.56]
    """
    from vj.kernels import integral, matching

    gray, small = as_gray(image), as_gray(template, "template")
    if method not in METHODS:
        raise ParameterError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}")
    rows, cols = small.shape
    if rows > gray.shape[0] or cols > gray.shape[1]:
        raise ParameterError(
            f"`template` of {cols}x{rows} px is larger than the image of "
            f"{gray.shape[1]}x{gray.shape[0]} px"
        )
    shape = gray.shape[0] - rows + 1, gray.shape[1] - cols + 1
    products, out = np.empty(shape), np.empty(shape, np.float32)
    if small.size <= _EXACT_PIXELS:
        products[:] = correlate(gray, small, "valid", method="direct")
    else:
        places = np.arange(gray.shape[0]), np.arange(gray.shape[1])
        correlate_tiles(gray, *places, 0, small, products)
    ii = np.empty((gray.shape[0] + 1, gray.shape[1] + 1), np.int32)
    integral.integral_sum(gray, ii)
    pixels = small.astype(np.int64)
    matching.template_scores(
        products,
        ii,
        squared_integral_image(gray),
        rows,
        cols,
        int(pixels.sum()),
        int((pixels**2).sum()),
        METHODS.index(method),
        out,
    )
    return out
