"""The oracle: every kernel once more in plain, obvious Python."""

import numpy as np


# --------------------------------------------------------------------------- color


def weigh_channels(color, weights):
    """vj.kernels.color.weigh_channels, one pixel at a time."""
    rows, cols = color.shape[:2]
    out = np.empty((rows, cols), np.uint8)
    for y in range(rows):
        for x in range(cols):
            total = sum(int(v) * w for v, w in zip(color[y, x, :3], weights, strict=True))
            out[y, x] = (total + 2**14) >> 15
    return out
