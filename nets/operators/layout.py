"""Operators that change shapes, axes and dtypes, but not values."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import TensorLayout, geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pointwise
from nets.operators.activation import Unary
from nets.operators.base import INT64, as_ints, axes_of, broadcast_shape, operator, same
from nets.operators.layer import Image, Places, Rows, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


@operator("Identity", infer=same, view=True)
def identity(node: Node, x: Array) -> Array:
    """Return the input."""
    return x


def _infer_dropout(node: Node, x: Spec, ratio: Spec | None = None, mode: Spec | None = None) -> Any:
    return [Spec(x.dims, x.dtype), Spec(x.dims, x.dtype if node.opset < 10 else np.dtype(bool))]


@operator("Dropout", infer=_infer_dropout, inputs=(1, 3), kinds="f", view=True)
def dropout(node: Node, x: Array, ratio: Array | None = None, mode: Array | None = None) -> Any:
    """Return the input; in training mode drop elements by a generator with the node's seed."""
    if mode is None or not mode.any():
        return x, np.ones(x.shape, bool if node.opset >= 10 else x.dtype)
    drop = 0.5 if ratio is None else float(ratio)
    mask = np.random.RandomState(int(node.get("seed", 0))).uniform(0, 1, x.shape) >= drop
    return np.asarray(mask * x / (1 - drop), x.dtype) if drop else x, mask


def _infer_cast(node: Node, x: Spec, like: Spec | None = None) -> Spec:
    return Spec(x.dims, like.dtype if like is not None else np.dtype(node.get("to")))


@operator("Cast", infer=_infer_cast)
def cast(node: Node, x: Array) -> Array:
    """Cast to another dtype; fractions are truncated, as in C."""
    return x.astype(node.get("to"))


@operator("CastLike", infer=_infer_cast, inputs=(2, 2))
def cast_like(node: Node, x: Array, like: Array) -> Array:
    """Cast to the dtype of the second input."""
    return x.astype(like.dtype)


# ------------------------------------------------------------------------------- shapes as values


def _infer_shape(node: Node, x: Spec) -> Spec:
    dims = x.dims[slice(node.get("start", 0), node.get("end"))]
    return Spec((len(dims),), INT64, np.array(dims, np.int64))


@operator("Shape", infer=_infer_shape)
def shape(node: Node, x: Array) -> Array:
    """Return the shape, or part of it, as a vector."""
    return np.array(x.shape[slice(node.get("start", 0), node.get("end"))], np.int64)


def _infer_size(node: Node, x: Spec) -> Spec:
    count = 1
    for n in x.dims:
        count *= n
    return Spec((), INT64, np.array(count, np.int64))


@operator("Size", infer=_infer_size)
def size(node: Node, x: Array) -> Array:
    """Return the number of elements."""
    return np.array(x.size, np.int64)


def _constant(node: Node) -> Array:
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if node.get(name) is not None:
            return np.array(node.get(name), dtype)
    if not isinstance(node.get("value"), np.ndarray):
        raise NetError("holds no numeric `value`")
    return np.asarray(node.get("value"))


def _infer_constant(node: Node) -> Spec:
    value = _constant(node)
    return Spec(value.shape, value.dtype, value)


@operator("Constant", infer=_infer_constant, inputs=(0, 0))
def constant(node: Node) -> Array:
    """Return the array stored in the node."""
    return _constant(node)


def _infer_filled(node: Node, dims: Spec) -> Spec:
    value = node.get("value")
    out = tuple(as_ints(dims) or [])
    if min(out, default=0) < 0:
        raise NetError(f"asks for the shape {out}")
    return Spec(out, np.dtype(np.float32) if value is None else value.dtype)


@operator("ConstantOfShape", infer=_infer_filled, kinds="i")
def filled(node: Node, dims: Array) -> Array:
    """Return an array filled with one value."""
    value = node.get("value")
    fill = np.zeros(1, np.float32) if value is None else value
    return np.full(dims.astype(int).tolist(), fill.ravel()[0], fill.dtype)


def _infer_range(node: Node, start: Spec, limit: Spec, delta: Spec) -> Spec:
    first, last, step = (float(s.known) for s in (start, limit, delta))
    if step == 0:
        raise NetError("the step is 0")
    return Spec((max(0, int(np.ceil((last - first) / step))),), start.dtype)


@operator("Range", infer=_infer_range, inputs=(3, 3), kinds="fiu")
def arange(node: Node, start: Array, limit: Array, delta: Array) -> Array:
    """Return values from start in steps of delta, excluding limit."""
    return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


