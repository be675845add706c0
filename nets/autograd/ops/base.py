"""Helpers of the ops: image layout and broadcasting."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array


def nhwc(x: Array) -> Array:
    """Return an image (N, C, H, W) in kernel layout: C-contiguous (N, H, W, C).

    A view if the memory is channels-last already, as the result of every op is.
    """
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def nchw(x: Array) -> Array:
    """Return the view (N, C, H, W) of a channels-last array (N, H, W, C)."""
    view: Array = x.transpose(0, 3, 1, 2)
    return view


def flat(x: Array) -> Array:
    """Flatten an array, images in channels-last order."""
    return (nhwc(x) if x.ndim == 4 else np.ascontiguousarray(x)).reshape(-1)


def unflat(numbers: Array, shape: tuple[int, ...]) -> Array:
    """Undo `flat` for an array of ``shape`` (a view)."""
    if len(shape) != 4:
        return numbers.reshape(shape)
    n, c, rows, cols = shape
    return nchw(numbers.reshape(n, rows, cols, c))


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which an argument of ``shape`` was broadcast."""
    if grad.shape == shape:
        return grad
    grad = np.sum(grad, axis=tuple(range(grad.ndim - len(shape))))
    ones = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return np.sum(grad, axis=ones, keepdims=True) if ones else grad
