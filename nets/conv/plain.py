"""Convolution products in plain NumPy, the reference for `nets.conv.products`.

With x an input (N, H, W, C), w weights (K, C / groups, kh, kw) and y an output (N, h, w, K), the
form sum(y * conv(x, w)) is linear in each of the three: `outputs`, `to_inputs` and `to_weights`
are its gradients with respect to y, x and w. A transposed convolution is the same form with x and y
exchanged. float64 arrays, used in gradient checks, are computed here.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nets.arrays import Array
from nets.conv.geometry import Geometry, Pair


def outputs(x: Array, w: Array, how: Geometry) -> Array:
    """Return the outputs (N, h, w, K)."""
    windows = _windows(_padded(x, how.padding), w.shape[2:], how)
    y: Array = np.einsum("nijgcuv,gkcuv->nijgk", windows, _grouped(w, how), optimize=True)
    return y.reshape(*windows.shape[:3], len(w))


def to_inputs(y: Array, w: Array, size: Pair, how: Geometry) -> Array:
    """Return the gradient (N, *size, C) with respect to the input."""
    images, rows, cols, _ = y.shape
    (top, left), (down, right), (dy, dx) = how.padding, how.stride, how.dilation
    weights, grads = _grouped(w, how), y.reshape(images, rows, cols, how.groups, -1)
    channels = w.shape[1] * how.groups
    x = np.zeros((images, size[0] + 2 * top, size[1] + 2 * left, channels), y.dtype)
    for u in range(w.shape[2]):
        for v in range(w.shape[3]):
            part = np.einsum("nijgk,gkc->nijgc", grads, weights[..., u, v])
            into = x[:, u * dy :: down, v * dx :: right][:, :rows, :cols]
            into += part.reshape(into.shape)
    return x[:, top : top + size[0], left : left + size[1]]


def to_weights(x: Array, y: Array, side: Pair, how: Geometry) -> Array:
    """Return the gradient (K, C / groups, *side) with respect to the weights."""
    windows = _windows(_padded(x, how.padding), side, how)
    grads = y.reshape(*y.shape[:3], how.groups, -1)
    rows, cols = y.shape[1:3]
    seen = windows[:, :rows, :cols]
    w: Array = np.einsum("nijgcuv,nijgk->gkcuv", seen, grads, optimize=True)
    return w.reshape(-1, *w.shape[2:])


def _padded(x: Array, padding: Pair) -> Array:
    top, left = padding
    return np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))


def _windows(x: Array, side: tuple[int, ...], how: Geometry) -> Array:
    """Return the window of each output, (N, h, w, groups, C / groups, kh, kw)."""
    (down, right), (dy, dx) = how.stride, how.dilation
    reach = ((side[0] - 1) * dy + 1, (side[1] - 1) * dx + 1)
    seen = sliding_window_view(x, reach, axis=(1, 2))[:, ::down, ::right, :, ::dy, ::dx]
    return seen.reshape(*seen.shape[:3], how.groups, -1, *side)


def _grouped(w: Array, how: Geometry) -> Array:
    return w.reshape(how.groups, -1, *w.shape[1:])
