"""Poolings, means over pixels, and resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.graph.ir import Node
from nets.graph.operators.base import axes_of
from nets.graph.operators.pooling import pool_geometry
from nets.graph.operators.resize import coordinates, nearest_index, target_of
from nets.graph.operators.windows import text
from nets.plan.layers.base import Image
from nets.plan.layers.dense import Conv
from nets.plan.layers.window import Axis, Pool, Resize
from nets.plan.lower import Lowering, rule


@rule("MaxPool", "AveragePool")
def pooling(lowering: Lowering, node: Node) -> bool:
    """A 2 x 2 maximum behind a depthwise convolution is computed with it."""
    spec = lowering.spec(node.inputs[0])
    if spec.rank != 4 or len([name for name in node.outputs if name]) != 1:
        return False
    geometry = pool_geometry(node, spec)
    before = lowering.alone(node.inputs[0])
    plain = geometry.kernel == geometry.strides == (2, 2) and geometry.dilations == (1, 1)
    halved = geometry.out == (spec.dims[2] // 2, spec.dims[3] // 2)
    if (
        node.op == "MaxPool" and plain and halved and geometry.pads == ((0, 0), (0, 0))
        and isinstance(before, Conv) and before.depthwise
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
        mean=mean, include_pad=include,
    )  # fmt: skip
    return lowering.add(layer, y)


def _global(lowering: Lowering, node: Node, mean: bool) -> bool:
    x = lowering.wanted(node.inputs[0])
    if x is None or lowering.spec(node.inputs[0]).rank != 4:
        return False
    y = Image(x.images, x.channels, 1, 1)
    axes = (Axis.adaptive(x.height, 1), Axis.adaptive(x.width, 1))
    layer = Pool(node.name, node.inputs[0], node.outputs[0], x, y, axes, mean=mean)
    return lowering.add(layer, y)


@rule("GlobalAveragePool", "GlobalMaxPool")
def global_pooling(lowering: Lowering, node: Node) -> bool:
    """One window."""
    return _global(lowering, node, node.op == "GlobalAveragePool")


@rule("ReduceMean", "ReduceMax")
def reduction(lowering: Lowering, node: Node) -> bool:
    """Over both pixel axes it is a global pooling; anything else is left to NumPy."""
    spec, given = lowering.spec(node.inputs[0]), lowering.constant(node, 1)
    axes: Any = node.get("axes") if given is None else given
    if spec.rank != 4 or axes is None or axes_of(axes, 4) != (2, 3):
        return False
    return _global(lowering, node, node.op == "ReduceMean")


@rule("Resize", "Upsample")
def resizing(lowering: Lowering, node: Node) -> bool:
    """Nearest and bilinear interpolation of pixels."""
    spec = lowering.spec(node.inputs[0])
    mode = text(node, "mode", "nearest")
    crop = text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    rest = [lowering.constant(node, i) for i in range(1, len(node.inputs))]
    out = lowering.spec(node.outputs[0]).dims
    if spec.rank != 4 or mode == "cubic" or crop or node.get("antialias", 0):
        return False
    if node.get("exclude_outside", 0) or out[:2] != spec.dims[:2] or 0 in out:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    target = target_of(node, spec.dims, *rest)
    places = [coordinates(node, target, axis, spec.dims[axis]) for axis in (2, 3)]
    weights = None
    if mode == "nearest":
        index = [nearest_index(node, at, n) for at, n in zip(places, x[2:], strict=True)]
    else:
        floors = [np.floor(at).astype(np.int64) for at in places]
        shares = [at - low for at, low in zip(places, floors, strict=True)]
        weights = np.concatenate(shares).astype(np.float32)
        index = [
            np.clip(np.stack([low, low + 1], 1), 0, n - 1)
            for low, n in zip(floors, x[2:], strict=True)
        ]
    y = x._replace(height=out[2], width=out[3])
    layer = Resize(node.name, node.inputs[0], node.outputs[0], y, (index[0], index[1]), weights)
    return lowering.add(layer, y)
