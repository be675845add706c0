"""Window pooling, global pooling and max unpooling."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.packing import padded
from nets.conv.tensor_layout import geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import pooling as kernels
from nets.operators.base import FLOAT32, INT64, as_ints, need_rank, need_workspace, operator, text
from nets.operators.convolution.layer import Conv
from nets.operators.layer import Image, Layer, Places, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.sliding_window import Window, kernel_sizes, window, windows
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


def pool_geometry(node: Node, x: Spec) -> Window:
    """Return the validated geometry of a pooling node."""
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
    """Return the windows as (N, C, *out, taps)."""
    geometry = window(node, x.shape[2:], kernel_sizes(node, x.ndim - 2))
    need_workspace(*x.shape[:2], *geometry.out, *geometry.kernel)
    seen = windows(x, geometry, fill)
    return seen.reshape(*seen.shape[: x.ndim], prod(geometry.kernel))


@operator("MaxPool", infer=_infer_pool, kinds="fiu")
def max_pool(node: Node, x: Array) -> Any:
    """Return the maximum of each window, and as second output its index in the input."""
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
    """Count the pixels that each window averages, of the input or of the padded input."""
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
    """Return the mean of each window."""
    return np.asarray(_flat_windows(node, x, 0).sum(-1) / _counts(node, x), x.dtype)


@operator("LpPool", infer=_infer_pool, kinds="f")
def lp_pool(node: Node, x: Array) -> Array:
    """Return the p-norm of each window."""
    p = node.get("p", 2)
    return np.asarray((np.abs(_flat_windows(node, x, 0)) ** p).sum(-1) ** (1 / p), x.dtype)


def _infer_global(node: Node, x: Spec) -> Spec:
    need_rank(x, 3)
    return Spec(x.dims[:2] + (1,) * (x.rank - 2), x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", infer=_infer_global, kinds="f")
def global_pool(node: Node, x: Array) -> Array:
    """Return one value for each channel."""
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
    """Place each value at its pooling index, 0 elsewhere.

    Indices refer to the size implied by the windows; a larger ``output_shape`` appends zeros.
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


# --------------------------------------------------------------------------------------- compiled


