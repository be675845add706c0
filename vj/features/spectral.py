"""Correlation by fast Fourier transforms of overlapping tiles, for kernels that are large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_TILE = 128  # below it the transforms cost more a pixel, above it they leave the cache


def correlate_valid(image: NDArray[Any], kernel: NDArray[Any]) -> NDArray[Any]:
    """Correlation where the kernel lies inside the image, by overlap and save.

    image (H, W) and kernel (h, w) are float32, or both float64; the result, (H-h+1, W-w+1), too.
    """
    from scipy import fft

    rows, cols = (side - taps + 1 for side, taps in zip(image.shape, kernel.shape, strict=True))
    tile = [
        fft.next_fast_len(min(max(_TILE, 4 * taps), side), real=True)
        for side, taps in zip(image.shape, kernel.shape, strict=True)
    ]
    # Every tile gives this many results a side that no other tile's pixels wrap into.
    keep_y, keep_x = (side - taps + 1 for side, taps in zip(tile, kernel.shape, strict=True))
    down, across = -(-rows // keep_y), -(-cols // keep_x)
    padded = np.zeros(((down - 1) * keep_y + tile[0], (across - 1) * keep_x + tile[1]), image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    tiles = sliding_window_view(padded, tile)[::keep_y, ::keep_x]
    response = np.conj(fft.rfft2(kernel, tile))
    out = np.empty((down * keep_y, across * keep_x), image.dtype)
    for j in range(down):
        spectrum = fft.rfft2(tiles[j])
        spectrum *= response
        sums = fft.irfft2(spectrum, tile, overwrite_x=True)[:, :keep_y, :keep_x]
        strip = out[j * keep_y : (j + 1) * keep_y].reshape(keep_y, across, keep_x)
        strip[:] = sums.transpose(1, 0, 2)
    return out[:rows, :cols]
