"""Convolutions, and the matrix products that are convolutions of a single pixel."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.compiler.layers.base import Image
from nets.compiler.layers.dense import Conv, Transposed
from nets.compiler.lower import F32, Lowering, rule
from nets.graph.ir import Node
from nets.graph.operators.convolve import conv_geometry, transposed_geometry


def _parameters(lowering: Lowering, node: Node, rank: int) -> tuple[Array, Array | None] | None:
    """Constant float32 weights and bias."""
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    if weights is None or weights.dtype != F32 or weights.ndim != rank or 0 in weights.shape:
        return None
    return (weights, bias) if bias is not None or not has_bias else None


def _image(shape: tuple[int, ...]) -> Image:
    return Image(shape[0], shape[1], *(shape[2:] or (1, 1)))


@rule("Conv")
def convolution(lowering: Lowering, node: Node) -> bool:
    """A convolution of constant weights; zero pads before it become part of it."""
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


@rule("ConvTranspose")
def transposed(lowering: Lowering, node: Node) -> bool:
    """A transposed convolution; pads that enlarge the output are left to NumPy."""
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


@rule("Gemm", "MatMul")
def product(lowering: Lowering, node: Node) -> bool:
    """A fully connected layer: a convolution with a kernel as large as the image."""
    if len(node.inputs) > 2 and node.inputs[2] and lowering.constant(node, 2) is None:
        return False
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    spec = lowering.spec(node.inputs[0])
    if weights is None or weights.ndim != 2 or spec.rank != 2 or node.get("transA", 0):
        return False
    if weights.dtype != F32 or weights.size == 0 or spec.dims[0] == 0:
        return False
    flat = lowering.root(node.inputs[0])
    form = lowering.forms.get(flat) or lowering.wanted(node.inputs[0])
    if not isinstance(form, Image) or form.images != spec.dims[0]:
        return False
    by_output = weights if node.get("transB", 0) else weights.T
    by_output = by_output * np.float32(node.get("alpha", 1.0))
    outputs = len(by_output)
    if bias is not None:
        if bias.size not in (1, outputs) or (bias.ndim == 2 and bias.shape[0] != 1):
            return False
        bias = np.broadcast_to(bias.ravel() * np.float32(node.get("beta", 1.0)), (outputs,))
    y = Image(form.images, outputs, 1, 1)
    kernel = np.ascontiguousarray(by_output).reshape(outputs, *form[1:])
    return lowering.add(Conv(node.name, flat, node.outputs[0], form, y, kernel, bias), y)
