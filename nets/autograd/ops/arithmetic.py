"""Elementwise arithmetic with broadcasting, reductions, matrix products, shape operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import unbroadcast
from nets.autograd.ops.matmul import product
from nets.autograd.tensor import SYNTAX, Axes, Grads, Needs, Vjp, op
from vj.errors import NetError


def _together(name: str, a: Array, b: Array) -> None:
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise NetError(f"{name}: shapes {a.shape} and {b.shape} do not broadcast") from None


@op
def add(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Return a + b."""
    _together("add", a, b)

    def vjp(g: Array, needs: Needs) -> Grads:
        return unbroadcast(g, a.shape), unbroadcast(g, b.shape)

    return a + b, vjp


@op
def subtract(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Return a - b."""
    _together("subtract", a, b)

    def vjp(g: Array, needs: Needs) -> Grads:
        return unbroadcast(g, a.shape), unbroadcast(-g, b.shape) if needs[1] else None

    return a - b, vjp


@op
def multiply(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Return a * b."""
    _together("multiply", a, b)

    def vjp(g: Array, needs: Needs) -> Grads:
        return (
            unbroadcast(g * b, a.shape) if needs[0] else None,
            unbroadcast(g * a, b.shape) if needs[1] else None,
        )

    return a * b, vjp


@op
def divide(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Return a / b."""
    _together("divide", a, b)
    y = a / b

    def vjp(g: Array, needs: Needs) -> Grads:
        ga = g / b
        return unbroadcast(ga, a.shape), unbroadcast(-ga * y, b.shape) if needs[1] else None

    return y, vjp


@op
def power(x: Array, *, exponent: float) -> tuple[Array, Vjp]:
    """Raise x to a fixed power."""
    return x**exponent, lambda g, needs: (g * (exponent * x ** (exponent - 1)),)


@op
def exp(x: Array) -> tuple[Array, Vjp]:
    """Return the exponential."""
    y = np.exp(x)
    return y, lambda g, needs: (g * y,)


@op
def log(x: Array) -> tuple[Array, Vjp]:
    """Return the natural logarithm."""
    return np.log(x), lambda g, needs: (g / x,)


@op
def absolute(x: Array) -> tuple[Array, Vjp]:
    """Return |x|, with gradient 0 at 0."""
    return np.abs(x), lambda g, needs: (g * np.sign(x),)


@op
def clip(x: Array, *, low: float, high: float) -> tuple[Array, Vjp]:
    """Clamp x to ``low..high``; the gradient is 0 where x is clamped."""
    inside = (x >= low) & (x <= high)
    return np.clip(x, low, high), lambda g, needs: (g * inside,)


@op
def maximum(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Return the elementwise maximum; ties share the gradient, as in PyTorch."""
    _together("maximum", a, b)
    share = (a > b) + 0.5 * (a == b)

    def vjp(g: Array, needs: Needs) -> Grads:
        left = (g * share).astype(g.dtype)
        return unbroadcast(left, a.shape), unbroadcast(g - left, b.shape)

    return np.maximum(a, b), vjp


@op
def sum(x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Vjp]:
    """Sum over axes (all of them by default)."""
    kept = np.sum(x, axis=axis, keepdims=True)

    def vjp(g: Array, needs: Needs) -> Grads:
        return (np.broadcast_to(g.reshape(kept.shape), x.shape),)

    return kept if keepdims else np.squeeze(kept, axis), vjp


@op
def mean(x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Vjp]:
    """Mean over axes (all of them by default)."""
    kept = np.mean(x, axis=axis, keepdims=True)
    share = x.dtype.type(kept.size / x.size)

    def vjp(g: Array, needs: Needs) -> Grads:
        return (np.broadcast_to(g.reshape(kept.shape) * share, x.shape),)

    return kept if keepdims else np.squeeze(kept, axis), vjp


@op
def matmul(a: Array, b: Array) -> tuple[Array, Vjp]:
    """Multiply matrices, or stacks of matrices along leading axes."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise NetError(f"matmul: shapes {a.shape} and {b.shape} do not fit each other")

    def vjp(g: Array, needs: Needs) -> Grads:
        ga = unbroadcast(product(g, b.swapaxes(-1, -2)), a.shape) if needs[0] else None
        gb = unbroadcast(product(a.swapaxes(-1, -2), g), b.shape) if needs[1] else None
        return ga, gb

    return product(a, b), vjp


@op
def reshape(x: Array, *, shape: tuple[int, ...]) -> tuple[Array, Vjp]:
    """Reshape x; one size may be -1."""
    try:
        y = x.reshape(shape)
    except ValueError:
        raise NetError(f"reshape: x of shape {x.shape} does not fit {shape}") from None
    return y, lambda g, needs: (g.reshape(x.shape),)


@op
def permute(x: Array, *, axes: tuple[int, ...]) -> tuple[Array, Vjp]:
    """Permute the axes."""
    if sorted(axes) != list(range(x.ndim)):
        raise NetError(
            f"permute: axes {axes} are not a permutation of the {x.ndim} axes of {x.shape}"
        )
    back = tuple(int(i) for i in np.argsort(axes))
    return x.transpose(axes), lambda g, needs: (g.transpose(back),)


@op
def take(x: Array, *, key: Any) -> tuple[Array, Vjp]:
    """``x[key]``: slices, integers, or index arrays (gradients of repeated indices add up)."""

    def vjp(g: Array, needs: Needs) -> Grads:
        gx = np.zeros_like(x)
        np.add.at(gx, key, g)
        return (gx,)

    return x[key], vjp


@op
def concat(*xs: Array, axis: int = 0) -> tuple[Array, Vjp]:
    """Join along an existing axis."""
    ends = np.cumsum([x.shape[axis] for x in xs])[:-1]
    try:
        y = np.concatenate(xs, axis)
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise NetError(f"concat: shapes {shapes} differ outside axis {axis}") from None
    return y, lambda g, needs: tuple(np.split(g, ends, axis))


@op
def stack(*xs: Array, axis: int = 0) -> tuple[Array, Vjp]:
    """Join along a new axis."""

    def vjp(g: Array, needs: Needs) -> Grads:
        return tuple(np.moveaxis(g, axis, 0))

    return np.stack(xs, axis), vjp


SYNTAX.update(
    add=add, divide=divide, matmul=matmul, mean=mean, multiply=multiply, permute=permute,
    power=power, reshape=reshape, subtract=subtract, sum=sum, take=take,
)  # fmt: skip
