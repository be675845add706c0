"""Operators that cut arrays up and put them together: concat, split, slice, gather, pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import (
    Spec,
    as_ints,
    axis_of,
    need_rank,
    operator,
)
from nets.graph.operators.windows import text
from vj.errors import NetError

INT64 = np.dtype(np.int64)


def _infer_concat(node: Node, *specs: Spec) -> Spec:
    first = specs[0]
    need_rank(first, 1)
    axis = axis_of(node.get("axis", 1), first.rank)
    total = 0
    for spec in specs:
        if spec.dtype != first.dtype:
            raise NetError(f"inputs have dtypes {first.dtype} and {spec.dtype}; cast one")
        outside = [n for a, n in enumerate(spec.dims) if a != axis]
        if outside != [n for a, n in enumerate(first.dims) if a != axis]:
            raise NetError(f"shapes {first.dims} and {spec.dims} do not join along axis {axis}")
        total += spec.dims[axis]
    return Spec((*first.dims[:axis], total, *first.dims[axis + 1 :]), first.dtype)


@operator("Concat", infer=_infer_concat, inputs=(1, None))
def concat(node: Node, *arrays: Array) -> Array:
    """Arrays one after the other along an axis."""
    return np.concatenate(arrays, axis_of(node.get("axis", 1), arrays[0].ndim))


def split_sizes(node: Node, length: int, given: list[int] | None) -> list[int]:
    """Sizes of the parts: an input, an attribute, or equal shares with a shorter last one."""
    sizes = node.get("split") if given is None else given
    if sizes is None:
        count = len(node.outputs)
        if node.get("num_outputs", count) != count or count < 1:
            raise NetError(f"`num_outputs` is {node.get('num_outputs')}, {count} are named")
        share = -(-length // count)
        sizes = [min(share, max(0, length - i * share)) for i in range(count)]
    if sum(sizes) != length or min(sizes, default=0) < 0 or len(sizes) < len(node.outputs):
        raise NetError(f"parts {list(sizes)} do not make up {length}")
    return [int(n) for n in sizes]


def _infer_split(node: Node, x: Spec, sizes: Spec | None = None) -> list[Spec]:
    need_rank(x, 1)
    axis = axis_of(node.get("axis", 0), x.rank)
    parts = split_sizes(node, x.dims[axis], as_ints(sizes))
    return [Spec((*x.dims[:axis], n, *x.dims[axis + 1 :]), x.dtype) for n in parts]


@operator("Split", infer=_infer_split, inputs=(1, 2), view=True)
def split(node: Node, x: Array, sizes: Array | None = None) -> list[Array]:
    """Parts along an axis."""
    axis = axis_of(node.get("axis", 0), x.ndim)
    parts = split_sizes(node, x.shape[axis], None if sizes is None else sizes.tolist())
    return np.split(x, np.cumsum(parts)[:-1], axis)


def slices(
    node: Node,
    dims: tuple[int, ...],
    starts: list[int] | None,
    ends: list[int] | None,
    axes: list[int] | None,
    steps: list[int] | None,
) -> tuple[slice, ...]:
    """Python slices; limits are attributes up to opset 9, inputs since."""
    starts = node.get("starts") if starts is None else starts
    ends = node.get("ends") if ends is None else ends
    axes = node.get("axes") if axes is None else axes
    if starts is None or ends is None:
        raise NetError("`starts` or `ends` is missing")
    axes = list(range(len(starts))) if axes is None else list(axes)
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise NetError("`starts`, `ends`, `axes` and `steps` differ in length")
    out = [slice(None)] * len(dims)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise NetError("a step is 0")
        along = axis_of(axis, len(dims))
        first, last, stride = slice(start, end, step).indices(dims[along])
        out[along] = slice(first, None if last < 0 else last, stride)
    return tuple(out)


def _infer_slice(node: Node, x: Spec, *limits: Spec | None) -> Spec:
    cuts = slices(node, x.dims, *(as_ints(spec) for spec in (*limits, *[None] * 4)[:4]))
    return Spec(
        tuple(len(range(*s.indices(n))) for s, n in zip(cuts, x.dims, strict=True)), x.dtype
    )


@operator("Slice", infer=_infer_slice, inputs=(1, 5), view=True)
def cut(node: Node, x: Array, *limits: Array | None) -> Array:
    """Part of an array, with steps that may be negative."""
    given = (None if a is None else a.tolist() for a in (*limits, *[None] * 4)[:4])
    return x[slices(node, x.shape, *given)]


def _infer_gather(node: Node, x: Spec, index: Spec) -> Spec:
    need_rank(x, 1)
    axis = axis_of(node.get("axis", 0), x.rank)
    return Spec(x.dims[:axis] + index.dims + x.dims[axis + 1 :], x.dtype)


@operator("Gather", infer=_infer_gather, inputs=(2, 2))
def gather(node: Node, x: Array, index: Array) -> Array:
    """Entries of an axis by index."""
    return np.take(x, index, axis_of(node.get("axis", 0), x.ndim))


def _infer_gather_elements(node: Node, x: Spec, index: Spec) -> Spec:
    need_rank(index, x.rank, x.rank, "the index")
    return Spec(index.dims, x.dtype)


@operator("GatherElements", infer=_infer_gather_elements, inputs=(2, 2))
def gather_elements(node: Node, x: Array, index: Array) -> Array:
    """One entry along an axis for every entry of the index."""
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
    """Entries or blocks by rows of coordinates."""
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
    """A copy with entries or blocks replaced, or combined by `reduction`."""
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
    """Coordinates of the entries that are not 0, one column each."""
    return np.array(np.nonzero(np.atleast_1d(x)), np.int64)


# --------------------------------------------------------------------------- pad


def pad_widths(
    node: Node, rank: int, pads: list[int] | None, axes: list[int] | None
) -> list[tuple[int, int]]:
    """(before, after) for every axis; negative numbers cut."""
    given = node.get("pads") if pads is None else pads
    along = list(range(rank)) if axes is None else [axis_of(a, rank) for a in axes]
    if given is None or len(given) != 2 * len(along):
        raise NetError(f"`pads` must hold {2 * len(along)} numbers")
    out = [(0, 0)] * rank
    for i, axis in enumerate(along):
        out[axis] = (int(given[i]), int(given[i + len(along)]))
    return out


def _infer_pad(
    node: Node,
    x: Spec,
    pads: Spec | None = None,
    value: Spec | None = None,
    axes: Spec | None = None,
) -> Spec:
    widths = pad_widths(node, x.rank, as_ints(pads), as_ints(axes))
    dims = tuple(n + a + b for n, (a, b) in zip(x.dims, widths, strict=True))
    if min(dims, default=0) < 0:
        raise NetError(f"pads {widths} cut more than shape {x.dims} has")
    return Spec(dims, x.dtype)


@operator("Pad", infer=_infer_pad, inputs=(1, 4))
def pad(
    node: Node,
    x: Array,
    pads: Array | None = None,
    value: Array | None = None,
    axes: Array | None = None,
) -> Array:
    """A border of a constant, of mirrored, repeated or wrapped entries."""
    widths = pad_widths(
        node,
        x.ndim,
        None if pads is None else pads.tolist(),
        None if axes is None else axes.tolist(),
    )
    inner = x[tuple(slice(max(0, -a), x.shape[i] - max(0, -b)) for i, (a, b) in enumerate(widths))]
    grow = [(max(0, a), max(0, b)) for a, b in widths]
    mode: Any = text(node, "mode", "constant")
    if mode == "constant":
        fill: Any = node.get("value", 0) if value is None else value.ravel()[0]
        return np.pad(inner, grow, constant_values=fill)
    if mode not in ("reflect", "edge", "wrap"):
        raise NetError(f"`mode` {mode!r} is unknown")
    return np.pad(inner, grow, mode=mode)


# --------------------------------------------------------------------------- depth and space


def depth_block(node: Node, x: Spec) -> int:
    """The block size of DepthToSpace and SpaceToDepth."""
    need_rank(x, 4, 4)
    block = int(node.get("blocksize", 0))
    if block < 1:
        raise NetError(f"`blocksize` must be at least 1, got {block}")
    return block


def _channel_first(node: Node) -> bool:
    """Whether a pixel's block of channels lies together (CRD) or is spread (DCR)."""
    return node.get("mode", b"DCR") in (b"CRD", "CRD")


