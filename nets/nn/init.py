"""Numbers to begin with, from one generator: what Glorot and He proposed, and bilinear filters.

Every layer draws from the generator of its thread. It starts from a fixed seed, so that the same
program builds the same weights; `seed` sets it anew.

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
    """Let all that follows in this thread draw from a generator, or from one with a seed.

    Parameters
    ----------
    value : int or numpy Generator
        A seed, or the generator itself.

    Returns
    -------
    numpy Generator
        What initial weights come from; the generators of dropout layers are its children.
    """
    if not isinstance(value, np.random.Generator):
        if not isinstance(value, (int, np.integer)) or value < 0:
            raise NetError(f"`seed` must be a number from 0 on or a numpy Generator, got {value!r}")
        value = np.random.default_rng(int(value))
    _source.generator = value
    return value


def generator() -> np.random.Generator:
    """The generator of this thread."""
    return _source.generator


def child() -> np.random.Generator:
    """A generator of its own; making one leaves the numbers of the others as they are."""
    return _source.generator.spawn(1)[0]


@contextlib.contextmanager
def blank() -> Iterator[None]:
    """Build layers of zeros, whose memory is taken when weights are loaded into them."""
    before, _source.blank = _source.blank, True
    try:
        yield
    finally:
        _source.blank = before


def uniform(shape: Shape, bound: float) -> Weights:
    """Numbers between -bound and bound."""
    if _source.blank:
        return np.zeros(shape, np.float32)
    x = _source.generator.random(shape, np.float32)
    x -= np.float32(0.5)
    x *= np.float32(2 * bound)
    return x


def normal(shape: Shape, std: float, mean: float = 0.0) -> Weights:
    """Gaussian numbers of mean ``mean`` and standard deviation ``std``."""
    if _source.blank:
        return np.zeros(shape, np.float32)
    x = _source.generator.standard_normal(shape, np.float32)
    x *= np.float32(std)
    x += np.float32(mean)
    return x


def fans(shape: Shape) -> tuple[int, int]:
    """How many numbers an output of weights (out, in, ...) sums up, and an input goes into."""
    if len(shape) < 2:
        raise NetError(f"weights of shape {shape} have no inputs and outputs: 2 axes are needed")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def gain(nonlinearity: str, slope: float = 0.0) -> float:
    """By what a layer must widen its numbers to make up for the function that follows."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in GAINS:
        names = ", ".join([*GAINS, "leaky_relu"])
        raise NetError(f"`nonlinearity` must be one of {names}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


def xavier_uniform(shape: Shape, *, gain: float = 1.0) -> Weights:
    """Keep the variance forward and backward alike (Glorot & Bengio, equation 16).

    Parameters
    ----------
    shape : tuple of int
        Of weights (out, in, ...).
    gain : float
        For the function that follows, see `gain`.
    """
    return uniform(shape, gain * math.sqrt(6 / sum(fans(shape))))


def xavier_normal(shape: Shape, *, gain: float = 1.0) -> Weights:
    """As `xavier_uniform`, Gaussian."""
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
        Of a leaky rectifier below 0.
    mode : "fan_in" or "fan_out"
        Whether the variance is kept forward or backward.
    nonlinearity : str
        What follows, see `gain`.
    """
    return uniform(shape, math.sqrt(3) * _he(shape, slope, mode, nonlinearity))


def he_normal(
    shape: Shape, *, slope: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Weights:
    """As `he_uniform`, Gaussian."""
    return normal(shape, _he(shape, slope, mode, nonlinearity))


def _he(shape: Shape, slope: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise NetError(f"`mode` must be 'fan_in' or 'fan_out', got {mode!r}")
    return gain(nonlinearity, slope) / math.sqrt(fans(shape)[mode == "fan_out"])


def bilinear(shape: Shape) -> Weights:
    """Weights (in, out, k, k) for a transposed convolution of stride k // 2 that interpolates.

    Channel i goes to channel i alone; of weights (in, 1, k, k), for as many groups, all do.
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
