"""Normalisations and softmax."""

from __future__ import annotations

import numpy as np

from nets.compiler.layers.pointwise import Norm, Response, Softmax
from nets.compiler.lower import Lowering, rule
from nets.compiler.rules.arithmetic import affine
from nets.graph.ir import Node
from nets.graph.operators.base import axis_of


@rule("BatchNormalization")
def batch_norm(lowering: Lowering, node: Node) -> bool:
    """A factor and a shift, usually part of the convolution before."""
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
    return affine(lowering, node.name, node.inputs[0], node.outputs[0], x, factor, shift)


@rule("InstanceNormalization", "GroupNormalization")
def group_norm(lowering: Lowering, node: Node) -> bool:
    """Moments of groups of channels."""
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


@rule("LRN")
def response_norm(lowering: Lowering, node: Node) -> bool:
    """Local response normalisation over channels."""
    x = lowering.wanted(node.inputs[0]) if lowering.spec(node.inputs[0]).rank == 4 else None
    if x is None:
        return False
    layer = Response(
        node.name, node.inputs[0], node.outputs[0], int(node.get("size")),
        node.get("bias", 1.0), node.get("alpha", 1e-4), node.get("beta", 0.75),
    )  # fmt: skip
    return lowering.add(layer, x)


@rule("Softmax")
def softmax(lowering: Lowering, node: Node) -> bool:
    """Over the channels of pixels, or over the last axis of rows."""
    name = node.inputs[0]
    spec, form = lowering.spec(name), lowering.image(name) or lowering.rows(name)
    if form is None or spec.rank < 2:
        return False
    axis = axis_of(node.get("axis", -1 if node.opset >= 13 else 1), spec.rank)
    if node.opset < 13 and any(n != 1 for n in spec.dims[axis + 1 :]):
        return False  # everything from the axis on is one softmax
    wanted = 1 if lowering.image(name) else spec.rank - 1
    if axis != wanted:
        return False
    return lowering.add(Softmax(node.name, [name], node.outputs[0]), form)
