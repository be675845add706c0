"""Operators that split and join arrays: concat, split, slice, pad, depth to space."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import LANES, geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pointwise
from nets.operators.base import FLOAT32, as_ints, axis_of, need_rank, operator, text
from nets.operators.layer import Image, Layer, Places, Rows, Step
from nets.operators.layout import Copy, part_of, transfer
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


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
    """Concatenate arrays along an axis."""
    return np.concatenate(arrays, axis_of(node.get("axis", 1), arrays[0].ndim))


def split_sizes(node: Node, length: int, given: list[int] | None) -> list[int]:
    """Return the part sizes: an input, an attribute, or equal parts with a shorter last one."""
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
    """Split along an axis."""
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
    """Return Python slices; limits are attributes up to opset 9, inputs since."""
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
    """Slice an array, with possibly negative steps."""
    given = (None if a is None else a.tolist() for a in (*limits, *[None] * 4)[:4])
    return x[slices(node, x.shape, *given)]


def pad_widths(
    node: Node, rank: int, pads: list[int] | None, axes: list[int] | None
) -> list[tuple[int, int]]:
    """Return (before, after) for every axis; negative values crop."""
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
    """Pad with a constant, or with reflected, repeated or wrapped entries."""
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


def depth_block(node: Node, x: Spec) -> int:
    """Return the block size of DepthToSpace and SpaceToDepth."""
    need_rank(x, 4, 4)
    block = int(node.get("blocksize", 0))
    if block < 1:
        raise NetError(f"`blocksize` must be at least 1, got {block}")
    return block


def _channel_first(node: Node) -> bool:
    """Return True for channel-first order (CRD), False for DCR."""
    return node.get("mode", b"DCR") in (b"CRD", "CRD")


def _infer_depth_to_space(node: Node, x: Spec) -> Spec:
    b = depth_block(node, x)
    n, c, h, w = x.dims
    if c % (b * b):
        raise NetError(f"{c} channels are not a multiple of {b * b}")
    return Spec((n, c // (b * b), h * b, w * b), x.dtype)


@operator("DepthToSpace", infer=_infer_depth_to_space)
def depth_to_space(node: Node, x: Array) -> Array:
    """Rearrange channels into blocks of pixels."""
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
    """Rearrange blocks of pixels into channels."""
    b = int(node.get("blocksize"))
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // b, b, w // b, b)
    split = split.transpose((0, 1, 3, 5, 2, 4) if _channel_first(node) else (0, 3, 5, 1, 2, 4))
    return split.reshape(n, c * b * b, h // b, w // b)


# --------------------------------------------------------------------------------------- compiled


class Pad(Layer):
    """A map inside a larger one, filled with a constant."""

    kind = "pad"

    def __init__(
        self, name: str, source: str, output: str, corner: tuple[int, int, int], value: float
    ) -> None:
        super().__init__(name, [source], output)
        self.corner, self.value = corner, value  # corner: first row, column and channel

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(y, y, y.height, y.width, y.channels)
        value = np.array([self.value], np.float32)
        fill = Step(pointwise.map_fill, shape, y.images * y.height, bias=value)
        return [fill, transfer(x, part_of(y, self.corner), x)]


@lowers("Pad")
def lower_pad(lowering: Lowering, node: Node) -> bool:
    """Lower a Pad; zeros read only by convolutions become their padding."""
    spec = lowering.spec(node.inputs[0])
    if spec.rank != 4 or text(node, "mode", "constant") != "constant":
        return False
    value = lowering.constant(node, 2)
    given = [lowering.constant(node, i) for i in (1, 3)]
    lists = [None if a is None else a.tolist() for a in given]
    fill = float(node.get("value", 0.0)) if value is None else float(value.ravel()[0])
    widths = pad_widths(node, 4, lists[0], lists[1])
    if widths[0] != (0, 0) or min(min(w) for w in widths) < 0 or spec.dtype != FLOAT32:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    if fill == 0 and widths[1] == (0, 0) and _only_convolutions(lowering, node.outputs[0]):
        (top, bottom), (left, right) = widths[2:]
        lowering.padded[node.outputs[0]] = (node.inputs[0], (top, left, bottom, right))
        return True
    corner = (widths[2][0], widths[3][0], widths[1][0])
    y = Image(*lowering.spec(node.outputs[0]).dims)
    return lowering.add(Pad(node.name, node.inputs[0], node.outputs[0], corner, fill), y)


def _only_convolutions(lowering: Lowering, name: str) -> bool:
    """Return True if only convolutions with constant weights read an array."""
    for reader in lowering.readers[name]:
        weights = lowering.constant(reader, 1)
        if reader.op != "Conv" or weights is None or reader.inputs[0] != name:
            return False
        if weights.dtype != FLOAT32 or 0 in (
            *weights.shape,
            *lowering.spec(reader.outputs[0]).dims,
        ):
            return False
        if len(reader.inputs) > 2 and reader.inputs[2] and lowering.constant(reader, 2) is None:
            return False
    return name not in lowering.final


@lowers("Concat")
def lower_concat(lowering: Lowering, node: Node) -> bool:
    """Lower a concat: parts are written in place if possible, others are copied."""
    output = node.outputs[0]
    shape = lowering.spec(output).dims
    axis = axis_of(node.get("axis", 1), len(shape))
    images = [lowering.image(name) for name in node.inputs]
    if axis == 1 and len(shape) == 4 and all(images):
        form = Image(shape[0], shape[1], shape[2], shape[3])
        return _join(lowering, node, form, [image.channels for image in images if image])
    rows = [lowering.rows(name) for name in node.inputs]
    if all(rows) and axis >= 1 and prod(shape[1:axis]) == 1:
        sizes = [prod(r.shape[1:]) for r in rows if r]
        return _join(lowering, node, Rows(shape), sizes)
    return False


def _join(lowering: Lowering, node: Node, form: Image | Rows, sizes: list[int]) -> bool:
    output, first = node.outputs[0], 0
    lowering.forms[output] = form
    for i, (name, size) in enumerate(zip(node.inputs, sizes, strict=True)):
        root, part = lowering.root(name), name
        aligned = isinstance(form, Rows) or (first % LANES == 0 and size % LANES == 0)
        free = root not in lowering.views and root in lowering.maker
        free = free and lowering.maker[root].kind != "import"
        free = free and not any(base == root for base, _ in lowering.views.values())
        if not (aligned and free and node.inputs.count(name) == 1):
            part = root = f"{output}/{i}"
            lowering.add(Copy(f"{node.name}/{i}", name, part), lowering.forms[name])
            lowering.specs[part] = lowering.specs[name]
        lowering.views[root] = (output, first)
        first += size
    return True


def _channels(lowering: Lowering, source: str, output: str, first: int, count: int) -> None:
    form = lowering.forms[source]
    assert isinstance(form, Image)
    lowering.forms[output] = form._replace(channels=count)
    lowering.views[output] = (lowering.root(source), first)


@lowers("Split")
def lower_split(lowering: Lowering, node: Node) -> bool:
    """Lower a split; channel slices are views."""
    x, spec = lowering.image(node.inputs[0]), lowering.spec(node.inputs[0])
    if x is None or spec.rank != 4 or axis_of(node.get("axis", 0), 4) != 1:
        return False
    given = lowering.constant(node, 1)
    sizes = split_sizes(node, x.channels, None if given is None else given.tolist())
    if 0 in sizes:
        return False
    first = 0
    for size, output in zip(sizes, node.outputs, strict=False):
        if output:
            _channels(lowering, node.inputs[0], output, first, size)
        first += size
    return True


@lowers("Slice")
def lower_slice(lowering: Lowering, node: Node) -> bool:
    """Lower a slice; a channel range is a view, pixels are copied."""
    x, spec = lowering.image(node.inputs[0]), lowering.spec(node.inputs[0])
    if x is None or spec.rank != 4:
        return False
    given = [lowering.constant(node, i) for i in range(1, 5)]
    lists = [None if a is None else np.asarray(a).tolist() for a in given]
    cuts = slices(node, spec.dims, lists[0], lists[1], lists[2], lists[3])
    spans = [s.indices(n) for s, n in zip(cuts, spec.dims, strict=True)]
    if any(step != 1 or stop <= start for start, stop, step in spans):
        return False
    (image, _, _), (channel, _, _), (row, _, _), (col, _, _) = spans
    out = Image(*(stop - start for start, stop, _ in spans))
    if image != 0 or out.images != x.images:
        return False
    if out[2:] == x[2:]:
        _channels(lowering, node.inputs[0], node.outputs[0], channel, out.channels)
        return True
    crop = (row, col, channel)
    return lowering.add(Copy(node.name, node.inputs[0], node.outputs[0], crop), out)


# --------------------------------------------------------------------------------------- exported


@exports("concat")
def export_concat(w: Writer, call: Call) -> Result:
    """Export a concatenation."""
    axis = call.options.get("axis", 0) % call.inputs[0].ndim
    return w.emit("Concat", *map(w.of, call.inputs), axis=axis)


@exports("stack")
def export_stack(w: Writer, call: Call) -> Result:
    """Export a stack along a new axis."""
    axis = call.options.get("axis", 0) % call.outputs[0].ndim
    where = w.constant(np.array([axis], np.int64))
    parts = [w.emit("Unsqueeze", w.of(x), where) for x in call.inputs]
    return w.emit("Concat", *parts, axis=axis)
