"""Softmax, log-softmax and hardmax along an axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import softmax as kernels
from nets.operators.base import OPERATORS, Operator, axis_of
from nets.operators.layer import Layer, Places, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports


def _one_axis(function: Callable[[Array, int], Array]) -> Callable[[Node, Array], Array]:
    """Apply a function along an axis; up to opset 12 all axes from ``axis`` on are flattened."""

    def run(node: Node, x: Array) -> Array:
        if node.opset >= 13:
            return function(x, axis_of(node.get("axis", -1), x.ndim))
        axis = axis_of(node.get("axis", 1), x.ndim) if x.ndim else 0
        rows = int(np.prod(x.shape[:axis]))
        return function(x.reshape(rows, -1) if x.size else x, -1).reshape(x.shape)

    return run


def softmax(x: Array, axis: int) -> Array:
    """Return ``exp(x) / sum(exp(x))`` along an axis."""
    powers = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def _log_softmax(x: Array, axis: int) -> Array:
    moved = x - x.max(axis, keepdims=True, initial=-np.inf)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis, keepdims=True)))


def _hardmax(x: Array, axis: int) -> Array:
    best = np.expand_dims(x.argmax(axis), axis)
    out = np.zeros_like(x)
    np.put_along_axis(out, best, 1, axis)
    return out


def _infer_softmax(node: Node, x: Spec) -> Spec:
    axis_of(node.get("axis", -1 if node.opset >= 13 else 1), x.rank)
    return Spec(x.dims, x.dtype)


for _name, _along in (
    ("Softmax", softmax),
    ("LogSoftmax", _log_softmax),
    ("Hardmax", _hardmax),
):
    OPERATORS[_name] = Operator(_one_axis(_along), _infer_softmax, 1, 1, "f")


# --------------------------------------------------------------------------------------- compiled


class Softmax(Layer):
    """Softmax over the channels, or over the last axis of rows."""

    kind = "softmax"

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(x, y, y.height, y.width, y.channels)
        scratch = max(64, y.channels + 16)
        return [Step(kernels.softmax, shape, y.images * y.height, scratch=scratch)]


@lowers("Softmax")
def lower_softmax(lowering: Lowering, node: Node) -> bool:
    """Lower a softmax over the channels of pixels, or over the last axis of rows."""
    name = node.inputs[0]
    spec, form = lowering.spec(name), lowering.image(name) or lowering.rows(name)
    if form is None or spec.rank < 2:
        return False
    axis = axis_of(node.get("axis", -1 if node.opset >= 13 else 1), spec.rank)
    if node.opset < 13 and any(n != 1 for n in spec.dims[axis + 1 :]):
        return False  # one softmax over all axes from ``axis`` on
    wanted = 1 if lowering.image(name) else spec.rank - 1
    if axis != wanted:
        return False
    return lowering.add(Softmax(node.name, [name], node.outputs[0]), form)


# --------------------------------------------------------------------------------------- exported


@exports("softmax", "log_softmax")
def export_softmax(w: Writer, call: Call) -> Result:
    """Export a softmax along an axis."""
    op = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[call.op]
    return w.emit(op, w.of(call.inputs[0]), axis=int(call.options["axis"]))
