"""Activations, arithmetic with constants and with other arrays."""

from __future__ import annotations

from math import inf

import numpy as np

from nets.arrays import Array
from nets.compiler.layers.base import Form, Image
from nets.compiler.layers.dense import Conv
from nets.compiler.layers.pointwise import Affine, Binary, Unary
from nets.compiler.layers.window import Resize
from nets.compiler.lower import F32, Lowering, rule
from nets.graph.ir import Node
from nets.kernels import pointwise as codes

CLAMPS = (Conv, Resize, Affine, Binary, Unary)


def vector(value: Array | None, x: Image, rank: int) -> Array | None:
    """A constant as one number for each channel, if it is that or a single number."""
    if value is None or value.dtype != F32:
        return None
    if value.size == 1 and value.ndim <= rank:
        return np.full(x.channels, value.ravel()[0], np.float32)
    shape = (1,) * (rank - value.ndim) + value.shape
    if rank >= 2 and value.ndim <= rank and shape == (1, x.channels, *(1,) * (rank - 2)):
        return value.ravel()
    return None


def _form(lowering: Lowering, name: str) -> Form | None:
    return lowering.image(name) or lowering.rows(name)


@rule("Relu", "Clip")
def clamp(lowering: Lowering, node: Node) -> bool:
    """Part of the layer before where only this node reads it."""
    lo, hi = 0.0, inf
    if node.op == "Clip":
        low, high = lowering.constant(node, 1), lowering.constant(node, 2)
        for i, value in enumerate((low, high), 1):
            if len(node.inputs) > i and node.inputs[i] and value is None:
                return False
        lo = float(node.get("min", -inf)) if low is None else low.item()
        hi = float(node.get("max", inf)) if high is None else high.item()
        if lo > hi or lowering.spec(node.inputs[0]).dtype != F32:
            return False
    before = lowering.alone(node.inputs[0])
    if isinstance(before, CLAMPS):
        before.clamp(lo, hi)
        return lowering.absorb(before, node.outputs[0])
    form = _form(lowering, node.inputs[0])
    if form is None:
        return False
    layer = Unary(node.name, node.inputs[0], node.outputs[0], codes.COPY)
    layer.clamp(lo, hi)
    return lowering.add(layer, form)


@rule("PRelu", "LeakyRelu")
def prelu(lowering: Lowering, node: Node) -> bool:
    """Slopes of a convolution; by itself a depthwise convolution with a single tap of 1."""
    x = lowering.image(node.inputs[0])
    if x is None:
        return False
    rank = lowering.spec(node.inputs[0]).rank
    given = lowering.constant(node, 1)
    if node.op == "LeakyRelu":
        given = np.array(node.get("alpha", 0.01), np.float32)
    slope = vector(given, x, rank)
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
    "Sigmoid": (codes.SIGMOID, ()),
    "Tanh": (codes.TANH, ()),
    "Exp": (codes.EXP, ()),
    "Elu": (codes.ELU, (("alpha", 1.0),)),
    "HardSigmoid": (codes.HARD_SIGMOID, (("alpha", 0.2), ("beta", 0.5))),
    "HardSwish": (codes.HARD_SWISH, (("", 1 / 6), ("", 0.5))),
    "Swish": (codes.SWISH, (("alpha", 1.0),)),
    "Sqrt": (codes.SQRT, ()),
    "Abs": (codes.ABS, ()),
}


@rule(*UNARY)
def function(lowering: Lowering, node: Node) -> bool:
    """A function of one array that lies in the arena already."""
    form = _form(lowering, node.inputs[0])
    if form is None:
        return False
    code, attrs = UNARY[node.op]
    values = [float(node.get(name, default)) for name, default in attrs]
    layer = Unary(node.name, node.inputs[0], node.outputs[0], code, *values)
    return lowering.add(layer, form)


