"""Elementwise operators of two or more arrays: arithmetic, comparison, selection."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import F32, geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pointwise
from nets.operators.activation import Unary
from nets.operators.base import (
    FLOAT32,
    OPERATORS,
    Operator,
    broadcast,
    broadcast_shape,
    compare,
    operator,
)
from nets.operators.layer import Image, Layer, Places, Step, runs
from nets.operators.lowering import Lowering, by_channel, lowers
from nets.operators.writer import Result, Writer, exports, exports_as
from vj.errors import NetError


@operator("Div", infer=broadcast, inputs=(2, 2), kinds="fiu")
def divide(node: Node, a: Array, b: Array) -> Array:
    """Divide; integers are truncated towards zero."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if a.dtype.kind == "u":
        return np.asarray(a // b)
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)


@operator("Mod", infer=broadcast, inputs=(2, 2), kinds="fiu")
def modulo(node: Node, a: Array, b: Array) -> Array:
    """Return the remainder, with the dividend's sign if ``fmod``, else the divisor's."""
    return np.asarray(np.fmod(a, b) if node.get("fmod", 0) else np.mod(a, b))


@operator("Pow", infer=broadcast, inputs=(2, 2), kinds="fiu")
def power(node: Node, a: Array, b: Array) -> Array:
    """Raise to a power, in the dtype of the base."""
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


for _name, _function in _ARITHMETIC.items():
    OPERATORS[_name] = Operator(_pairwise(_function), broadcast, 2, 2, "fiu")


for _name, (_function, _kinds) in _COMPARISONS.items():
    OPERATORS[_name] = Operator(_pairwise(_function), compare, 2, 2, _kinds)


for _name, (_function, _kinds) in _VARIADIC.items():
    OPERATORS[_name] = Operator(_many(_function), broadcast, 1, None, _kinds)


@operator("Mean", infer=broadcast, inputs=(1, None), kinds="f")
def mean(node: Node, *arrays: Array) -> Array:
    """Return the elementwise mean of the inputs."""
    return np.asarray(reduce(np.add, arrays) / len(arrays))


def _infer_where(node: Node, mask: Spec, a: Spec, b: Spec) -> Spec:
    if a.dtype != b.dtype:
        raise NetError(f"choices have dtypes {a.dtype} and {b.dtype}; cast one")
    return Spec(broadcast_shape([mask.dims, a.dims, b.dims]), a.dtype)


@operator("Where", infer=_infer_where, inputs=(3, 3), kinds="b")
def where(node: Node, mask: Array, a: Array, b: Array) -> Array:
    """Return ``a`` where the mask is set, ``b`` elsewhere."""
    return np.where(mask, a, b)


# --------------------------------------------------------------------------------------- compiled


class Binary(Layer):
    """Arithmetic of two arrays, the second broadcast over pixels or channels if needed."""

    kind = "binary"
    can_clamp = True

    def __init__(
        self, name: str, x: str, r: str, output: str, code: int, r_form: Image | None
    ) -> None:
        super().__init__(name, [x, r], output)
        self.code, self.r_form = code, r_form

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y, r = place(self.inputs[0]), place(self.output), place(self.inputs[1])
        other, spread = r.layout, 0
        cut = runs(x, y, self.code == pointwise.DIV)
        if self.r_form is not None:
            small, full = self.r_form, y.layout
            tight = small.height == full.height and small.width == full.width
            if not (tight and small.channels == full.channels and cut.cols == 1 and r.whole
                    and other.pixel == x.layout.pixel):  # fmt: skip
                cut = cut._replace(
                    cols=full.width, run=full.channels, x_pixel=x.layout.pixel, y_pixel=full.pixel
                )
            spread = int(small.channels == 1 and full.channels > 1)
            other = other._replace(
                image=other.image if small.images == full.images else 0,
                row=other.row if small.height == full.height else 0,
                pixel=other.pixel if small.width == full.width else 0,
            )
        shape = geometry(
            x.layout._replace(pixel=cut.x_pixel), y.layout._replace(pixel=cut.y_pixel),
            cut.rows, cut.cols, cut.run, [self.code, spread], residual=other,
        )  # fmt: skip
        return [
            Step(pointwise.map_binary, shape, y.layout.images * cut.rows, lo=self.lo, hi=self.hi)
        ]


