"""Batch, instance, group, layer and local response normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.tensor_layout import F32, geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import normalisation as kernels
from nets.operators.arithmetic import fuse_affine
from nets.operators.base import axis_of, need_rank, operator, same
from nets.operators.layer import Layer, Places, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


def _per_channel(v: Array, rank: int) -> Array:
    return v.reshape(1, -1, *[1] * (rank - 2))


def _infer_batch_norm(node: Node, x: Spec, *params: Spec) -> list[Spec]:
    need_rank(x, 2)
    for what, spec in zip(("scale", "bias", "mean", "variance"), params, strict=True):
        if spec.dims != (x.dims[1],):
            raise NetError(f"the {what} must have shape ({x.dims[1]},), got {spec.dims}")
    return [Spec(x.dims, x.dtype), *(Spec(params[2].dims, params[2].dtype) for _ in range(4))]


@operator("BatchNormalization", infer=_infer_batch_norm, inputs=(5, 5), kinds="f")
def batch_norm(node: Node, x: Array, scale: Array, bias: Array, mean: Array, var: Array) -> Any:
    """Normalise by the running statistics; in training mode by those of the batch.

    References
    ----------
    Ioffe & Szegedy, ICML 2015.
    """
    training = bool(node.get("training_mode", 0))
    now_mean, now_var = mean, var
    if training:
        axes = (0, *range(2, x.ndim))
        now_mean, now_var = x.mean(axes), x.var(axes)
    gain = _per_channel(scale / np.sqrt(now_var + node.get("epsilon", 1e-5)), x.ndim)
    y = (x - _per_channel(now_mean, x.ndim)) * gain + _per_channel(bias, x.ndim)
    y = y.astype(x.dtype)
    if not training:
        return [y, mean, var, mean, var][: max(1, len(node.outputs))]
    keep = node.get("momentum", 0.9)
    new = [
        (a * keep + b * (1 - keep)).astype(a.dtype) for a, b in ((mean, now_mean), (var, now_var))
    ]
    return [y, *new]


def _standard(x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array, Array]:
    mean = x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(np.square(x - mean).mean(axes, keepdims=True) + epsilon)
    return (x - mean) * inverse, mean, inverse


def _infer_affine(node: Node, x: Spec, scale: Spec, bias: Spec) -> Spec:
    need_rank(x, 3 if node.op == "InstanceNormalization" else 2)
    sizes = {x.dims[1]}
    if node.op == "GroupNormalization":
        groups = int(node.get("num_groups", 0))
        if groups < 1 or x.dims[1] % groups:
            raise NetError(f"{x.dims[1]} channels do not split into {groups} groups")
        sizes = {groups} if node.opset < 21 else sizes
    for what, spec in (("scale", scale), ("bias", bias)):
        if spec.rank != 1 or spec.dims[0] not in sizes:
            raise NetError(f"the {what} must have shape ({sizes.pop()},), got {spec.dims}")
    return Spec(x.dims, x.dtype)


@operator("InstanceNormalization", infer=_infer_affine, inputs=(3, 3), kinds="f")
def instance_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    """Normalise each channel of each image. Ulyanov, Vedaldi & Lempitsky, 2016."""
    y, _, _ = _standard(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return np.asarray(y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim), x.dtype)


@operator("GroupNormalization", infer=_infer_affine, inputs=(3, 3), kinds="f")
def group_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    """Normalise groups of channels of each image. Wu & He, ECCV 2018."""
    groups = int(node.get("num_groups"))
    grouped = x.reshape(x.shape[0], groups, -1)
    y, _, _ = _standard(grouped, (2,), node.get("epsilon", 1e-5))
    if node.opset < 21:  # one scale for each group
        scale, bias = (np.repeat(v, x.shape[1] // groups) for v in (scale, bias))
    y = y.reshape(x.shape) * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)
    return np.asarray(y, x.dtype)


def _infer_layer_norm(node: Node, x: Spec, scale: Spec, bias: Spec | None = None) -> list[Spec]:
    axis = axis_of(node.get("axis", -1), x.rank)
    moments = Spec(x.dims[:axis] + (1,) * (x.rank - axis), np.dtype(np.float32))
    for what, spec in (("scale", scale), ("bias", bias)):
        if spec is None:
            continue
        tail = x.dims[x.rank - spec.rank :]
        if spec.rank > x.rank or any(n not in (1, m) for n, m in zip(spec.dims, tail, strict=True)):
            raise NetError(f"the {what} of shape {spec.dims} does not broadcast to {x.dims}")
    return [Spec(x.dims, x.dtype), moments, moments]


@operator("LayerNormalization", infer=_infer_layer_norm, inputs=(2, 3), kinds="f")
def layer_norm(node: Node, x: Array, scale: Array, bias: Array | None = None) -> Any:
    """Normalise over all axes from ``axis`` on. Ba, Kiros & Hinton, 2016."""
    axes = tuple(range(axis_of(node.get("axis", -1), x.ndim), x.ndim))
    y, mean, inverse = _standard(x, axes, node.get("epsilon", 1e-5))
    y = y * scale if bias is None else y * scale + bias
    return [y.astype(x.dtype), mean, inverse][: max(1, len(node.outputs))]


def _infer_lrn(node: Node, x: Spec) -> Spec:
    need_rank(x, 3)
    if int(node.get("size", 0)) < 1:
        raise NetError(f"`size` must be at least 1, got {node.get('size')}")
    return Spec(x.dims, x.dtype)


@operator("LRN", infer=_infer_lrn, kinds="f")
def local_response_norm(node: Node, x: Array) -> Array:
    """Divide by the energy of nearby channels. Krizhevsky, Sutskever & Hinton, NIPS 2012."""
    size, channels = int(node.get("size")), x.shape[1]
    before, after = min((size - 1) // 2, channels), min(size // 2, channels)
    widths = [(0, 0)] * x.ndim
    widths[1] = (before, after)
    squares = np.pad(np.square(x), widths)
    energy = sum(squares[:, k : k + channels] for k in range(before + after + 1))
    base = node.get("bias", 1.0) + node.get("alpha", 1e-4) / size * energy
    return np.asarray(x / base ** node.get("beta", 0.75), x.dtype)


@operator("MeanVarianceNormalization", infer=same, kinds="f")
def mean_variance_norm(node: Node, x: Array) -> Array:
    """Subtract the mean and divide by the standard deviation, over the given axes."""
    axes = tuple(axis_of(a, x.ndim) for a in node.get("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True))
    return np.asarray(centred / (deviation + 1e-9), x.dtype)


# --------------------------------------------------------------------------------------- compiled


class Norm(Layer):
    """Group or instance normalisation."""

    kind = "norm"

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        groups: int,
        epsilon: float,
        affine: tuple[F32, F32],
    ) -> None:
        super().__init__(name, [source], output)
        self.groups, self.epsilon, self.affine = groups, epsilon, affine

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(x, y, y.height, y.width, y.channels, [self.groups])
        weights, bias = self.affine
        return [
            Step(
                kernels.norm_group, shape, y.images, weights, bias, self.epsilon,
                scratch=max(64, 2 * y.channels),
            )
        ]  # fmt: skip


class Response(Layer):
    """Local response normalisation."""

    kind = "lrn"

    def __init__(
        self, name: str, source: str, output: str, size: int, k: float, alpha: float, beta: float
    ) -> None:
        super().__init__(name, [source], output)
        self.size, self.parameters = size, np.array([k, alpha / size, beta], np.float32)

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        shape = geometry(x, y, y.height, y.width, y.channels, [self.size])
        return [Step(kernels.norm_response, shape, y.images * y.height, bias=self.parameters)]


@lowers("BatchNormalization")
def lower_batch_norm(lowering: Lowering, node: Node) -> bool:
    """Lower to a scale and shift, usually fused into the preceding convolution."""
    values = [lowering.constant(node, i) for i in range(1, 5)]
    scale, bias, mean, var = values
    if scale is None or bias is None or mean is None or var is None or node.get("training_mode", 0):
        return False
    if len([name for name in node.outputs if name]) != 1:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    factor = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + node.get("epsilon", 1e-5))
    shift = bias - mean * factor
    return fuse_affine(lowering, node.name, node.inputs[0], node.outputs[0], x, factor, shift)


@lowers("InstanceNormalization", "GroupNormalization")
def lower_group_norm(lowering: Lowering, node: Node) -> bool:
    """Lower group and instance normalisation."""
    scale, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    x = lowering.wanted(node.inputs[0]) if lowering.spec(node.inputs[0]).rank == 4 else None
    if x is None or scale is None or bias is None:
        return False
    groups = int(node.get("num_groups", x.channels))
    if node.op == "GroupNormalization" and node.opset < 21:
        scale, bias = (np.repeat(v, x.channels // groups) for v in (scale, bias))
    both = (np.ascontiguousarray(scale, np.float32), np.ascontiguousarray(bias, np.float32))
    epsilon = float(node.get("epsilon", 1e-5))
    return lowering.add(Norm(node.name, node.inputs[0], node.outputs[0], groups, epsilon, both), x)


@lowers("LRN")
def lower_response_norm(lowering: Lowering, node: Node) -> bool:
    """Lower local response normalisation."""
    x = lowering.wanted(node.inputs[0]) if lowering.spec(node.inputs[0]).rank == 4 else None
    if x is None:
        return False
    layer = Response(
        node.name, node.inputs[0], node.outputs[0], int(node.get("size")),
        node.get("bias", 1.0), node.get("alpha", 1e-4), node.get("beta", 0.75),
    )  # fmt: skip
    return lowering.add(layer, x)


# --------------------------------------------------------------------------------------- exported


@exports("batch_norm")
def export_batch_norm(w: Writer, call: Call) -> Result:
    """Export batch normalisation with running statistics and its fused activation."""
    running = call.options.get("running")
    if call.options.get("training") or running is None:
        raise NetError("batch_norm: only running statistics can be traced, not those of the batch")
    moments = [w.constant(a, w.first.names.get(id(a))) for a in running]
    name = w.emit(
        "BatchNormalization", w.of(call.inputs[0]), *_factor_and_shift(w, call), *moments,
        epsilon=float(call.options.get("eps", 1e-5)),
    )  # fmt: skip
    activation = call.options.get("activation")
    if activation == "relu":
        return w.emit("Relu", name)
    if activation == "relu6":
        return w.emit("Clip", name, *(w.constant(np.float32(v)) for v in (0, 6)))
    return name


@exports("group_norm")
def export_group_norm(w: Writer, call: Call) -> Result:
    """Export as GroupNormalization, or as instance normalisation with groups as channels."""
    x, groups = call.inputs[0], int(call.options["groups"])
    factor, shift = _factor_and_shift(w, call)
    epsilon = float(call.options.get("eps", 1e-5))
    if w.opset >= 21:
        return w.emit(
            "GroupNormalization", w.of(x), factor, shift, opset=21, num_groups=groups,
            epsilon=epsilon,
        )  # fmt: skip
    sizes = w.look(lambda c: c.inputs[0].shape)
    split = w.emit("Reshape", w.of(x), w.constant(np.array([0, groups, -1])))
    ones = w.constant(np.ones(groups, np.float32))
    zeros = w.constant(np.zeros(groups, np.float32))
    normal = w.emit("InstanceNormalization", split, ones, zeros, epsilon=epsilon)
    whole = w.reshape(normal, [sizes[0], (groups,), (0,)], sizes)
    wide = w.constant(np.array([-1, *(1,) * (x.ndim - 2)]))
    scaled = w.emit("Mul", whole, w.emit("Reshape", factor, wide))
    return w.emit("Add", scaled, w.emit("Reshape", shift, wide))


@exports("layer_norm")
def export_layer_norm(w: Writer, call: Call) -> Result:
    """Export layer normalisation over the last axes."""
    inputs = [w.of(x) for i, x in enumerate(call.inputs) if w.given(call, i)]
    epsilon = float(call.options.get("eps", 1e-5))
    return w.emit("LayerNormalization", *inputs, axis=-call.inputs[1].ndim, epsilon=epsilon)


@exports("local_response_norm")
def export_response_norm(w: Writer, call: Call) -> Result:
    """Export local response normalisation; even sizes are centred differently in ONNX."""
    size, options = call.options["size"], call.options
    if size % 2 == 0:
        raise NetError(f"local_response_norm: only odd sizes can be traced, not {size}")
    return w.emit(
        "LRN", w.of(call.inputs[0]), size=int(size), alpha=float(options.get("alpha", 1e-4)),
        beta=float(options.get("beta", 0.75)), bias=float(options.get("k", 1.0)),
    )  # fmt: skip


def _factor_and_shift(w: Writer, call: Call) -> list[str]:
    channels = call.inputs[0].shape[1]
    return [
        w.of(call.inputs[i])
        if w.given(call, i)
        else w.constant(np.full(channels, fill, np.float32))
        for i, fill in ((1, 1.0), (2, 0.0))
    ]
