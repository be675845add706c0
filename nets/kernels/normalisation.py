"""Normalisation that looks at the input: group (instance, layer) and local response.

Batch normalisation is a multiply and an add by then: `pointwise.map_affine`, or part of the
convolution before it.
"""

import math

from numba import float32, float64

from nets.kernels.conv import (
    COLS,
    LAYER,
    ROWS,
    X_IMAGE,
    X_PIXEL,
    X_ROW,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    X,
    Y,
)
from vj.kernels.jit import kernel

GROUPS, SIZE = 16, 16  # after the shared fields


@kernel(LAYER)
def norm_group(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = (x - mean) / sqrt(var + lo) * weights[c] + bias[c] over groups of channels.

    Rows are images. K channels in GROUPS groups: as many groups as channels is instance
    normalisation, one group layer normalisation. ``lo`` is epsilon. Moments are float64, in two
    passes. scratch: 2 K floats.
    """
    rows, cols, channels, groups = shape[ROWS], shape[COLS], shape[K], shape[GROUPS]
    share = channels // groups
    count = float64(rows * cols * share)
    for image in range(first, last):
        x0 = shape[X] + image * shape[X_IMAGE]
        y0 = shape[Y] + image * shape[Y_IMAGE]
        for g in range(groups):
            total = 0.0
            for i in range(rows):
                part = float64(0)
                for j in range(cols):
                    x = x0 + i * shape[X_ROW] + j * shape[X_PIXEL] + g * share
                    for c in range(share):
                        part += arena[x + c]
                total += part
            mean = total / count
            total = 0.0
            for i in range(rows):
                part = float64(0)
                for j in range(cols):
                    x = x0 + i * shape[X_ROW] + j * shape[X_PIXEL] + g * share
                    for c in range(share):
                        d = arena[x + c] - mean
                        part += d * d
                total += part
            inverse = float64(1) / math.sqrt(total / count + lo)
            for c in range(g * share, (g + 1) * share):
                scratch[c] = inverse * weights[c]
                scratch[channels + c] = bias[c] - mean * inverse * weights[c]
        for i in range(rows):
            for j in range(cols):
                x = x0 + i * shape[X_ROW] + j * shape[X_PIXEL]
                y = y0 + i * shape[Y_ROW] + j * shape[Y_PIXEL]
                for c in range(channels):
                    arena[y + c] = arena[x + c] * scratch[c] + scratch[channels + c]


@kernel(LAYER)
def norm_response(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = x / (bias[0] + bias[1] * energy) ** bias[2] over SIZE channels about each one.

    `bias` holds k, alpha / size, beta. Reference: Krizhevsky et al., NIPS 2012, section 3.3.
    """
    rows, cols, channels, size = shape[ROWS], shape[COLS], shape[K], shape[SIZE]
    before, after = (size - 1) // 2, size // 2
    for at in range(first, last):
        image, i = at // rows, at % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        for _ in range(cols):
            for c in range(channels):
                energy = float32(0)
                for n in range(max(0, c - before), min(channels, c + after + 1)):
                    energy += arena[x + n] * arena[x + n]
                arena[y + c] = arena[x + c] / (bias[0] + bias[1] * energy) ** bias[2]
            x += shape[X_PIXEL]
            y += shape[Y_PIXEL]
