"""Operators that look along axes: sums, extremes, softmax, running sums, the k best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import (
    OPERATORS,
    Operator,
    Spec,
    as_ints,
    axes_of,
    axis_of,
    operator,
    same,
)
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
    """Axes come as an attribute in older opsets, as an input in newer ones; none means all."""
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
    """Index of the greatest or least entry; the first of equal ones, or the last on demand."""
    axis = axis_of(node.get("axis", 0), x.ndim)
    find = np.argmax if node.op == "ArgMax" else np.argmin
    if node.get("select_last_index", 0):
        index = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        index = find(x, axis=axis)
    index = np.asarray(index, np.int64)
    return np.expand_dims(index, axis) if node.get("keepdims", 1) else index


# --------------------------------------------------------------------------- softmax and kin


def _one_axis(function: Callable[[Array, int], Array]) -> Callable[[Node, Array], Array]:
    """Up to opset 12 these flatten everything from ``axis`` on; since then they take one axis."""

    def run(node: Node, x: Array) -> Array:
        if node.opset >= 13:
            return function(x, axis_of(node.get("axis", -1), x.ndim))
        axis = axis_of(node.get("axis", 1), x.ndim) if x.ndim else 0
        rows = int(np.prod(x.shape[:axis]))
        return function(x.reshape(rows, -1) if x.size else x, -1).reshape(x.shape)

    return run


def softmax(x: Array, axis: int) -> Array:
    """``exp(x) / sum(exp(x))`` along an axis."""
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


@operator("CumSum", infer=same, inputs=(2, 2), kinds="fiu")
def running_sum(node: Node, x: Array, axis: Array) -> Array:
    """Sums of the entries so far, with or without the current one, from either end."""
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
    """The k greatest or least, in order; the first index wins among equals."""
    axis = axis_of(node.get("axis", -1), x.ndim)
    if node.get("largest", 1):  # a stable descending order: sort the reversed axis and turn it
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
