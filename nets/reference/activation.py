"""Activation functions."""

from __future__ import annotations

import math

import numpy as np

from nets.reference.arrays import Array


def relu(x: float) -> float:
    """Rectified linear unit. Nair & Hinton, ICML 2010."""
    return max(x, 0.0)


def leaky_relu(x: float, slope: float) -> float:
    """Leaky ReLU; PReLU if each channel's slope is trained: He et al., ICCV 2015."""
    return x if x >= 0 else slope * x


def relu6(x: float) -> float:
    """ReLU clipped at 6. Howard et al., MobileNets, 2017."""
    return min(max(x, 0.0), 6.0)


def sigmoid(x: float) -> float:
    """Logistic function."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def hard_swish(x: float) -> float:
    """Hard swish. Howard et al., Searching for MobileNetV3, ICCV 2019."""
    return x * relu6(x + 3) / 6


def softmax(values: Array) -> Array:
    """Exponentials normalised to sum 1."""
    powers = [math.exp(v - max(values)) for v in values]
    return np.array(powers) / sum(powers)


def maxout(x: Array, pieces: int) -> Array:
    """Maximum of every ``pieces`` neighbouring channels. Goodfellow et al., ICML 2013."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels // pieces, high, wide))
    for n, k, i, j in np.ndindex(out.shape):
        out[n, k, i, j] = max(x[n, k * pieces + p, i, j] for p in range(pieces))
    return out
