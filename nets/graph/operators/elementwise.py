"""Operators that treat every number alike: arithmetic, comparisons, activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import (
    OPERATORS,
    Operator,
    Spec,
    broadcast,
    broadcast_shape,
    compare,
    operator,
    same,
)
from vj.errors import NetError


def _erf(x: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(x))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: Array) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def _gelu(node: Node, x: Array) -> Array:
    if node.get("approximate", b"none") in (b"tanh", "tanh"):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu(node: Node, x: Array) -> Array:
    alpha = node.get("alpha", 1.67326319217681884765625)
    return node.get("gamma", 1.05070102214813232421875) * _elu(x, alpha)


def _celu(node: Node, x: Array) -> Array:
    alpha = node.get("alpha", 1.0)
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * x + beta, 0, 1)


def _shrink(node: Node, x: Array) -> Array:
    bias, limit = node.get("bias", 0.0), node.get("lambd", 0.5)
    return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0))


def _is_inf(node: Node, x: Array) -> Array:
    up, down = node.get("detect_positive", 1), node.get("detect_negative", 1)
    return np.isinf(x) & (((x > 0) & bool(up)) | ((x < 0) & bool(down)))


_FLOAT: dict[str, Callable[[Node, Array], Any]] = {
    "Acos": lambda n, x: np.arccos(x),
    "Acosh": lambda n, x: np.arccosh(x),
    "Asin": lambda n, x: np.arcsin(x),
    "Asinh": lambda n, x: np.arcsinh(x),
    "Atan": lambda n, x: np.arctan(x),
    "Atanh": lambda n, x: np.arctanh(x),
    "Ceil": lambda n, x: np.ceil(x),
    "Celu": _celu,
    "Cos": lambda n, x: np.cos(x),
    "Cosh": lambda n, x: np.cosh(x),
    "Elu": lambda n, x: _elu(x, n.get("alpha", 1.0)),
    "Erf": lambda n, x: _erf(x),
    "Exp": lambda n, x: np.exp(x),
    "Floor": lambda n, x: np.floor(x),
    "Gelu": _gelu,
    "HardSigmoid": lambda n, x: _hard_sigmoid(x, n.get("alpha", 0.2), n.get("beta", 0.5)),
    "HardSwish": lambda n, x: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "LeakyRelu": lambda n, x: np.where(x < 0, n.get("alpha", 0.01) * x, x),
    "Log": lambda n, x: np.log(x),
    "Mish": lambda n, x: x * np.tanh(softplus(x)),
    "Reciprocal": lambda n, x: np.reciprocal(x),
    "Round": lambda n, x: np.rint(x),
    "Selu": _selu,
    "Sigmoid": lambda n, x: sigmoid(x),
    "Sin": lambda n, x: np.sin(x),
    "Sinh": lambda n, x: np.sinh(x),
    "Softplus": lambda n, x: softplus(x),
    "Softsign": lambda n, x: x / (1 + np.abs(x)),
    "Sqrt": lambda n, x: np.sqrt(x),
    "Swish": lambda n, x: x * sigmoid(n.get("alpha", 1.0) * x),
    "Tan": lambda n, x: np.tan(x),
    "Tanh": lambda n, x: np.tanh(x),
    "ThresholdedRelu": lambda n, x: np.where(x > n.get("alpha", 1.0), x, 0),
}
_NUMBER: dict[str, Callable[[Node, Array], Any]] = {
    "Abs": lambda n, x: np.abs(x),
    "Neg": lambda n, x: np.negative(x),
    "Relu": lambda n, x: np.maximum(x, 0),
    "Shrink": _shrink,
    "Sign": lambda n, x: np.sign(x),
}


def _as_input(function: Callable[[Node, Array], Any]) -> Callable[[Node, Array], Array]:
    """Constants in a formula must not widen the result."""
    return lambda node, x: np.asarray(function(node, x), dtype=x.dtype)


for _name, _function in _FLOAT.items():
    OPERATORS[_name] = Operator(_as_input(_function), same, 1, 1, "f")
for _name, _function in _NUMBER.items():
    OPERATORS[_name] = Operator(_as_input(_function), same, 1, 1, "fiu")
for _name, _function in {"IsInf": _is_inf, "IsNaN": lambda n, x: np.isnan(x)}.items():
    OPERATORS[_name] = Operator(_function, compare, 1, 1, "f")
OPERATORS["Not"] = Operator(lambda n, x: ~x, same, 1, 1, "b")

# --------------------------------------------------------------------------- two inputs and more


@operator("Div", infer=broadcast, inputs=(2, 2), kinds="fiu")
def divide(node: Node, a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if a.dtype.kind == "u":
        return np.asarray(a // b)
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)


@operator("Mod", infer=broadcast, inputs=(2, 2), kinds="fiu")
def modulo(node: Node, a: Array, b: Array) -> Array:
    """With ``fmod`` the sign of the dividend, else that of the divisor."""
    return np.asarray(np.fmod(a, b) if node.get("fmod", 0) else np.mod(a, b))


@operator("Pow", infer=broadcast, inputs=(2, 2), kinds="fiu")
def power(node: Node, a: Array, b: Array) -> Array:
    """The result has the dtype of the base."""
    if a.dtype.kind == "f":
        return np.asarray(np.power(a, b.astype(a.dtype)))
    return np.asarray(np.power(a.astype(np.float64), b)).astype(a.dtype)


def _pairwise(function: Callable[[Array, Array], Any]) -> Callable[..., Array]:
    return lambda node, a, b: np.asarray(function(a, b))


def _many(function: Callable[[Array, Array], Any]) -> Callable[..., Array]:
    return lambda node, *arrays: np.asarray(reduce(function, arrays))


_ARITHMETIC: dict[str, Callable[[Array, Array], Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
}
_COMPARISONS: dict[str, tuple[Callable[[Array, Array], Any], str]] = {
    "And": (np.logical_and, "b"),
    "Or": (np.logical_or, "b"),
    "Xor": (np.logical_xor, "b"),
    "Equal": (np.equal, "fiub"),
    "Greater": (np.greater, "fiu"),
    "GreaterOrEqual": (np.greater_equal, "fiu"),
    "Less": (np.less, "fiu"),
    "LessOrEqual": (np.less_equal, "fiu"),
}
_VARIADIC: dict[str, tuple[Callable[[Array, Array], Any], str]] = {
    "Max": (np.maximum, "fiu"),
    "Min": (np.minimum, "fiu"),
    "Sum": (np.add, "f"),
}
for _name, _pair in _ARITHMETIC.items():
    OPERATORS[_name] = Operator(_pairwise(_pair), broadcast, 2, 2, "fiu")
for _name, (_pair, _kinds) in _COMPARISONS.items():
    OPERATORS[_name] = Operator(_pairwise(_pair), compare, 2, 2, _kinds)
for _name, (_pair, _kinds) in _VARIADIC.items():
    OPERATORS[_name] = Operator(_many(_pair), broadcast, 1, None, _kinds)


@operator("Mean", infer=broadcast, inputs=(1, None), kinds="f")
def mean(node: Node, *arrays: Array) -> Array:
    """Mean of the inputs, number by number."""
    return np.asarray(reduce(np.add, arrays) / len(arrays))


def _infer_prelu(node: Node, x: Spec, slope: Spec) -> Spec:
    if broadcast_shape([x.dims, slope.dims]) != x.dims:
        raise NetError(f"slope of shape {slope.dims} does not broadcast to {x.dims}")
    return Spec(x.dims, x.dtype)


@operator("PRelu", infer=_infer_prelu, inputs=(2, 2), kinds="fiu")
def prelu(node: Node, x: Array, slope: Array) -> Array:
    """``slope * x`` below zero."""
    return np.where(x < 0, slope * x, x)


def _infer_clip(node: Node, x: Spec, *limits: Spec | None) -> Spec:
    for spec in limits:
        if spec is not None and (spec.dims not in ((), (1,)) or spec.dtype != x.dtype):
            raise NetError(f"a limit must be a single {x.dtype}, got {spec.dtype} {spec.dims}")
    return Spec(x.dims, x.dtype)


@operator("Clip", infer=_infer_clip, inputs=(1, 3), kinds="fiu")
def clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Limits are attributes up to opset 10, inputs since."""
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")
    out = x
    if low is not None:
        out = np.maximum(out, low)
    if high is not None:
        out = np.minimum(out, high)
    return np.asarray(out, x.dtype)


def _infer_where(node: Node, mask: Spec, a: Spec, b: Spec) -> Spec:
    if a.dtype != b.dtype:
        raise NetError(f"choices have dtypes {a.dtype} and {b.dtype}; cast one")
    return Spec(broadcast_shape([mask.dims, a.dims, b.dims]), a.dtype)


@operator("Where", infer=_infer_where, inputs=(3, 3), kinds="b")
def where(node: Node, mask: Array, a: Array, b: Array) -> Array:
    """``a`` where the mask is set, ``b`` elsewhere."""
    return np.where(mask, a, b)
