"""Activations: functions of one number at a time, of a few channels, and dropout."""

from __future__ import annotations

import math

import numpy as np

from nets.graph.ir import Array
from nets.kernels import bend
from nets.ops.base import flat, unflat
from nets.ops.threads import share
from nets.tensor import Grads, Needs, Vjp, op
from vj.errors import NetError

SMALL = 1 << 16  # numbers that are not worth a second thread
BLOCK = 1 << 10


@op
def relu(x: Array) -> tuple[Array, Vjp]:
    """X where positive, 0 elsewhere; the gradient at 0 is 0."""
    y = _bend(x, x)
    return y, lambda g, needs: (_bend(y, g),)


@op
def relu6(x: Array) -> tuple[Array, Vjp]:
    """X clamped to 0..6; no gradient flows at or beyond the ends."""
    y = _bend(x, x, end=6.0, top=6.0)
    return y, lambda g, needs: (_bend(y, g, end=6.0),)


@op
def leaky_relu(x: Array, *, slope: float = 0.01) -> tuple[Array, Vjp]:
    """X where positive, ``slope * x`` elsewhere."""
    return _bend(x, x, slope), lambda g, needs: (_bend(x, g, slope),)


def _bend(s: Array, v: Array, slope: float = 0.0, end: float = math.nan, top: float = 0.0) -> Array:
    """Values v; ``slope`` times them where s <= 0, ``top`` where s >= ``end``."""
    if v.dtype != np.float32:
        return np.where(s <= 0, slope * v if slope else 0, np.where(s >= end, top, v))
    given, numbers = flat(s), flat(v)
    out = np.empty_like(given)
    share(
        -(-out.size // BLOCK),
        lambda i, j: bend.bend(
            given, numbers, slope, end, top, out, i * BLOCK, min(j * BLOCK, out.size)
        ),
        small=out.size < SMALL,
    )
    return unflat(out, s.shape)


@op
def prelu(x: Array, slope: Array) -> tuple[Array, Vjp]:
    """X where positive, ``slope * x`` elsewhere, with one learned slope or one for each channel.

    Parameters
    ----------
    x : (N, C, ...)
    slope : (1,) or (C,)

    Raises
    ------
    NetError
        The number of slopes is neither 1 nor that of the channels.

    References
    ----------
    He et al., Delving deep into rectifiers, ICCV 2015.
    """
    channels = x.shape[1] if x.ndim > 1 else 1
    if slope.shape not in ((1,), (channels,)):
        raise NetError(f"prelu: slope of shape {slope.shape} does not fit x of shape {x.shape}")
    wide = slope.reshape(-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else slope
    below = ~(x > 0)

    def vjp(g: Array, needs: Needs) -> Grads:
        to_slope = None
        if needs[1]:
            axes = None if slope.size == 1 else (0, *range(2, x.ndim))
            to_slope = np.sum(g * x, axes, where=below).reshape(slope.shape)
        return g * np.where(below, wide, 1) if needs[0] else None, to_slope

    return np.where(below, x * wide, x), vjp


@op
def hardswish(x: Array) -> tuple[Array, Vjp]:
    """``x * relu6(x + 3) / 6`` (Howard et al., Searching for MobileNetV3, ICCV 2019)."""
    gate = np.clip(x + 3, 0, 6) / 6

    def vjp(g: Array, needs: Needs) -> Grads:
        slope = np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1)).astype(x.dtype)
        return (g * slope,)

    return x * gate, vjp


@op
def sigmoid(x: Array) -> tuple[Array, Vjp]:
    """``1 / (1 + exp(-x))``."""
    y = sigmoid_of(x)
    return y, lambda g, needs: (g * (y * (1 - y)),)


@op
def tanh(x: Array) -> tuple[Array, Vjp]:
    """Hyperbolic tangent."""
    y = np.tanh(x)
    return y, lambda g, needs: (g * (1 - y * y),)


@op
def softplus(x: Array) -> tuple[Array, Vjp]:
    """``log(1 + exp(x))``, stable for any x."""
    return np.logaddexp(x, x.dtype.type(0)), lambda g, needs: (g * sigmoid_of(x),)


@op
def softmax(x: Array, *, axis: int) -> tuple[Array, Vjp]:
    """``exp(x) / sum(exp(x))`` along an axis."""
    _check_axis("softmax", x, axis)
    y = np.exp(log_softmax_of(x, axis))

    def vjp(g: Array, needs: Needs) -> Grads:
        return (y * (g - np.sum(g * y, axis, keepdims=True)),)

    return y, vjp


@op
def log_softmax(x: Array, *, axis: int) -> tuple[Array, Vjp]:
    """``x - log(sum(exp(x)))`` along an axis, stable for any x."""
    _check_axis("log_softmax", x, axis)
    y = log_softmax_of(x, axis)

    def vjp(g: Array, needs: Needs) -> Grads:
        return (g - np.exp(y) * np.sum(g, axis, keepdims=True),)

    return y, vjp


@op
def maxout(x: Array, *, pieces: int, axis: int = 1) -> tuple[Array, Vjp]:
    """Largest of each ``pieces`` neighbouring channels; the first of equal ones gets the gradient.

    Raises
    ------
    NetError
        The channels do not divide into pieces.

    References
    ----------
    Goodfellow et al., Maxout networks, ICML 2013.
    """
    _check_axis("maxout", x, axis)
    if pieces < 1 or x.shape[axis] % pieces:
        raise NetError(
            f"maxout: {x.shape[axis]} channels of x {x.shape} do not divide into pieces of {pieces}"
        )
    split = np.moveaxis(x, axis, -1)
    split = split.reshape(*split.shape[:-1], -1, pieces)
    winner = np.argmax(split, -1)[..., None]

    def vjp(g: Array, needs: Needs) -> Grads:
        back = np.zeros_like(split)
        np.put_along_axis(back, winner, np.moveaxis(g, axis, -1)[..., None], -1)
        return (np.moveaxis(back.reshape(*back.shape[:-2], -1), -1, axis),)

    return np.moveaxis(np.take_along_axis(split, winner, -1)[..., 0], -1, axis), vjp


@op
def dropout(x: Array, *, p: float, rng: np.random.Generator) -> tuple[Array, Vjp]:
    """Numbers set to 0 with probability ``p``, the others divided by ``1 - p``.

    Raises
    ------
    NetError
        ``p`` is no probability.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.
    """
    if not 0 <= p <= 1:
        raise NetError(f"dropout: `p` must be from 0 to 1, got {p}")
    kept = rng.random(x.shape, np.float32) >= p
    factor = kept * x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return x * factor, lambda g, needs: (g * factor,)


def sigmoid_of(x: Array) -> Array:
    """The logistic function, without overflow."""
    small = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, x.dtype.type(1), small) / (1 + small)
    return y


def log_softmax_of(x: Array, axis: int) -> Array:
    """Logarithm of the softmax along an axis."""
    top = np.max(x, axis, keepdims=True)
    low = x - np.where(np.isfinite(top), top, 0)
    y: Array = low - np.log(np.sum(np.exp(low), axis, keepdims=True))
    return y


def _check_axis(name: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise NetError(f"{name}: x of shape {x.shape} has no axis {axis}")