def _with_constant(lowering: Lowering, node: Node, which: int) -> bool:
    """A factor and a shift for each channel, from an operand that is constant."""
    name = node.inputs[1 - which]
    x = lowering.image(name) or (lowering.wanted(name) if lowering.spec(name).rank == 4 else None)
    value = None if x is None else vector(
        lowering.constant(node, which), x, lowering.spec(name).rank
    )  # fmt: skip
    if (
        x is None
        or value is None
        or lowering.spec(node.outputs[0]).dims != lowering.spec(name).dims
    ):
        return False
    one, zero = np.ones_like(value), np.zeros_like(value)
    factor, shift = {
        "Add": (one, value),
        "Mul": (value, zero),
        "Sub": (one, -value) if which == 1 else (-one, value),
        "Div": (one / np.where(value == 0, np.nan, value), zero),
    }[node.op]
    if (node.op == "Div" and which == 0) or not np.isfinite(factor).all():
        return False
    return affine(lowering, node.name, name, node.outputs[0], x, factor, shift)


def affine(
    lowering: Lowering, name: str, source: str, output: str, x: Image, factor: Array, shift: Array
) -> bool:
    """Put a factor and a shift into the layer before, or make them a layer."""
    before = lowering.alone(source)
    if isinstance(before, (Conv, Affine)) and before.can_scale():
        before.scale(factor.astype(np.float32), shift.astype(np.float32))
        return lowering.absorb(before, output)
    return lowering.add(Affine(name, source, output, factor, shift), x)


CODES = {
    "Add": codes.ADD, "Sub": codes.SUB, "Mul": codes.MUL, "Div": codes.DIV,
    "Max": codes.MAX, "Min": codes.MIN,
}  # fmt: skip


@rule(*CODES)
def pair(lowering: Lowering, node: Node) -> bool:
    """Two arrays: the sum goes into a convolution or an interpolation before it."""
    if len(node.inputs) != 2 or lowering.spec(node.inputs[0]).dtype != F32:
        return False
    if node.op in ("Add", "Sub", "Mul", "Div"):
        for which in (1, 0):
            if lowering.constant(node, which) is not None:
                return _with_constant(lowering, node, which)
    a, b = node.inputs
    if (
        node.op == "Add"
        and a != b
        and (_into_sum(lowering, node, b, a) or _into_sum(lowering, node, a, b))
    ):
        return True
    if node.op == "Mul" and (_gated(lowering, node, a, b) or _gated(lowering, node, b, a)):
        return True
    return _binary(lowering, node, a, b) or (
        node.op not in ("Sub", "Div") and _binary(lowering, node, b, a)
    )


def _into_sum(lowering: Lowering, node: Node, inner: str, other: str) -> bool:
    """``inner + other`` as part of the layer that makes ``inner``."""
    before = lowering.alone(inner)
    form = lowering.image(inner)
    if form is None or lowering.image(other) != form:
        return False
    if lowering.spec(inner).rank != lowering.spec(other).rank:
        return False
    fits = isinstance(before, Conv) and before.can_scale()
    fits = fits or (isinstance(before, Resize) and before.linear and before.residual is None)
    if not fits or not isinstance(before, (Conv, Resize)):
        return False
    before.add(other)
    return lowering.absorb(before, node.outputs[0], late=True)


def _gated(lowering: Lowering, node: Node, x: str, gate: str) -> bool:
    """``x * sigmoid(x)`` and ``x * hard_sigmoid(x)`` are functions of their own."""
    before = lowering.alone(gate)
    if not isinstance(before, Unary) or before.inputs != [x] or not before.linear:
        return False
    swaps = {codes.SIGMOID: codes.SWISH, codes.HARD_SIGMOID: codes.HARD_SWISH}
    if before.code not in swaps:
        return False
    if before.code == codes.SIGMOID:
        before.a = 1.0
    before.code = swaps[before.code]
    return lowering.absorb(before, node.outputs[0])


def _binary(lowering: Lowering, node: Node, x: str, r: str) -> bool:
    """Both in the arena, the second one as large or broadcast."""
    out = lowering.spec(node.outputs[0]).dims
    rows = lowering.rows(x)
    if rows is not None and rows == lowering.rows(r) and rows.shape == out:
        layer = Binary(node.name, x, r, node.outputs[0], CODES[node.op], None)
        return lowering.add(layer, rows)
    form, small = lowering.image(x), lowering.image(r)
    if form is None or small is None or lowering.spec(x).dims != out:
        return False
    if lowering.spec(r).rank != len(out):
        return False
    if any(n not in (1, m) for n, m in zip(small, form, strict=True)):
        return False
    if small.width == 1 != form.width and small.height != 1 != form.height:
        return False
    return lowering.add(Binary(node.name, x, r, node.outputs[0], CODES[node.op], small), form)