# ------------------------------------------------------------------------------- shapes of arrays


def _infer_reshape(node: Node, x: Spec, target: Spec) -> Spec:
    wanted = as_ints(target) or []
    dims = list(wanted)
    for axis, n in enumerate(dims):
        if n == 0 and not node.get("allowzero", 0):
            if axis >= x.rank:
                raise NetError(f"shape {wanted} copies axis {axis} of shape {x.dims}")
            dims[axis] = x.dims[axis]
    total, rest = 1, 1
    for n in x.dims:
        total *= n
    for n in dims:
        rest *= n if n != -1 else 1
    if dims.count(-1) == 1 and rest and total % rest == 0:
        dims[dims.index(-1)] = total // rest
    elif min(dims, default=0) < 0 or rest != total:
        raise NetError(f"shape {x.dims} cannot become {wanted}")
    return Spec(tuple(dims), x.dtype)


@operator("Reshape", infer=_infer_reshape, inputs=(2, 2), view=True)
def reshape(node: Node, x: Array, target: Array) -> Array:
    """Reshape; -1 is inferred, 0 copies an axis."""
    spec = _infer_reshape(node, Spec(x.shape, x.dtype), Spec(target.shape, target.dtype, target))
    return x.reshape(spec.dims)


def _infer_flatten(node: Node, x: Spec) -> Spec:
    axis = int(node.get("axis", 1))
    if not -x.rank <= axis <= x.rank:
        raise NetError(f"axis {axis} does not exist in {x.rank} dimensions")
    first, rest = 1, 1
    for n in x.dims[: axis % x.rank if axis < 0 else axis]:
        first *= n
    for n in x.dims[axis % x.rank if axis < 0 else axis :]:
        rest *= n
    return Spec((first, rest), x.dtype)


@operator("Flatten", infer=_infer_flatten, view=True)
def flatten(node: Node, x: Array) -> Array:
    """Flatten to two dimensions: the axes before ``axis``, and the rest."""
    return x.reshape(_infer_flatten(node, Spec(x.shape, x.dtype)).dims)


def _squeezed(node: Node, dims: tuple[int, ...], given: list[int] | None) -> tuple[int, ...]:
    axes = node.get("axes") if given is None else given
    if axes is None:
        return tuple(a for a, n in enumerate(dims) if n == 1)
    gone = axes_of(axes, len(dims))
    for a in gone:
        if dims[a] != 1:
            raise NetError(f"axis {a} of shape {dims} is not of size 1")
    return gone


def _infer_squeeze(node: Node, x: Spec, axes: Spec | None = None) -> Spec:
    gone = _squeezed(node, x.dims, as_ints(axes))
    return Spec(tuple(n for a, n in enumerate(x.dims) if a not in gone), x.dtype)


@operator("Squeeze", infer=_infer_squeeze, inputs=(1, 2), view=True)
def squeeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    """Drop axes of size 1."""
    return x.squeeze(_squeezed(node, x.shape, None if axes is None else axes.ravel().tolist()))


def _added(node: Node, rank: int, given: list[int] | None) -> tuple[int, ...]:
    axes = node.get("axes") if given is None else given
    if axes is None:
        raise NetError("`axes` is missing")
    return axes_of(axes, rank + len(axes))


def _infer_unsqueeze(node: Node, x: Spec, axes: Spec | None = None) -> Spec:
    out = list(x.dims)
    for a in _added(node, x.rank, as_ints(axes)):
        out.insert(a, 1)
    return Spec(tuple(out), x.dtype)


@operator("Unsqueeze", infer=_infer_unsqueeze, inputs=(1, 2), view=True)
def unsqueeze(node: Node, x: Array, axes: Array | None = None) -> Array:
    """Add axes of size 1."""
    return np.expand_dims(x, _added(node, x.ndim, None if axes is None else axes.ravel().tolist()))


def permutation(node: Node, rank: int) -> list[int]:
    """Return the axis order of a Transpose."""
    perm = node.ints("perm", range(rank - 1, -1, -1))
    if sorted(perm) != list(range(rank)):
        raise NetError(f"`perm` {perm} is not a permutation of {rank} axes")
    return perm


def _infer_transpose(node: Node, x: Spec) -> Spec:
    return Spec(tuple(x.dims[a] for a in permutation(node, x.rank)), x.dtype)


