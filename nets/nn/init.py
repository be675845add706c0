"""Weight initialisation: Glorot, He and bilinear filters, all drawn from one generator.

Every layer draws from a per-thread generator with a fixed initial seed, so that the same program
builds the same weights; `seed` reseeds it.

References: Glorot & Bengio, Understanding the difficulty of training deep feedforward neural
networks, AISTATS 2010; He et al., Delving deep into rectifiers, ICCV 2015, section 2.2;
Long et al., Fully convolutional networks for semantic segmentation, CVPR 2015, section 3.3.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import NetError

Weights = NDArray[np.float32]
Shape = tuple[int, ...]
GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


class _Source(threading.local):
    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)
        self.blank = False


_source = _Source()


def seed(value: int | np.random.Generator) -> np.random.Generator:
    """Seed the initialisation of this thread, or set its generator.

    Parameters
    ----------
    value : int or numpy Generator
        A seed, or the generator itself.

    Returns
    -------
    numpy Generator
        The generator of initial weights; the generators of dropout layers are spawned from it.
    """
    if not isinstance(value, np.random.Generator):
        if not isinstance(value, (int, np.integer)) or value < 0:
            raise NetError(
                f"`seed` must be a non-negative integer or a numpy Generator, got {value!r}"
            )
        value = np.random.default_rng(int(value))
    _source.generator = value
    return value


def generator() -> np.random.Generator:
    """Return the generator of this thread."""
    return _source.generator


def child() -> np.random.Generator:
    """Spawn an independent generator, without changing what the others draw."""
    return _source.generator.spawn(1)[0]


@contextlib.contextmanager
def blank() -> Iterator[None]:
    """Context manager that builds layers of zeros, allocated only when weights are loaded."""
    before, _source.blank = _source.blank, True
    try:
        yield
    finally:
        _source.blank = before


def uniform(shape: Shape, bound: float) -> Weights:
    """Draw uniform values between -bound and bound."""
    if _source.blank:
        return np.zeros(shape, np.float32)
    x = _source.generator.random(shape, np.float32)
    x -= np.float32(0.5)
    x *= np.float32(2 * bound)
    return x


def normal(shape: Shape, std: float, mean: float = 0.0) -> Weights:
    """Draw Gaussian values of mean ``mean`` and standard deviation ``std``."""
    if _source.blank:
        return np.zeros(shape, np.float32)
    x = _source.generator.standard_normal(shape, np.float32)
    x *= np.float32(std)
    x += np.float32(mean)
    return x


def fans(shape: Shape) -> tuple[int, int]:
    """Return fan-in and fan-out of weights (out, in, ...)."""
    if len(shape) < 2:
        raise NetError(f"weights of shape {shape} have no fan-in and fan-out: 2 axes are needed")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def gain(nonlinearity: str, slope: float = 0.0) -> float:
    """Return the gain on the standard deviation that compensates for the nonlinearity."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        names = ", ".join([*GAINS, "leaky_relu"])
        raise NetError(f"`nonlinearity` must be one of {names}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


def xavier_uniform(shape: Shape, *, gain: float = 1.0) -> Weights:
    """Keep the variance in both forward and backward pass (Glorot & Bengio, equation 16).

    Parameters
    ----------
    shape : tuple of int
        Of weights (out, in, ...).
    gain : float
        Of the nonlinearity that follows, see `gain`.
    """
    return uniform(shape, gain * math.sqrt(6 / sum(fans(shape))))


def xavier_normal(shape: Shape, *, gain: float = 1.0) -> Weights:
    """Like `xavier_uniform`, from a Gaussian."""
    return normal(shape, gain * math.sqrt(2 / sum(fans(shape))))


def he_uniform(
    shape: Shape, *, slope: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Weights:
    """Keep the variance through rectifiers (He et al., equation 10).

    Parameters
    ----------
    shape : tuple of int
        Of weights (out, in, ...).
    slope : float
        Negative slope of a leaky rectifier.
    mode : "fan_in" or "fan_out"
        Keep the variance in the forward or in the backward pass.
    nonlinearity : str
        The nonlinearity that follows, see `gain`.
    """
    return uniform(shape, math.sqrt(3) * _he(shape, slope, mode, nonlinearity))


def he_normal(
    shape: Shape, *, slope: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Weights:
    """Like `he_uniform`, from a Gaussian."""
    return normal(shape, _he(shape, slope, mode, nonlinearity))


def _he(shape: Shape, slope: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise NetError(f"`mode` must be 'fan_in' or 'fan_out', got {mode!r}")
    return gain(nonlinearity, slope) / math.sqrt(fans(shape)[mode == "fan_out"])


def bilinear(shape: Shape) -> Weights:
    """Return bilinear weights (in, out, k, k) for a transposed convolution of stride k // 2.

    Channel i maps to channel i only; depthwise weights have shape (in, 1, k, k).
    """
    if len(shape) != 4 or (shape[0] != shape[1] and shape[1] != 1):
        raise NetError(f"bilinear weights are (n, n, k, k) or (n, 1, k, k), not {shape}")
    weights = np.zeros(shape, np.float32)
    rows, cols = (_tent(k) for k in shape[2:])
    index = np.arange(shape[0])
    weights[index, index if shape[1] > 1 else 0] = np.outer(rows, cols)
    return weights


def _tent(k: int) -> NDArray[Any]:
    factor = (k + 1) // 2
    centre = factor - 1 if k % 2 else factor - 0.5
    tent: NDArray[Any] = 1 - np.abs(np.arange(k) - centre) / factor
    return tent