class Affine(Layer):
    """A per-channel scale and shift."""

    kind = "affine"
    can_clamp = True

    def __init__(self, name: str, source: str, output: str, factor: F32, shift: F32) -> None:
        super().__init__(name, [source], output)
        self.factor, self.shift = factor, shift

    def writes_lanes(self) -> bool:
        return False

    def can_scale(self) -> bool:
        return self.linear

    def scale(self, factor: F32, shift: F32) -> None:
        self.factor, self.shift = self.factor * factor, self.shift * factor + shift

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(x, y, y.height, y.width, y.channels)
        return [
            Step(
                pointwise.map_affine, shape, y.images * y.height,
                self.factor.astype(np.float32), self.shift.astype(np.float32),
                self.lo, self.hi,
            )
        ]  # fmt: skip


CODES = {
    "Add": pointwise.ADD, "Sub": pointwise.SUB, "Mul": pointwise.MUL, "Div": pointwise.DIV,
    "Max": pointwise.MAX, "Min": pointwise.MIN,
}  # fmt: skip


@lowers(*CODES)
def lower_arithmetic(lowering: Lowering, node: Node) -> bool:
    """Lower arithmetic; a sum is fused into a convolution or interpolation before it."""
    if len(node.inputs) != 2 or lowering.spec(node.inputs[0]).dtype != FLOAT32:
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


def _with_constant(lowering: Lowering, node: Node, which: int) -> bool:
    """Lower arithmetic with a constant operand as a per-channel scale and shift."""
    name = node.inputs[1 - which]
    x = lowering.image(name) or (lowering.wanted(name) if lowering.spec(name).rank == 4 else None)
    value = None if x is None else by_channel(
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
    return fuse_affine(lowering, node.name, name, node.outputs[0], x, factor, shift)


def fuse_affine(
    lowering: Lowering, name: str, source: str, output: str, x: Image, factor: Array, shift: Array
) -> bool:
    """Fuse a scale and shift into the preceding layer, or make them a layer."""
    before = lowering.alone(source)
    if before is not None and before.can_scale():
        before.scale(factor.astype(np.float32), shift.astype(np.float32))
        return lowering.absorb(before, output)
    return lowering.add(Affine(name, source, output, factor, shift), x)


def _into_sum(lowering: Lowering, node: Node, inner: str, other: str) -> bool:
    """Fuse ``inner + other`` into the layer that computes ``inner``."""
    before = lowering.alone(inner)
    form = lowering.image(inner)
    if form is None or lowering.image(other) != form:
        return False
    if lowering.spec(inner).rank != lowering.spec(other).rank:
        return False
    if before is None or not before.can_add():
        return False
    before.add(other)
    return lowering.absorb(before, node.outputs[0], late=True)


def _gated(lowering: Lowering, node: Node, x: str, gate: str) -> bool:
    """Lower ``x * sigmoid(x)`` and ``x * hard_sigmoid(x)`` to single functions."""
    before = lowering.alone(gate)
    if not isinstance(before, Unary) or before.inputs != [x] or not before.linear:
        return False
    swaps = {pointwise.SIGMOID: pointwise.SWISH, pointwise.HARD_SIGMOID: pointwise.HARD_SWISH}
    if before.code not in swaps:
        return False
    if before.code == pointwise.SIGMOID:
        before.a = 1.0
    before.code = swaps[before.code]
    return lowering.absorb(before, node.outputs[0])


def _binary(lowering: Lowering, node: Node, x: str, r: str) -> bool:
    """Lower a binary operator of arena arrays, the second of equal size or broadcast."""
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


# --------------------------------------------------------------------------------------- exported


exports_as(add="Add", divide="Div", maximum="Max", multiply="Mul", subtract="Sub")


@exports("power")
def export_power(w: Writer, call: Call) -> Result:
    """Export a power, whose exponent is an array in ONNX."""
    exponent = w.constant(np.float32(call.options["exponent"]))
    return w.emit("Pow", w.of(call.inputs[0]), exponent)
