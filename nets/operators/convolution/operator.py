"""Conv and ConvTranspose: NumPy definition, lowering and export."""

from __future__ import annotations

import itertools
from math import prod
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.operators.base import FLOAT32, need_rank, need_workspace, operator
from nets.operators.convolution.layer import Conv, Transposed
from nets.operators.layer import Image
from nets.operators.lowering import Lowering, lowers
from nets.operators.sliding_window import Window, kernel_sizes, transposed_window, window, windows
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError


def _check(node: Node, x: Spec, w: Spec, b: Spec | None, outputs: int, inputs: int) -> None:
    for what, spec in (("the weights", w), ("the bias", b)):
        if spec is not None and spec.dtype != x.dtype:
            raise NetError(f"{what} are {spec.dtype}, the input is {x.dtype}; cast one")
    if x.dims[1] != inputs:
        raise NetError(f"weights of shape {w.dims} need {inputs} input channels, got {x.dims[1]}")
    if b is not None and b.dims != (outputs,):
        raise NetError(f"the bias must have shape ({outputs},), got {b.dims}")


def conv_geometry(node: Node, x: Spec, w: Spec, b: Spec | None = None) -> Window:
    """Return the validated geometry of a Conv node."""
    need_rank(x, 3)
    need_rank(w, x.rank, x.rank, "the weights")
    groups = int(node.get("group", 1))
    if groups < 1 or w.dims[0] % groups:
        raise NetError(f"{w.dims[0]} output channels do not split into {groups} groups")
    _check(node, x, w, b, w.dims[0], w.dims[1] * groups)
    return window(node, x.dims[2:], kernel_sizes(node, x.rank - 2, w.dims[2:]))


def _infer_conv(node: Node, x: Spec, w: Spec, b: Spec | None = None) -> Spec:
    geometry = conv_geometry(node, x, w, b)
    return Spec((x.dims[0], w.dims[0], *geometry.out), x.dtype)


