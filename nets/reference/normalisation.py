"""Normalisation: batch, group and local response."""

from __future__ import annotations

import math

import numpy as np

from nets.reference.arrays import Array


def batch_norm(x: Array, scale: Array, shift: Array, mean: Array, var: Array, eps: float) -> Array:
    """Normalise each channel by the statistics of the training set. Ioffe & Szegedy, ICML 2015."""
    out = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        normal = (float(x[n, c, i, j]) - mean[c]) / math.sqrt(var[c] + eps)
        out[n, c, i, j] = normal * scale[c] + shift[c]
    return out


def group_norm(x: Array, groups: int, scale: Array, shift: Array, eps: float) -> Array:
    """Normalise groups of channels of each image. Wu & He, ECCV 2018.

    One channel per group is instance normalisation, one group is layer normalisation.
    """
    out = np.zeros(x.shape)
    share = x.shape[1] // groups
    for n, g in np.ndindex(x.shape[0], groups):
        part = x[n, g * share : (g + 1) * share].astype(float)
        normal = (part - part.mean()) / math.sqrt(part.var() + eps)
        for c in range(share):
            k = g * share + c
            out[n, k] = normal[c] * scale[k] + shift[k]
    return out


def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Divide by the energy of nearby channels. Krizhevsky, Sutskever & Hinton, NIPS 2012, 3.3."""
    out = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        first, last = max(0, c - (size - 1) // 2), min(x.shape[1], c + size // 2 + 1)
        energy = sum(float(x[n, m, i, j]) ** 2 for m in range(first, last))
        out[n, c, i, j] = x[n, c, i, j] / (k + alpha / size * energy) ** beta
    return out
