"""Pooling of any rank, with switches, and the unpooling that uses them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import Spec, as_ints, need_rank, need_workspace, operator
from nets.graph.operators.windows import Window, kernel_sizes, window, windows
from vj.errors import NetError

INT64 = np.dtype(np.int64)


def pool_geometry(node: Node, x: Spec) -> Window:
    """Checked geometry of a pooling node."""
    need_rank(x, 3)
    geometry = window(node, x.dims[2:], kernel_sizes(node, x.rank - 2))
    for (before, after), k in zip(geometry.pads, geometry.span, strict=True):
        if max(before, after) >= k:
            raise NetError(f"pads {before}, {after} are wider than the window of {k} pixels")
    return geometry


def _infer_pool(node: Node, x: Spec) -> Any:
    shape = (*x.dims[:2], *pool_geometry(node, x).out)
    return [Spec(shape, x.dtype), Spec(shape, INT64)][: max(1, len(node.outputs))]


def _flat_windows(node: Node, x: Array, fill: float) -> Array:
    """(N, C, *out, taps)."""
    geometry = window(node, x.shape[2:], kernel_sizes(node, x.ndim - 2))
    need_workspace(*x.shape[:2], *geometry.out, *geometry.kernel)
    seen = windows(x, geometry, fill)
    return seen.reshape(*seen.shape[: x.ndim], prod(geometry.kernel))


@operator("MaxPool", infer=_infer_pool, kinds="fiu")
def max_pool(node: Node, x: Array) -> Any:
    """Greatest number in each window; the second output says where in the input it was."""
    fill = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen = _flat_windows(node, x, fill)
    best = seen.max(-1)
    if len(node.outputs) < 2:
        return best
    sizes = x.shape[2:]
    order = np.arange(prod(sizes), dtype=np.int64)
    if node.get("storage_order", 0):  # column-major numbering of the last two axes
        order = order.reshape(*sizes[:-2], sizes[-1], sizes[-2]).swapaxes(-1, -2)
    places = np.broadcast_to(order.reshape(1, 1, *sizes), (1, 1, *sizes))
    tap = np.argmax(seen, -1)[..., None]
    where = np.broadcast_to(_flat_windows(node, places, -1), seen.shape)
    index = np.take_along_axis(where, tap, -1)[..., 0]
    planes = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * len(sizes))
    return best, index + planes * prod(sizes)


def _counts(node: Node, x: Array) -> Array:
    """How many pixels each window averages: those of the input, or of the padded input."""
    sizes = x.shape[2:]
    ones = np.ones((1, 1, *sizes), x.dtype)
    if node.get("count_include_pad", 0):
        geometry = window(node, sizes, kernel_sizes(node, x.ndim - 2))
        ones = np.ones((1, 1, *(n + a + b for n, (a, b) in zip(sizes, geometry.pads, strict=True))))
        bare = Window(geometry.kernel, geometry.strides, geometry.dilations,
                      ((0, 0),) * len(sizes), geometry.out)  # fmt: skip
        seen = windows(ones, bare, 0)
        return seen.reshape(*seen.shape[: x.ndim], -1).sum(-1)
    return _flat_windows(node, ones, 0).sum(-1)


@operator("AveragePool", infer=_infer_pool, kinds="f")
def average_pool(node: Node, x: Array) -> Array:
    """Mean of each window."""
    return np.asarray(_flat_windows(node, x, 0).sum(-1) / _counts(node, x), x.dtype)


@operator("LpPool", infer=_infer_pool, kinds="f")
def lp_pool(node: Node, x: Array) -> Array:
    """p-norm of each window."""
    p = node.get("p", 2)
    return np.asarray((np.abs(_flat_windows(node, x, 0)) ** p).sum(-1) ** (1 / p), x.dtype)


def _infer_global(node: Node, x: Spec) -> Spec:
    need_rank(x, 3)
    return Spec(x.dims[:2] + (1,) * (x.rank - 2), x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", infer=_infer_global, kinds="f")
def global_pool(node: Node, x: Array) -> Array:
    """One number for each channel."""
    axes = tuple(range(2, x.ndim))
    if node.op == "GlobalAveragePool":
        return x.mean(axes, keepdims=True)
    if node.op == "GlobalMaxPool":
        return x.max(axes, keepdims=True)
    p = node.get("p", 2)
    return np.asarray((np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p), x.dtype)


def _unpooled(node: Node, sizes: tuple[int, ...]) -> tuple[int, ...]:
    kernel = kernel_sizes(node, len(sizes))
    strides, pads = node.ints("strides", [1] * len(sizes)), node.ints("pads", [0] * 2 * len(sizes))
    return tuple(
        (n - 1) * strides[a] + kernel[a] - pads[a] - pads[a + len(sizes)]
        for a, n in enumerate(sizes)
    )


def _infer_unpool(node: Node, x: Spec, index: Spec, shape: Spec | None = None) -> Spec:
    need_rank(x, 3)
    if index.dims != x.dims:
        raise NetError(f"indices of shape {index.dims} do not fit the input of {x.dims}")
    natural = (*x.dims[:2], *_unpooled(node, x.dims[2:]))
    out = tuple(as_ints(shape) or natural)
    if len(out) != x.rank or any(a < b for a, b in zip(out, natural, strict=True)):
        raise NetError(f"`output_shape` {out} is smaller than {natural}")
    return Spec(out, x.dtype)


@operator("MaxUnpool", infer=_infer_unpool, inputs=(2, 3), kinds="f")
def max_unpool(node: Node, x: Array, index: Array, shape: Array | None = None) -> Array:
    """Put each number where the pooling found it, 0 elsewhere.

    Indices count in the size that belongs to the window; a larger ``output_shape`` adds zeros
    behind it.
    """
    natural = (*x.shape[:2], *_unpooled(node, x.shape[2:]))
    if index.size and not 0 <= index.min() <= index.max() < prod(natural):
        raise NetError(f"indices point outside the output of shape {natural}")
    flat = np.zeros(prod(natural), x.dtype)
    flat[index.ravel()] = x.ravel()
    out = flat.reshape(natural)
    if shape is None:
        return out
    return np.pad(out, [(0, int(n) - m) for n, m in zip(shape, natural, strict=True)])
