"""Correlation, convolution, and the convolutional layers."""

from __future__ import annotations

import numpy as np

from nets.reference.arrays import Array, Pair


def correlate2d(image: Array, kernel: Array) -> Array:
    """Cross-correlate without padding: ``out[i, j] = sum image[i+u, j+v] kernel[u, v]``.

    Deep learning libraries call this convolution.
    """
    rows = image.shape[0] - kernel.shape[0] + 1
    cols = image.shape[1] - kernel.shape[1] + 1
    out = np.zeros((rows, cols))
    for i, j in np.ndindex(rows, cols):
        for u, v in np.ndindex(*kernel.shape):
            out[i, j] += float(image[i + u, j + v]) * kernel[u, v]
    return out


def convolve2d(image: Array, kernel: Array) -> Array:
    """Convolve without padding: ``out[i, j] = sum image[i-u, j-v] kernel[u, v]``.

    The textbook definition, shifted so that the first output covers the first pixels: correlation
    with the kernel rotated by 180 degrees. Unlike correlation it is commutative and associative,
    hence its use in signal processing; for a trained kernel it makes no difference.
    """
    rows = image.shape[0] - kernel.shape[0] + 1
    cols = image.shape[1] - kernel.shape[1] + 1
    last_u, last_v = kernel.shape[0] - 1, kernel.shape[1] - 1
    out = np.zeros((rows, cols))
    for i, j in np.ndindex(rows, cols):
        for u, v in np.ndindex(*kernel.shape):
            out[i, j] += float(image[i + last_u - u, j + last_v - v]) * kernel[u, v]
    return out


def conv2d(
    x: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Convolve in seven loops. weights: (K, C / groups, kh, kw)."""
    count, _, high, wide = x.shape
    outputs, per_group, kh, kw = weights.shape
    rows = (high + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    cols = (wide + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((count, outputs, rows, cols))
    for n, k, i, j in np.ndindex(out.shape):
        first = k // (outputs // groups) * per_group
        total = 0.0 if bias is None else float(bias[k])
        for c, u, v in np.ndindex(per_group, kh, kw):
            y = i * stride[0] + u * dilation[0] - padding[0]
            z = j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= y < high and 0 <= z < wide:
                total += float(x[n, first + c, y, z]) * weights[k, c, u, v]
        out[n, k, i, j] = total
    return out


def conv_transpose2d(
    x: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Add a kernel, scaled by each pixel, to the output. weights: (C, K / groups, kh, kw).

    The transpose of `conv2d` as a linear map: ``<conv(x), y> == <x, conv_transpose(y)>``.
    """
    count, channels, high, wide = x.shape
    _, per_group, kh, kw = weights.shape
    rows = (high - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kh - 1) + 1 + output_padding[0]
    cols = (wide - 1) * stride[1] - 2 * padding[1] + dilation[1] * (kw - 1) + 1 + output_padding[1]
    out = np.zeros((count, per_group * groups, rows, cols))
    for n, c, i, j in np.ndindex(x.shape):
        first = c // (channels // groups) * per_group
        for k, u, v in np.ndindex(per_group, kh, kw):
            y = i * stride[0] + u * dilation[0] - padding[0]
            z = j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= y < rows and 0 <= z < cols:
                out[n, first + k, y, z] += float(x[n, c, i, j]) * weights[c, k, u, v]
    return out if bias is None else out + np.asarray(bias, float).reshape(1, -1, 1, 1)