@operator("Transpose", infer=_infer_transpose, view=True)
def transpose(node: Node, x: Array) -> Array:
    """Permute the axes."""
    return x.transpose(permutation(node, x.ndim))


def _infer_expand(node: Node, x: Spec, target: Spec) -> Spec:
    return Spec(broadcast_shape([x.dims, tuple(as_ints(target) or [])]), x.dtype)


@operator("Expand", infer=_infer_expand, inputs=(2, 2), view=True)
def expand(node: Node, x: Array, target: Array) -> Array:
    """Broadcast, bidirectionally, to a shape."""
    return np.broadcast_to(x, broadcast_shape([x.shape, tuple(target.tolist())]))


def _infer_tile(node: Node, x: Spec, repeats: Spec) -> Spec:
    times = as_ints(repeats) or []
    if len(times) != x.rank or min(times, default=0) < 0:
        raise NetError(f"repeats {times} do not fit the shape {x.dims}")
    return Spec(tuple(n * t for n, t in zip(x.dims, times, strict=True)), x.dtype)


@operator("Tile", infer=_infer_tile, inputs=(2, 2))
def tile(node: Node, x: Array, repeats: Array) -> Array:
    """Repeat along the axes."""
    return np.tile(x, repeats.tolist())


# --------------------------------------------------------------------------------------- compiled


class Copy(Unary):
    """Copy to or from contiguous rows, or to or from a slice of a larger map."""

    kind = "copy"

    def __init__(
        self, name: str, source: str, output: str, crop: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__(name, source, output, pointwise.COPY)
        self.crop = crop  # first row, column and channel

    def steps(self, place: Places) -> list[Step]:
        if self.crop is None:
            return super().steps(place)
        y = place(self.output).layout
        step = transfer(part_of(place(self.inputs[0]).layout, self.crop), y, y)
        step.lo, step.hi = self.lo, self.hi
        return [step]


def part_of(layout: TensorLayout, corner: tuple[int, int, int]) -> TensorLayout:
    """Return the layout that starts at another row, column and channel."""
    moved = layout.moved(*corner[:2])
    return moved._replace(offset=moved.offset + corner[2])


def transfer(x: TensorLayout, y: TensorLayout, size: TensorLayout) -> Step:
    """Return a step that copies the pixels and channels of ``size`` between locations."""
    shape = geometry(x, y, size.height, size.width, size.channels, [pointwise.COPY, 0])
    nothing = np.zeros(2, np.float32)
    return Step(pointwise.map_unary, shape, size.images * size.height, bias=nothing)


@lowers("Transpose")
def lower_transpose(lowering: Lowering, node: Node) -> bool:
    """Lower a transpose to channels-last, the arena layout: only padding channels are dropped."""
    if lowering.image(node.inputs[0]) is None or lowering.spec(node.inputs[0]).rank != 4:
        return False
    if permutation(node, 4) != [0, 2, 3, 1]:
        return False
    layer = Copy(node.name, node.inputs[0], node.outputs[0])
    return lowering.add(layer, Rows(lowering.spec(node.outputs[0]).dims))


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def lower_reshape(lowering: Lowering, node: Node) -> bool:
    """Lower a reshape to an alias."""
    source, output = node.inputs[0], node.outputs[0]
    shape, form = lowering.spec(output).dims, lowering.forms.get(source)
    if isinstance(form, Rows) and len(shape) >= 2 and shape[0] == form.shape[0]:
        return lowering.rename(source, output, Rows(shape))
    if isinstance(form, Image) and shape and shape[0] == form.images:
        flat = shape == (form.images, prod(form[1:]))
        pieces = len(shape) == 5 and shape[3:] == form[2:]  # groups of channels
        if flat or pieces or (form[2:] == (1, 1) and shape == (*form,)):
            return lowering.rename(source, output, form)
    return False


# --------------------------------------------------------------------------------------- exported


@exports("reshape")
def export_reshape(w: Writer, call: Call) -> Result:
    """Export as Flatten if all axes but the first are merged."""
    before, after = w.look(lambda c: c.inputs[0].shape), w.look(lambda c: c.outputs[0].shape)
    x = w.of(call.inputs[0])
    if len(after) == 2 and len(before) > 1 and before[0] == after[0]:
        return w.emit("Flatten", x, axis=1)
    return w.reshape(x, before, after)


@exports("permute")
def export_permute(w: Writer, call: Call) -> Result:
    """Export a permutation of axes."""
    return w.emit("Transpose", w.of(call.inputs[0]), perm=list(call.options["axes"]))
