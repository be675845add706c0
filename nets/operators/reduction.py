"""Reductions along axes: sums, extremes, cumulative sums, top k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pointwise
from nets.operators.base import OPERATORS, Operator, as_ints, axes_of, axis_of, operator, same
from nets.operators.layer import Image, Layer, Places, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.pooling import lower_to_one
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


def _lowest(dtype: np.dtype[Any]) -> Any:
    return -np.inf if dtype.kind == "f" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    return np.inf if dtype.kind == "f" else True if dtype.kind == "b" else np.iinfo(dtype).max


def _mean(x: Array, axis: Any) -> Array:
    if x.dtype.kind == "f":
        return np.mean(x, axis=axis, keepdims=True)
    total, count = np.sum(x, axis=axis, keepdims=True), 1
    for a in axis:
        count *= x.shape[a]
    return np.asarray(total // count)


def _log_sum_exp(x: Array, axis: Any) -> Array:
    top = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, 0)
    return np.log(np.sum(np.exp(x - safe), axis=axis, keepdims=True)) + safe


def _sum(x: Array, axis: Any) -> Array:
    return np.sum(x, axis=axis, keepdims=True, dtype=x.dtype)


_REDUCTIONS: dict[str, tuple[Callable[[Array, Any], Any], str]] = {
    "ReduceL1": (lambda x, a: _sum(np.abs(x), a), "fiu"),
    "ReduceL2": (lambda x, a: np.sqrt(_sum(np.square(x), a)), "fiu"),
    "ReduceLogSum": (lambda x, a: np.log(_sum(x, a)), "f"),
    "ReduceLogSumExp": (_log_sum_exp, "f"),
    "ReduceMax": (lambda x, a: x.max(a, keepdims=True, initial=_lowest(x.dtype)), "fiub"),
    "ReduceMean": (_mean, "fiu"),
    "ReduceMin": (lambda x, a: x.min(a, keepdims=True, initial=_highest(x.dtype)), "fiub"),
    "ReduceProd": (lambda x, a: np.prod(x, a, keepdims=True, dtype=x.dtype), "fiu"),
    "ReduceSum": (_sum, "fiu"),
    "ReduceSumSquare": (lambda x, a: _sum(np.square(x), a), "fiu"),
}


def _reduced_axes(node: Node, rank: int, given: list[int] | None) -> tuple[int, ...]:
    """Return the axes, an attribute in older opsets and an input in newer ones; none means all."""
    axes = node.get("axes") if given is None else given
    if axes is None or len(axes) == 0:
        return () if node.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return axes_of(axes, rank)


def _infer_reduce(node: Node, x: Spec, axes: Spec | None = None) -> Spec:
    gone = _reduced_axes(node, x.rank, as_ints(axes))
    if node.get("keepdims", 1):
        return Spec(tuple(1 if a in gone else n for a, n in enumerate(x.dims)), x.dtype)
    return Spec(tuple(n for a, n in enumerate(x.dims) if a not in gone), x.dtype)


def _reduction(function: Callable[[Array, Any], Any]) -> Callable[..., Array]:
    def run(node: Node, x: Array, axes: Array | None = None) -> Array:
        gone = _reduced_axes(node, x.ndim, None if axes is None else axes.ravel().tolist())
        out = np.asarray(function(x, gone)).astype(x.dtype)
        return out if node.get("keepdims", 1) else out.squeeze(gone)

    return run


for _name, (_function, _kinds) in _REDUCTIONS.items():
    OPERATORS[_name] = Operator(_reduction(_function), _infer_reduce, 1, 2, _kinds)


def _infer_arg(node: Node, x: Spec) -> Spec:
    axis = axis_of(node.get("axis", 0), x.rank)
    if x.dims[axis] == 0:
        raise NetError(f"axis {axis} of shape {x.dims} is empty")
    kept = (1,) if node.get("keepdims", 1) else ()
    return Spec(x.dims[:axis] + kept + x.dims[axis + 1 :], np.dtype(np.int64))


@operator("ArgMax", "ArgMin", infer=_infer_arg, kinds="fiu")
def arg_extreme(node: Node, x: Array) -> Array:
    """Return argmax or argmin; ties go to the first index, or the last if requested."""
    axis = axis_of(node.get("axis", 0), x.ndim)
    find = np.argmax if node.op == "ArgMax" else np.argmin
    if node.get("select_last_index", 0):
        index = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        index = find(x, axis=axis)
    index = np.asarray(index, np.int64)
    return np.expand_dims(index, axis) if node.get("keepdims", 1) else index


@operator("CumSum", infer=same, inputs=(2, 2), kinds="fiu")
def running_sum(node: Node, x: Array, axis: Array) -> Array:
    """Return the cumulative sum, inclusive or exclusive, from either end."""
    along = axis_of(axis, x.ndim)
    turned = np.flip(x, along) if node.get("reverse", 0) else x
    out = np.cumsum(turned, axis=along, dtype=x.dtype)
    if node.get("exclusive", 0):
        out = np.asarray(out - turned)
    return np.flip(out, along) if node.get("reverse", 0) else out


def _infer_top(node: Node, x: Spec, k: Spec) -> list[Spec]:
    axis = axis_of(node.get("axis", -1), x.rank)
    count = (as_ints(k) or [0])[0]
    if not 0 <= count <= x.dims[axis]:
        raise NetError(f"k is {count}, axis {axis} has {x.dims[axis]} entries")
    shape = (*x.dims[:axis], count, *x.dims[axis + 1 :])
    return [Spec(shape, x.dtype), Spec(shape, np.dtype(np.int64))]


@operator("TopK", infer=_infer_top, inputs=(2, 2), kinds="fiu")
def top(node: Node, x: Array, k: Array) -> tuple[Array, Array]:
    """Return the k greatest or least entries, in order; ties by index."""
    axis = axis_of(node.get("axis", -1), x.ndim)
    if node.get(
        "largest", 1
    ):  # a stable descending order: sort the reversed axis and reverse the result
        order = x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis=axis, kind="stable")
        order = np.flip(order, axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.take(order, np.arange(int(k.ravel()[0])), axis=axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


@operator("LpNormalization", infer=same, kinds="f")
def lp_normalize(node: Node, x: Array) -> Array:
    """Divide by the norm along an axis; 0 where the norm is 0."""
    axis = axis_of(node.get("axis", -1), x.ndim)
    if node.get("p", 2) == 1:
        norm = np.abs(x).sum(axis, keepdims=True)
    else:
        norm = np.sqrt(np.square(x).sum(axis, keepdims=True))
    return np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)).astype(x.dtype)


# --------------------------------------------------------------------------------------- compiled


class Maxout(Layer):
    """Maximum of neighbouring channels."""

    kind = "maxout"

    def __init__(self, name: str, source: str, output: str, pieces: int) -> None:
        super().__init__(name, [source], output)
        self.pieces = pieces

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(x, y, y.height, y.width, y.channels, [self.pieces])
        return [Step(pointwise.maxout, shape, y.images * y.height)]


@lowers("ReduceMean", "ReduceMax")
def lower_reduction(lowering: Lowering, node: Node) -> bool:
    """Lower a reduction over pixels to global pooling, over channel groups to maxout."""
    spec, given = lowering.spec(node.inputs[0]), lowering.constant(node, 1)
    axes: Any = node.get("axes") if given is None else given
    if axes is None:
        return False
    if spec.rank == 5 and node.op == "ReduceMax" and axes_of(axes, 5) == (2,):
        return _maxout(lowering, node, spec.dims)
    if spec.rank != 4 or axes_of(axes, 4) != (2, 3):
        return False
    return lower_to_one(lowering, node, node.op == "ReduceMean")


def _maxout(lowering: Lowering, node: Node, dims: tuple[int, ...]) -> bool:
    """Lower the maximum over the pieces of a reshaped map (N, K, pieces, H, W)."""
    source = lowering.root(node.inputs[0])
    form = lowering.forms.get(source)
    if not isinstance(form, Image) or node.get("keepdims", 1):
        return False
    if dims != (form.images, dims[1], dims[2], *form[2:]) or dims[1] * dims[2] != form.channels:
        return False
    layer = Maxout(node.name, source, node.outputs[0], dims[2])
    return lowering.add(layer, form._replace(channels=dims[1]))


# --------------------------------------------------------------------------------------- exported


@exports("sum", "mean")
def export_reduction(w: Writer, call: Call) -> Result:
    """Export a reduction over some or all axes."""
    x, axis = call.inputs[0], call.options.get("axis")
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    numbers, kept = [int(a) % x.ndim for a in axes], int(call.options.get("keepdims", False))
    if call.op == "mean":
        return w.emit("ReduceMean", w.of(x), axes=numbers, keepdims=kept)
    return w.emit("ReduceSum", w.of(x), w.constant(np.array(numbers)), keepdims=kept)


@exports("maxout")
def export_maxout(w: Writer, call: Call) -> Result:
    """Export maxout as a reshape and a maximum."""
    x, pieces = call.inputs[0], call.options["pieces"]
    axis = call.options.get("axis", 1) % x.ndim
    before = w.look(lambda c: c.inputs[0].shape)
    split = [tuple(n // pieces for n in before[axis]), (pieces,) * len(w.passes)]
    parts = w.reshape(w.of(x), before, [*before[:axis], *split, *before[axis + 1 :]])
    return w.emit("ReduceMax", parts, axes=[axis + 1], keepdims=0)
