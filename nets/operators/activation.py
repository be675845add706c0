"""Elementwise functions of one array: activations, roots, trigonometry, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pointwise
from nets.operators.base import (
    FLOAT32,
    OPERATORS,
    Operator,
    broadcast_shape,
    compare,
    operator,
    same,
)
from nets.operators.convolution.layer import Conv
from nets.operators.layer import Layer, Places, Step, runs
from nets.operators.lowering import Lowering, by_channel, lowers
from nets.operators.writer import Result, Writer, exports, exports_as
from vj.errors import NetError


def _erf(x: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(x))


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))`` without overflow."""
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
    """Cast to the input's dtype: constants in a formula must not promote the result."""
    return lambda node, x: np.asarray(function(node, x), dtype=x.dtype)


for _name, _function in _FLOAT.items():
    OPERATORS[_name] = Operator(_as_input(_function), same, 1, 1, "f")


for _name, _function in _NUMBER.items():
    OPERATORS[_name] = Operator(_as_input(_function), same, 1, 1, "fiu")


for _name, _function in {"IsInf": _is_inf, "IsNaN": lambda n, x: np.isnan(x)}.items():
    OPERATORS[_name] = Operator(_function, compare, 1, 1, "f")


OPERATORS["Not"] = Operator(lambda n, x: ~x, same, 1, 1, "b")


def _infer_prelu(node: Node, x: Spec, slope: Spec) -> Spec:
    if broadcast_shape([x.dims, slope.dims]) != x.dims:
        raise NetError(f"slope of shape {slope.dims} does not broadcast to {x.dims}")
    return Spec(x.dims, x.dtype)


@operator("PRelu", infer=_infer_prelu, inputs=(2, 2), kinds="fiu")
def prelu(node: Node, x: Array, slope: Array) -> Array:
    """Return ``slope * x`` below zero, x elsewhere."""
    return np.where(x < 0, slope * x, x)


def _infer_clip(node: Node, x: Spec, *limits: Spec | None) -> Spec:
    for spec in limits:
        if spec is not None and (spec.dims not in ((), (1,)) or spec.dtype != x.dtype):
            raise NetError(f"a limit must be a single {x.dtype}, got {spec.dtype} {spec.dims}")
    return Spec(x.dims, x.dtype)


@operator("Clip", infer=_infer_clip, inputs=(1, 3), kinds="fiu")
def clip(node: Node, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    """Clip; limits are attributes up to opset 10, inputs since."""
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")
    out = x
    if low is not None:
        out = np.maximum(out, low)
    if high is not None:
        out = np.minimum(out, high)
    return np.asarray(out, x.dtype)


# --------------------------------------------------------------------------------------- compiled


class Unary(Layer):
    """A function of one array, then a clamp."""

    kind = "unary"
    can_clamp = True

    def __init__(
        self, name: str, source: str, output: str, code: int, a: float = 0.0, b: float = 0.0
    ) -> None:
        super().__init__(name, [source], output)
        self.code, self.a, self.b = code, a, b

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]), place(self.output)
        exact = self.code in (pointwise.EXP, pointwise.SQRT)  # may produce non-finite values
        cut = runs(x, y, exact)
        shape = geometry(
            x.layout._replace(pixel=cut.x_pixel), y.layout._replace(pixel=cut.y_pixel),
            cut.rows, cut.cols, cut.run, [self.code, 0],
        )  # fmt: skip
        parameters = np.array([self.a, self.b], np.float32)
        rows = y.layout.images * cut.rows
        return [Step(pointwise.map_unary, shape, rows, bias=parameters, lo=self.lo, hi=self.hi)]


