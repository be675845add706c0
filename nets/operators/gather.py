"""Operators that read and write entries by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.operators.base import INT64, axis_of, need_rank, operator, text
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


def _infer_gather(node: Node, x: Spec, index: Spec) -> Spec:
    need_rank(x, 1)
    axis = axis_of(node.get("axis", 0), x.rank)
    return Spec(x.dims[:axis] + index.dims + x.dims[axis + 1 :], x.dtype)


@operator("Gather", infer=_infer_gather, inputs=(2, 2))
def gather(node: Node, x: Array, index: Array) -> Array:
    """Return entries of an axis by index."""
    return np.take(x, index, axis_of(node.get("axis", 0), x.ndim))


def _infer_gather_elements(node: Node, x: Spec, index: Spec) -> Spec:
    need_rank(index, x.rank, x.rank, "the index")
    return Spec(index.dims, x.dtype)


@operator("GatherElements", infer=_infer_gather_elements, inputs=(2, 2))
def gather_elements(node: Node, x: Array, index: Array) -> Array:
    """Return one entry along an axis for every entry of the index."""
    axis = axis_of(node.get("axis", 0), x.ndim)
    cut_to = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    return np.take_along_axis(x[cut_to], index, axis)


def _infer_gather_nd(node: Node, x: Spec, index: Spec) -> Spec:
    batch = int(node.get("batch_dims", 0))
    depth = index.dims[-1] if index.rank else 0
    if not 0 <= batch < min(x.rank, index.rank) or batch + depth > x.rank:
        raise NetError(f"an index of shape {index.dims} does not point into shape {x.dims}")
    return Spec(index.dims[:-1] + x.dims[batch + depth :], x.dtype)


@operator("GatherND", infer=_infer_gather_nd, inputs=(2, 2))
def gather_nd(node: Node, x: Array, index: Array) -> Array:
    """Return entries or blocks by rows of coordinates."""
    batch = int(node.get("batch_dims", 0))
    outer = np.indices(index.shape[:-1], sparse=True)[:batch]
    where = (*outer, *np.moveaxis(index, -1, 0))
    return x[where]


def _infer_scatter_nd(node: Node, x: Spec, index: Spec, updates: Spec) -> Spec:
    depth = index.dims[-1] if index.rank else 0
    if depth > x.rank or updates.dims != index.dims[:-1] + x.dims[depth:]:
        raise NetError(f"updates of shape {updates.dims} do not fit an index of {index.dims}")
    return Spec(x.dims, x.dtype)


@operator("ScatterND", infer=_infer_scatter_nd, inputs=(3, 3))
def scatter_nd(node: Node, x: Array, index: Array, updates: Array) -> Array:
    """Return a copy with entries or blocks replaced, or combined by `reduction`."""
    out = x.copy()
    where = tuple(np.moveaxis(index, -1, 0))
    how = text(node, "reduction", "none")
    if how == "none":
        out[where] = updates
    else:
        kinds = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        kinds[how].at(out, where, updates)
    return out


@operator("NonZero", infer=lambda node, x: Spec(None, INT64))
def non_zero(node: Node, x: Array) -> Array:
    """Return the coordinates of the non-zero entries, one column each."""
    return np.array(np.nonzero(np.atleast_1d(x)), np.int64)


# --------------------------------------------------------------------------------------- exported


INT64_RANGE = np.iinfo(np.int64)


@exports("take")
def export_take(w: Writer, call: Call) -> Result:
    """Export indexing by slices and integers, or by an integer array along one axis."""
    x, key = call.inputs[0], _full(call.options["key"], call.inputs[0].ndim)
    if any(isinstance(k, (np.ndarray, list)) for k in key):
        return _export_gather(w, call, key)
    calls = [p.calls[w.at] for p in w.passes]
    keys = [_full(c.options["key"], x.ndim) for c in calls]
    shapes = [c.inputs[0].shape for c in calls]
    both = list(zip(keys, shapes, strict=True))
    cut = [a for a in range(x.ndim) if not all(_all(k[a], s[a]) for k, s in both)]
    name = w.of(x)
    if cut:
        spans = [[_span(k[a], s[a]) for a in cut] for k, s in both]
        starts, ends = (
            w.numbers([tuple(each[i][end] for each in spans) for i in range(len(cut))])
            for end in (0, 1)
        )
        steps = w.constant(np.array([span[2] for span in spans[0]], np.int64))
        name = w.emit("Slice", name, starts, ends, w.constant(np.array(cut, np.int64)), steps)
    single = [a for a in cut if not isinstance(key[a], slice)]
    if single:
        name = w.emit("Squeeze", name, w.constant(np.array(single, np.int64)))
    return name


def _full(key: Any, rank: int) -> list[Any]:
    """Return one index for each axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(k is None or (isinstance(k, np.ndarray) and k.dtype.kind == "b") for k in keys):
        raise NetError("indexing with None or masks cannot be traced: use reshape, or integers")
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    return keys + [slice(None)] * (rank - len(keys))


def _span(key: Any, size: int) -> tuple[int, int, int]:
    """Return start, end and step in ONNX convention; an open end stays open."""
    if not isinstance(key, slice):
        return int(key), int(key) + 1 if key != -1 else INT64_RANGE.max, 1
    start, end, step = key.indices(size)
    if step < 0:
        return (-1 if key.start is None else start), (INT64_RANGE.min if end < 0 else end), step
    return start, (INT64_RANGE.max if key.stop is None else end), step


def _all(key: Any, size: int) -> bool:
    """Return True if a slice covers the whole axis."""
    return isinstance(key, slice) and key.indices(size) == (0, size, 1)


def _export_gather(w: Writer, call: Call, key: list[Any]) -> Result:
    given = [a for a, n in enumerate(call.inputs[0].shape) if not _all(key[a], n)]
    if len(given) != 1:
        raise NetError("indexing with arrays can be traced along one axis only")
    index = w.constant(np.asarray(key[given[0]], np.int64))
    return w.emit("Gather", w.of(call.inputs[0]), index, axis=given[0])


@exports("embedding")
def export_embedding(w: Writer, call: Call) -> Result:
    """Export an embedding lookup."""
    index = w.known[id(call.options["index"])]
    return w.emit("Gather", w.of(call.inputs[0]), index, axis=0)