def _infer_depth_to_space(node: Node, x: Spec) -> Spec:
    b = depth_block(node, x)
    n, c, h, w = x.dims
    if c % (b * b):
        raise NetError(f"{c} channels are no multiple of {b * b}")
    return Spec((n, c // (b * b), h * b, w * b), x.dtype)


@operator("DepthToSpace", infer=_infer_depth_to_space)
def depth_to_space(node: Node, x: Array) -> Array:
    """Channels become blocks of pixels."""
    b = int(node.get("blocksize"))
    n, c, h, w = x.shape
    if _channel_first(node):
        split = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        split = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    return split.reshape(n, c // (b * b), h * b, w * b)


def _infer_space_to_depth(node: Node, x: Spec) -> Spec:
    b = depth_block(node, x)
    n, c, h, w = x.dims
    if h % b or w % b:
        raise NetError(f"{w}x{h} pixels do not split into blocks of {b}")
    return Spec((n, c * b * b, h // b, w // b), x.dtype)


@operator("SpaceToDepth", infer=_infer_space_to_depth)
def space_to_depth(node: Node, x: Array) -> Array:
    """Blocks of pixels become channels."""
    b = int(node.get("blocksize"))
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // b, b, w // b, b)
    split = split.transpose((0, 1, 3, 5, 2, 4) if _channel_first(node) else (0, 3, 5, 1, 2, 4))
    return split.reshape(n, c * b * b, h // b, w // b)
