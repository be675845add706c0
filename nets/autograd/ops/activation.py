"""Activation functions and dropout."""

from __future__ import annotations

import math

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import flat, nchw, nhwc, unflat
from nets.autograd.tensor import Grads, Needs, Vjp, op
from nets.kernels import logistic, piecewise_linear
from nets.runtime.memory import empty
from nets.runtime.threads import share_numbers
from vj.errors import NetError


@op
def relu(x: Array) -> tuple[Array, Vjp]:
    """Return max(x, 0); the gradient at 0 is 0."""
    y = _piecewise_linear(x, x)
    return y, lambda g, needs: (_piecewise_linear(y, g),)


@op
def relu6(x: Array) -> tuple[Array, Vjp]:
    """Clamp x to 0..6; the gradient is 0 at and beyond the ends."""
    y = _piecewise_linear(x, x, end=6.0, top=6.0)
    return y, lambda g, needs: (_piecewise_linear(y, g, end=6.0),)


@op
def leaky_relu(x: Array, *, slope: float = 0.01) -> tuple[Array, Vjp]:
    """Return x above 0 and ``slope * x`` elsewhere."""
    return _piecewise_linear(x, x, slope), lambda g, needs: (_piecewise_linear(x, g, slope),)


def _piecewise_linear(
    s: Array, v: Array, slope: float = 0.0, end: float = math.nan, top: float = 0.0
) -> Array:
    """Return v, but ``slope * v`` where s <= 0 and ``top`` where s >= ``end``."""
    if v.dtype != np.float32:
        return np.where(s <= 0, slope * v if slope else 0, np.where(s >= end, top, v))
    given = flat(s)
    numbers, out = given if v is s else flat(v), empty(given.size)
    share_numbers(
        piecewise_linear.piecewise_linear, given, numbers, slope, end, top, out, size=out.size
    )
    return unflat(out, s.shape)


@op
def prelu(x: Array, slope: Array) -> tuple[Array, Vjp]:
    """Return x above 0 and trained slopes (one, or one per channel) times x elsewhere.

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
    """Return ``x * relu6(x + 3) / 6`` (Howard et al., Searching for MobileNetV3, ICCV 2019)."""
    gate = np.clip(x + 3, 0, 6) / 6

    def vjp(g: Array, needs: Needs) -> Grads:
        slope = np.where(x <= -3, 0, np.where(x < 3, x / 3 + 0.5, 1)).astype(x.dtype)
        return (g * slope,)

    return x * gate, vjp


@op
def sigmoid(x: Array) -> tuple[Array, Vjp]:
    """Return ``1 / (1 + exp(-x))``."""
    y, _ = logistic_of(x)
    return y, lambda g, needs: (_slope(y, g, 0.0, 1.0),)


@op
def tanh(x: Array) -> tuple[Array, Vjp]:
    """Return the hyperbolic tangent."""
    y = np.tanh(x)
    return y, lambda g, needs: (_slope(y, g, 1.0, 0.0),)


def _slope(y: Array, g: Array, plain: float, linear: float) -> Array:
    """Return ``g * (plain + linear * y - y * y)``."""
    if y.dtype != np.float32:
        back: Array = g * (plain + y * (linear - y))
        return back
    given, grads, out = flat(y), flat(g), empty(y.size)
    share_numbers(logistic.slope, given, grads, plain, linear, out, size=y.size)
    return unflat(out, y.shape)


@op
def softplus(x: Array) -> tuple[Array, Vjp]:
    """Return ``log(1 + exp(x))``, numerically stable."""
    y, rest = logistic_of(x)
    return np.maximum(x, 0) + rest, lambda g, needs: (g * y,)


@op
def softmax(x: Array, *, axis: int) -> tuple[Array, Vjp]:
    """Return ``exp(x) / sum(exp(x))`` along an axis."""
    _check_axis("softmax", x, axis)
    y = np.exp(log_softmax_of(planes(x, axis)))

    def vjp(g: Array, needs: Needs) -> Grads:
        given = planes(g, axis)
        return (unplanes(y * (given - np.sum(given * y, 0)), x.shape, axis),)

    return unplanes(y, x.shape, axis), vjp


@op
def log_softmax(x: Array, *, axis: int) -> tuple[Array, Vjp]:
    """Return ``x - log(sum(exp(x)))`` along an axis, numerically stable."""
    _check_axis("log_softmax", x, axis)
    y = log_softmax_of(planes(x, axis))

    def vjp(g: Array, needs: Needs) -> Grads:
        given = planes(g, axis)
        return (unplanes(given - np.exp(y) * np.sum(given, 0), x.shape, axis),)

    return unplanes(y, x.shape, axis), vjp


@op
def maxout(x: Array, *, pieces: int, axis: int = 1) -> tuple[Array, Vjp]:
    """Return the maximum of each ``pieces`` neighbouring channels; ties go to the first.

    Parameters
    ----------
    x : array
    pieces : int
        A divisor of the number of channels.
    axis : int
        Axis of the channels.

    Raises
    ------
    NetError
        ``pieces`` does not divide the channels.

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
    """Zero elements with probability ``p``, divide the others by ``1 - p``.

    Parameters
    ----------
    x : array of any shape
    p : float
        0 to 1.
    rng : Generator
        Source of randomness.

    Raises
    ------
    NetError
        ``p`` is not a probability.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.
    """
    if not 0 <= p <= 1:
        raise NetError(f"dropout: `p` must be from 0 to 1, got {p}")
    kept = rng.random(x.shape, np.float32) >= p
    factor = kept * x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return x * factor, lambda g, needs: (g * factor,)


def logistic_of(x: Array) -> tuple[Array, Array]:
    """Return ``1 / (1 + exp(-x))`` and ``log(1 + exp(-abs(x)))``, numerically stable."""
    if x.dtype != np.float32:
        small = np.exp(-np.abs(x))
        return np.where(x >= 0, 1, small) / (1 + small), np.log1p(small)
    given = flat(x)
    y, rest = empty(given.size), empty(given.size)
    share_numbers(logistic.logistic, given, y, rest, size=given.size)
    return unflat(y, x.shape), unflat(rest, x.shape)


def sigmoid_of(x: Array) -> Array:
    """Return the logistic function of an array."""
    return logistic_of(x)[0]


def planes(x: Array, axis: int) -> Array:
    """Move the axis to the front and flatten the rest: reductions then run over long rows."""
    return np.ascontiguousarray(np.moveaxis(x, axis, 0)).reshape(x.shape[axis], -1)


def unplanes(numbers: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Undo `planes` for an array of ``shape``."""
    rest = (*shape[:axis], *shape[axis % len(shape) + 1 :])
    x = np.moveaxis(numbers.reshape(shape[axis], *rest), 0, axis)
    return nchw(nhwc(x)) if x.ndim == 4 else np.ascontiguousarray(x)


def log_softmax_of(x: Array) -> Array:
    """Return the log-softmax along the first axis."""
    top = np.max(x, 0)
    low = x - np.where(np.isfinite(top), top, 0)
    low -= np.log(np.sum(np.exp(low), 0))
    return low


def _check_axis(name: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise NetError(f"{name}: x of shape {x.shape} has no axis {axis}")