class Axis:
    """Windows along one axis: first tap inside the input, taps inside, divisor, taps outside."""

    def __init__(
        self, size: int, out: int, kernel: int, stride: int, dilation: int, before: int, after: int
    ) -> None:
        starts = np.arange(out) * stride - before
        self.lost = np.maximum(0, -(starts // dilation))
        self.start = starts + self.lost * dilation
        reached = np.minimum(kernel - 1, (size - 1 - starts) // dilation)
        self.count = reached - self.lost + 1
        self.padded = np.minimum(kernel - 1, (size + after - 1 - starts) // dilation) + 1
        self.dilation = dilation

    @classmethod
    def adaptive(cls, size: int, out: int) -> Axis:
        """Return ``out`` evenly spaced windows, as in PyTorch's adaptive pooling."""
        axis = cls(size, out, size, 1, 1, 0, size)
        axis.start = np.arange(out) * size // out
        axis.count = -(-(np.arange(out) + 1) * size // out) - axis.start
        axis.padded, axis.lost = axis.count, np.zeros(out, int)
        return axis


class Pool(Layer):
    """Max or average pooling."""

    kind = "pool"

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        x: Image,
        y: Image,
        axes: tuple[Axis, Axis],
        *,
        mean: bool,
        include_pad: bool = False,
        switches: str = "",
        window: int = 0,
    ) -> None:
        super().__init__(name, [source], output)
        self.switches, self.window = switches, window
        self.x, self.y, self.axes, self.mean, self.include_pad = x, y, axes, mean, include_pad

    @property
    def outputs(self) -> list[str]:
        return [self.output, self.switches] if self.switches else [self.output]

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        r = place(self.switches).layout if self.switches else None
        assert [len(axis.start) for axis in self.axes] == [*self.y[2:]]
        tables = []
        for axis, stride in zip(self.axes, (x.row, x.pixel), strict=True):
            share = axis.padded if self.include_pad else axis.count
            entries = np.stack([axis.start * stride, axis.count, share, axis.lost], 1)
            tables += entries.ravel().tolist()
        down, across = (
            axis.dilation * stride for axis, stride in zip(self.axes, (x.row, x.pixel), strict=True)
        )
        extra = [int(self.mean), down, across, self.window, *tables]
        shape = geometry(
            x, y, self.y.height, self.y.width, padded(self.y.channels), extra, residual=r
        )
        return [Step(kernels.pool, shape, self.y.images * self.y.height)]


class Unpool(Layer):
    """Max unpooling by the indices of a pooling layer."""

    kind = "unpool"

    def __init__(
        self,
        name: str,
        source: str,
        switches: str,
        output: str,
        y: Image,
        axes: tuple[Axis, Axis],
        window: int,
    ) -> None:
        super().__init__(name, [source, switches], output)
        self.y, self.axes, self.window = y, axes, window

    def steps(self, place: Places) -> list[Step]:
        x, r = (place(name).layout for name in self.inputs)
        y = place(self.output).layout
        tables: list[int] = []
        for axis in self.axes:
            first = axis.start - axis.lost * axis.dilation
            tables += np.stack([first, axis.count, axis.count, axis.lost], 1).ravel().tolist()
        extra = [self.y.height, self.window, 0, self.y.width, *tables]
        shape = geometry(x, y, x.height, x.width, padded(x.channels), extra, residual=r)
        return [Step(kernels.unpool, shape, self.y.images)]


@lowers("MaxPool", "AveragePool")
def lower_pooling(lowering: Lowering, node: Node) -> bool:
    """Lower pooling; a 2 x 2 max pooling is fused into a preceding depthwise convolution."""
    spec = lowering.spec(node.inputs[0])
    switches = node.outputs[1] if len(node.outputs) > 1 else ""
    if spec.rank != 4 or (switches and not _only_unpooled(lowering, node, switches)):
        return False
    geometry = pool_geometry(node, spec)
    before = lowering.alone(node.inputs[0])
    plain = geometry.kernel == geometry.strides == (2, 2) and geometry.dilations == (1, 1)
    halved = geometry.out == (spec.dims[2] // 2, spec.dims[3] // 2)
    plain = plain and halved and geometry.pads == ((0, 0), (0, 0)) and not switches
    if (
        node.op == "MaxPool" and plain and isinstance(before, Conv) and before.depthwise
        and not before.pooled and before.residual is None
    ):  # fmt: skip
        before.pooled = True
        before.y = before.y._replace(height=geometry.out[0], width=geometry.out[1])
        lowering.forms[before.output] = before.y
        return lowering.absorb(before, node.outputs[0])
    x = lowering.wanted(node.inputs[0])
    if x is None or 0 in geometry.out:
        return False
    axes = [
        Axis(size, out, kernel, stride, dilation, *pads)
        for size, out, kernel, stride, dilation, pads in zip(
            x[2:], geometry.out, geometry.kernel, geometry.strides, geometry.dilations,
            geometry.pads, strict=True,
        )
    ]  # fmt: skip
    if min(int(axis.count.min()) for axis in axes) < 1:
        return False
    y = x._replace(height=geometry.out[0], width=geometry.out[1])
    include = bool(node.get("count_include_pad", 0))
    mean = node.op == "AveragePool"
    layer = Pool(
        node.name, node.inputs[0], node.outputs[0], x, y, (axes[0], axes[1]),
        mean=mean, include_pad=include, switches=switches, window=geometry.kernel[1],
    )  # fmt: skip
    if switches:
        lowering.forms[switches], lowering.maker[switches] = y, layer
    return lowering.add(layer, y)


def _only_unpooled(lowering: Lowering, node: Node, switches: str) -> bool:
    """Return True if only MaxUnpool reads the indices of a MaxPool: then taps suffice."""
    source = lowering.spec(node.inputs[0])

    def undoes(reader: Node) -> bool:
        same = ("kernel_shape", "strides", "pads")
        return (
            reader.op == "MaxUnpool"
            and [n for n in reader.inputs[1:] if n] == [switches]
            and all(list(reader.get(k) or []) == list(node.get(k) or []) for k in same)
            and lowering.spec(reader.outputs[0]).shape == source.shape
            and lowering.spec(reader.inputs[0]).dtype == source.dtype
            and lowering.specs[reader.inputs[0]].value is None
        )

    plain = not node.get("storage_order", 0) and max(node.get("dilations", [1])) == 1
    return (
        plain
        and text(node, "auto_pad", "NOTSET") == "NOTSET"
        and source.dtype == FLOAT32
        and switches not in lowering.final
        and all(undoes(reader) for reader in lowering.readers[switches])
    )


@lowers("MaxUnpool")
def lower_unpooling(lowering: Lowering, node: Node) -> bool:
    """Lower unpooling by the indices of a pooling layer in the arena."""
    pool = lowering.maker.get(node.inputs[1])
    if not isinstance(pool, Pool) or node.inputs[1] != pool.switches:
        return False
    if lowering.wanted(node.inputs[0]) is None:
        return False
    layer = Unpool(
        node.name, node.inputs[0], node.inputs[1], node.outputs[0], pool.x, pool.axes, pool.window
    )
    return lowering.add(layer, pool.x)


def lower_to_one(lowering: Lowering, node: Node, mean: bool) -> bool:
    """Lower a mean or maximum over each map to pooling with a single window."""
    x = lowering.wanted(node.inputs[0])
    if x is None or lowering.spec(node.inputs[0]).rank != 4:
        return False
    y = Image(x.images, x.channels, 1, 1)
    axes = (Axis.adaptive(x.height, 1), Axis.adaptive(x.width, 1))
    layer = Pool(node.name, node.inputs[0], node.outputs[0], x, y, axes, mean=mean)
    return lowering.add(layer, y)


@lowers("GlobalAveragePool", "GlobalMaxPool")
def lower_global_pooling(lowering: Lowering, node: Node) -> bool:
    """Lower global pooling."""
    return lower_to_one(lowering, node, node.op == "GlobalAveragePool")


# --------------------------------------------------------------------------------------- exported


@exports("max_pool2d", "avg_pool2d")
def export_pooling(w: Writer, call: Call) -> Result:
    """Export window pooling."""
    attrs = _window_of(call) | {"ceil_mode": int(call.options.get("ceil_mode", False))}
    if call.op == "max_pool2d":
        dilations = call.pair("dilation", 1)
        return w.emit("MaxPool", w.of(call.inputs[0]), dilations=dilations, **attrs)
    include = int(call.options.get("count_include_pad", True))
    return w.emit("AveragePool", w.of(call.inputs[0]), count_include_pad=include, **attrs)


@exports("max_unpool2d")
def export_unpooling(w: Writer, call: Call) -> Result:
    """Export unpooling by the indices of the traced pooling that produced the switches."""
    switches = call.options["switches"]
    pool = next((c for c in w.first.calls[: w.at] if _is_pooling_of(c, switches)), None)
    if pool is None:
        raise NetError("max_unpool2d: its switches do not come from a traced pooling")
    name = w.of(pool.outputs[0])
    at = next(i for i, node in enumerate(w.nodes) if node.outputs[0] == name)
    indices = f"{name}/indices"
    w.nodes[at] = replace(w.nodes[at], outputs=(name, indices))
    windows = _window_of(pool)
    usual = [
        (n - 1) * s - 2 * p + k
        for n, s, p, k in zip(
            switches.shape[2:], windows["strides"], windows["pads"], windows["kernel_shape"],
            strict=False,
        )
    ]  # fmt: skip
    if usual != list(
        call.outputs[0].shape[2:]
    ):  # runtimes disagree on the meaning of the indices then
        raise NetError(
            f"max_unpool2d: only an output of the size that its windows cover, {tuple(usual)}, can "
            f"be traced, not {call.outputs[0].shape[2:]}"
        )
    return w.emit("MaxUnpool", w.of(call.inputs[0]), indices, **windows)


def _is_pooling_of(call: Call, switches: Any) -> bool:
    if call.op != "max_pool2d" or call.outputs[0].shape != switches.shape:
        return False
    x, y = (t.data.reshape(*t.shape[:2], -1) for t in (call.inputs[0], call.outputs[0]))
    where = switches.reshape(y.shape)
    return bool(where.max() < x.shape[2] and (np.take_along_axis(x, where, 2) == y).all())


@exports("adaptive_avg_pool2d")
def export_adaptive_pooling(w: Writer, call: Call) -> Result:
    """Export as global pooling, equal windows, or (at a fixed size) two matrix products."""
    x, (rows, cols) = call.inputs[0], call.options["size"]
    name, before = w.of(x), w.look(lambda c: c.inputs[0].shape[2:])
    if (rows, cols) == (1, 1):
        return w.emit("GlobalAveragePool", name)
    if before == w.look(lambda c: c.outputs[0].shape[2:]):
        return w.emit("Identity", name)
    if any(len(set(n)) > 1 for n in before):
        raise NetError(f"adaptive_avg_pool2d to {rows}x{cols} cannot be traced at a free size")
    height, width = x.shape[2:]
    if height % rows == 0 and width % cols == 0:
        window = [height // rows, width // cols]
        return w.emit("AveragePool", name, kernel_shape=window, strides=window)
    across = w.emit("MatMul", name, w.constant(_means(width, cols).T.copy()))
    return w.emit("MatMul", w.constant(_means(height, rows)), across)


def _means(inputs: int, outputs: int) -> Array:
    """Return the averaging matrix (outputs, inputs) of one axis."""
    axis, at = Axis.adaptive(inputs, outputs), np.arange(inputs)
    first, count = axis.start[:, None], axis.count[:, None]
    return np.where((at >= first) & (at < first + count), 1 / count, 0).astype(np.float32)


def _window_of(call: Call) -> dict[str, Any]:
    return {
        "kernel_shape": call.pair("kernel", 1),
        "strides": call.pair("stride", 1),
        "pads": call.pair("padding", 0) * 2,
    }
