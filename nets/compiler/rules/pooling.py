"""Poolings, means over pixels, and resizing."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.compiler.layers.base import Image
from nets.compiler.layers.dense import Conv
from nets.compiler.layers.pointwise import Maxout
from nets.compiler.layers.window import Axis, Pool, Resize, Unpool
from nets.compiler.lower import F32, Lowering, rule
from nets.graph.ir import Node
from nets.graph.operators.base import axes_of
from nets.graph.operators.pooling import pool_geometry
from nets.graph.operators.resize import coordinates, nearest_index, target_of
from nets.graph.operators.windows import text


@rule("MaxPool", "AveragePool")
def pooling(lowering: Lowering, node: Node) -> bool:
    """A 2 x 2 maximum behind a depthwise convolution is computed with it."""
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
    """Whether the indices of a MaxPool only serve to undo it: then switches will do."""
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
        and source.dtype == F32
        and switches not in lowering.final
        and all(undoes(reader) for reader in lowering.readers[switches])
    )


@rule("MaxUnpool")
def unpooling(lowering: Lowering, node: Node) -> bool:
    """By the switches of a pooling in the arena."""
    pool = lowering.maker.get(node.inputs[1])
    if not isinstance(pool, Pool) or node.inputs[1] != pool.switches:
        return False
    if lowering.wanted(node.inputs[0]) is None:
        return False
    layer = Unpool(
        node.name, node.inputs[0], node.inputs[1], node.outputs[0], pool.x, pool.axes, pool.window
    )
    return lowering.add(layer, pool.x)


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
    """Over both pixel axes a global pooling, over pieces of the channels maxout."""
    spec, given = lowering.spec(node.inputs[0]), lowering.constant(node, 1)
    axes: Any = node.get("axes") if given is None else given
    if axes is None:
        return False
    if spec.rank == 5 and node.op == "ReduceMax" and axes_of(axes, 5) == (2,):
        return _maxout(lowering, node, spec.dims)
    if spec.rank != 4 or axes_of(axes, 4) != (2, 3):
        return False
    return _global(lowering, node, node.op == "ReduceMean")


def _maxout(lowering: Lowering, node: Node, dims: tuple[int, ...]) -> bool:
    """(N, K, pieces, H, W), a reshaped map, and the largest of the pieces."""
    source = lowering.root(node.inputs[0])
    form = lowering.forms.get(source)
    if not isinstance(form, Image) or node.get("keepdims", 1):
        return False
    if dims != (form.images, dims[1], dims[2], *form[2:]) or dims[1] * dims[2] != form.channels:
        return False
    layer = Maxout(node.name, source, node.outputs[0], dims[2])
    return lowering.add(layer, form._replace(channels=dims[1]))


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
