"""Correlation by fast Fourier transforms, for kernels that are large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_TILE = 192  # pixels a side: smaller ones overlap more, larger ones are new memory at every step


def correlate_tiles(
    image: NDArray[Any],
    rows: NDArray[Any],
    columns: NDArray[Any],
    cval: float,
    kernel: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Fill ``out`` (H', W') with the correlation of ``image`` and ``kernel`` (h, w).

    rows (H' + h - 1,) and columns (W' + w - 1,) are the pixels of the image (H, W) that stand in
    the widened image, -1 for ``cval``. Sums are in the dtype of out, float32 or float64. By overlap
    and save: of the product of two spectra those sums are kept that do not wrap around the tile.
    """
    from scipy import fft

    size = [
        fft.next_fast_len(min(max(_TILE, 4 * taps), len(places)), real=True)
        for taps, places in zip(kernel.shape, (rows, columns), strict=True)
    ]
    step_y, step_x = (side - taps + 1 for side, taps in zip(size, kernel.shape, strict=True))
    response = np.conj(fft.rfft2(kernel.astype(out.dtype), size))
    for y in range(0, out.shape[0], step_y):
        for x in range(0, out.shape[1], step_x):
            band, stretch = rows[y : y + size[0]], columns[x : x + size[1]]
            tile = image[band][:, stretch].astype(out.dtype)
            tile[band < 0] = cval
            tile[:, stretch < 0] = cval
            spectrum = fft.rfft2(tile, size)
            spectrum *= response
            target = out[y : y + step_y, x : x + step_x]
            sums = fft.irfft2(spectrum, size, overwrite_x=True)
            target[:] = sums[: target.shape[0], : target.shape[1]]
