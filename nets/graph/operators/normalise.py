"""Normalisation: over the batch, instances, groups, layers, neighbouring channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import Spec, axis_of, need_rank, operator, same
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
    """By the running mean and variance; in training mode by those of the batch.

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
    """Each channel of each image by itself. Ulyanov, Vedaldi & Lempitsky, 2016."""
    y, _, _ = _standard(x, tuple(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return np.asarray(y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim), x.dtype)


@operator("GroupNormalization", infer=_infer_affine, inputs=(3, 3), kinds="f")
def group_norm(node: Node, x: Array, scale: Array, bias: Array) -> Array:
    """Groups of channels of each image. Wu & He, ECCV 2018."""
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
    """Everything from ``axis`` on. Ba, Kiros & Hinton, 2016."""
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
    """By the energy of neighbouring channels. Krizhevsky, Sutskever & Hinton, NIPS 2012."""
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
    """Subtract the mean, divide by the deviation, over the given axes."""
    axes = tuple(axis_of(a, x.ndim) for a in node.get("axes", [0, 2, 3]))
    centred = x - x.mean(axes, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True))
    return np.asarray(centred / (deviation + 1e-9), x.dtype)