@lowers("Relu", "Clip")
def lower_clamp(lowering: Lowering, node: Node) -> bool:
    """Lower a clamp, fused into the preceding layer if only this node reads it."""
    lo, hi = 0.0, inf
    if node.op == "Clip":
        low, high = lowering.constant(node, 1), lowering.constant(node, 2)
        for i, value in enumerate((low, high), 1):
            if len(node.inputs) > i and node.inputs[i] and value is None:
                return False
        lo = float(node.get("min", -inf)) if low is None else low.item()
        hi = float(node.get("max", inf)) if high is None else high.item()
        if lo > hi or lowering.spec(node.inputs[0]).dtype != FLOAT32:
            return False
    before = lowering.alone(node.inputs[0])
    if before is not None and before.can_clamp:
        before.clamp(lo, hi)
        return lowering.absorb(before, node.outputs[0])
    form = lowering.form(node.inputs[0])
    if form is None:
        return False
    layer = Unary(node.name, node.inputs[0], node.outputs[0], pointwise.COPY)
    layer.clamp(lo, hi)
    return lowering.add(layer, form)


@lowers("PRelu", "LeakyRelu")
def lower_prelu(lowering: Lowering, node: Node) -> bool:
    """Lower PReLU, fused into a convolution, else as a depthwise convolution with one tap of 1."""
    x = lowering.image(node.inputs[0])
    if x is None:
        return False
    rank = lowering.spec(node.inputs[0]).rank
    given = lowering.constant(node, 1)
    if node.op == "LeakyRelu":
        given = np.array(node.get("alpha", 0.01), np.float32)
    slope = by_channel(given, x, rank)
    if slope is None:
        return False
    before = lowering.alone(node.inputs[0])
    if isinstance(before, Conv) and before.linear:
        before.slope = slope
        return lowering.absorb(before, node.outputs[0])
    ones = np.ones((x.channels, 1, 1, 1), np.float32)
    layer = Conv(node.name, node.inputs[0], node.outputs[0], x, x, ones, None, groups=x.channels)
    layer.slope = slope
    return lowering.add(layer, x)


UNARY: dict[str, tuple[int, tuple[tuple[str, float], ...]]] = {
    "Sigmoid": (pointwise.SIGMOID, ()),
    "Tanh": (pointwise.TANH, ()),
    "Exp": (pointwise.EXP, ()),
    "Elu": (pointwise.ELU, (("alpha", 1.0),)),
    "HardSigmoid": (pointwise.HARD_SIGMOID, (("alpha", 0.2), ("beta", 0.5))),
    "HardSwish": (pointwise.HARD_SWISH, (("", 1 / 6), ("", 0.5))),
    "Swish": (pointwise.SWISH, (("alpha", 1.0),)),
    "Sqrt": (pointwise.SQRT, ()),
    "Abs": (pointwise.ABS, ()),
}


@lowers(*UNARY)
def lower_function(lowering: Lowering, node: Node) -> bool:
    """Lower a function of an array that is already in the arena."""
    form = lowering.form(node.inputs[0])
    if form is None:
        return False
    code, attrs = UNARY[node.op]
    values = [float(node.get(name, default)) for name, default in attrs]
    layer = Unary(node.name, node.inputs[0], node.outputs[0], code, *values)
    return lowering.add(layer, form)


# --------------------------------------------------------------------------------------- exported


exports_as(
    absolute="Abs", exp="Exp", hardswish="HardSwish", log="Log", relu="Relu", sigmoid="Sigmoid",
    softplus="Softplus", tanh="Tanh",
)  # fmt: skip


@exports("clip", "relu6")
def export_clip(w: Writer, call: Call) -> Result:
    """Export a clip, whose limits are arrays in ONNX."""
    limits = (call.options.get("low", 0.0), call.options.get("high", 6.0))
    return w.emit("Clip", w.of(call.inputs[0]), *(w.constant(np.float32(v)) for v in limits))


@exports("leaky_relu")
def export_leaky_relu(w: Writer, call: Call) -> Result:
    """Export a leaky ReLU."""
    return w.emit("LeakyRelu", w.of(call.inputs[0]), alpha=float(call.options.get("slope", 0.01)))


@exports("prelu")
def export_prelu(w: Writer, call: Call) -> Result:
    """Export PReLU, with slopes in per-channel shape."""
    x, slope = call.inputs
    shape = (-1, *(1,) * (x.ndim - 2))
    name = w.first.names.get(id(slope.data))
    return w.emit("PRelu", w.of(x), w.constant(slope.data.reshape(shape), name))