@operator("Conv", infer=_infer_conv, inputs=(2, 3), kinds="f")
def convolve(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    """Cross-correlate, which deep learning libraries call convolution."""
    geometry = window(node, x.shape[2:], kernel_sizes(node, x.ndim - 2, w.shape[2:]))
    groups, spatial = int(node.get("group", 1)), x.ndim - 2
    seen = windows(x, geometry, 0)
    share, outputs = x.shape[1] // groups, w.shape[0] // groups
    parts = []
    for g in range(groups):
        view = seen[:, g * share : (g + 1) * share]
        # (N, C, *out, *kernel) -> (N * out, C * kernel), the columns of the product
        order = (0, *range(2, 2 + spatial), 1, *range(2 + spatial, 2 + 2 * spatial))
        rows = x.shape[0] * prod(geometry.out)
        need_workspace(rows, share, *geometry.kernel)
        cols = view.transpose(order).reshape(rows, share * prod(geometry.kernel))
        flat = w[g * outputs : (g + 1) * outputs].reshape(outputs, cols.shape[1])
        parts.append((cols @ flat.T).reshape(x.shape[0], *geometry.out, outputs))
    out = np.moveaxis(np.concatenate(parts, -1), -1, 1)
    return out if b is None else out + b.reshape(1, -1, *[1] * spatial)


def transposed_geometry(node: Node, x: Spec, w: Spec, b: Spec | None = None) -> Window:
    """Return the validated geometry of a ConvTranspose node."""
    need_rank(x, 3)
    need_rank(w, x.rank, x.rank, "the weights")
    groups = int(node.get("group", 1))
    if groups < 1 or x.dims[1] % groups:
        raise NetError(f"{x.dims[1]} input channels do not split into {groups} groups")
    _check(node, x, w, b, w.dims[1] * groups, w.dims[0])
    return transposed_window(node, x.dims[2:], kernel_sizes(node, x.rank - 2, w.dims[2:]))


def _infer_transposed(node: Node, x: Spec, w: Spec, b: Spec | None = None) -> Spec:
    geometry = transposed_geometry(node, x, w, b)
    return Spec((x.dims[0], w.dims[1] * int(node.get("group", 1)), *geometry.out), x.dtype)


@operator("ConvTranspose", infer=_infer_transposed, inputs=(2, 3), kinds="f")
def convolve_transposed(node: Node, x: Array, w: Array, b: Array | None = None) -> Array:
    """Add the kernel, weighted by each input pixel, to the output."""
    geometry = transposed_window(node, x.shape[2:], kernel_sizes(node, x.ndim - 2, w.shape[2:]))
    groups, images = int(node.get("group", 1)), x.shape[0]
    per_group = w.shape[1]
    grouped = x.reshape(images, groups, x.shape[1] // groups, *x.shape[2:])
    kernels = w.reshape(groups, -1, *w.shape[1:])
    # Sums go to a padded canvas, which is cropped afterwards; pads may be negative.
    low = [max(0, -before) for before, _ in geometry.pads]
    canvas = [
        lead + (n - 1) * s + k + max(0, before + size - (n - 1) * s - k)
        for lead, n, s, k, (before, _), size in zip(
            low, x.shape[2:], geometry.strides, geometry.span, geometry.pads, geometry.out,
            strict=True,
        )
    ]  # fmt: skip
    out = np.zeros((images, groups, per_group, *canvas), x.dtype)
    for tap in itertools.product(*(range(k) for k in geometry.kernel)):
        at: Any = (..., *tap)
        share = np.einsum("ngc...,gck->ngk...", grouped, kernels[at])
        where: Any = (slice(None),) * 3 + tuple(
            slice(lead + t * d, lead + t * d + (n - 1) * s + 1, s)
            for lead, t, d, n, s in zip(
                low, tap, geometry.dilations, x.shape[2:], geometry.strides, strict=True
            )
        )
        out[where] += share
    keep: Any = (slice(None),) * 3 + tuple(
        slice(lead + before, lead + before + size)
        for lead, (before, _), size in zip(low, geometry.pads, geometry.out, strict=True)
    )
    flat = out[keep].reshape(images, groups * per_group, *geometry.out)
    return flat if b is None else flat + b.reshape(1, -1, *[1] * (x.ndim - 2))


# --------------------------------------------------------------------------------------- compiled


def _parameters(lowering: Lowering, node: Node, rank: int) -> tuple[Array, Array | None] | None:
    """Return the constant float32 weights and bias."""
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    if weights is None or weights.dtype != FLOAT32 or weights.ndim != rank or 0 in weights.shape:
        return None
    return (weights, bias) if bias is not None or not has_bias else None


def _image(shape: tuple[int, ...]) -> Image:
    return Image(shape[0], shape[1], *(shape[2:] or (1, 1)))


@lowers("Conv")
def lower_conv(lowering: Lowering, node: Node) -> bool:
    """Lower a convolution with constant weights; a zero Pad before it is fused."""
    found = _parameters(lowering, node, 4)
    if found is None:
        return False
    source, extra = lowering.padded.get(node.inputs[0], (node.inputs[0], (0, 0, 0, 0)))
    inputs = [lowering.spec(name) for name in node.inputs if name]
    geometry = conv_geometry(node, *inputs)
    y = _image(lowering.spec(node.outputs[0]).dims)
    if 0 in y:
        return False
    x = lowering.wanted(source)
    if x is None:
        return False
    (top, _), (left, _) = geometry.pads
    layer = Conv(
        node.name, source, node.outputs[0], x, y, *found,
        stride=(geometry.strides[0], geometry.strides[1]),
        dilation=(geometry.dilations[0], geometry.dilations[1]),
        padding=(top + extra[0], left + extra[1]), groups=int(node.get("group", 1)),
    )  # fmt: skip
    return lowering.add(layer, y)


@lowers("ConvTranspose")
def lower_conv_transpose(lowering: Lowering, node: Node) -> bool:
    """Lower a transposed convolution; pads that enlarge the output are left to NumPy."""
    found = _parameters(lowering, node, 4)
    if found is None:
        return False
    inputs = [lowering.spec(name) for name in node.inputs if name]
    geometry = transposed_geometry(node, *inputs)
    y = _image(lowering.spec(node.outputs[0]).dims)
    if 0 in y or min(min(pads) for pads in geometry.pads) < 0:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    layer = Transposed(
        node.name, node.inputs[0], node.outputs[0], x, y, *found,
        stride=(geometry.strides[0], geometry.strides[1]),
        dilation=(geometry.dilations[0], geometry.dilations[1]),
        padding=(geometry.pads[0][0], geometry.pads[1][0]), groups=int(node.get("group", 1)),
    )  # fmt: skip
    return lowering.add(layer, y)


# --------------------------------------------------------------------------------------- exported


@exports("conv2d", "conv_transpose2d")
def export_convolution(w: Writer, call: Call) -> Result:
    """Export both kinds of convolution."""
    inputs = [w.of(x) for i, x in enumerate(call.inputs) if i < 2 or w.given(call, i)]
    attrs: dict[str, Any] = {
        "kernel_shape": list(call.inputs[1].shape[2:]),
        "strides": call.pair("stride", 1),
        "pads": call.pair("padding", 0) * 2,
        "dilations": call.pair("dilation", 1),
        "group": int(call.options.get("groups", 1)),
    }
    if call.op == "conv2d":
        return w.emit("Conv", *inputs, **attrs)
    return w.emit("ConvTranspose", *inputs, output_padding=call.pair("output_padding", 0), **attrs)
