"""Merge parallel convolutions of one input into one with more channels.

Detection heads are many convolutions with few outputs on one map: merged, they fill the register
tile that each would leave half empty, and the map is read once.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

import numpy as np

from nets.conv.tensor_layout import F32
from nets.operators.convolution.layer import Conv
from nets.operators.layer import Image, Layer
from nets.operators.lowering import Lowering

FULL = 16  # channels of the register tile
WIDEST = 128  # outputs above which merging gains nothing


def merge_siblings(lowering: Lowering) -> None:
    """Merge dense convolutions of one input, then the depthwise ones that follow them."""
    groups: dict[object, list[Conv]] = defaultdict(list)
    for layer in lowering.layers:
        if _can_merge(lowering, layer) and isinstance(layer, Conv):
            groups[_key(layer, layer.inputs[0])].append(layer)
    for found in groups.values():
        total = sum(layer.y.channels for layer in found)
        thin = any(layer.y.channels % FULL for layer in found)
        if len(found) > 1 and thin and total <= WIDEST:
            _merge(lowering, found, found[0].inputs[0], found[0].x, 1)
    _merge_depthwise(lowering)


def _can_merge(lowering: Lowering, layer: Layer) -> bool:
    return (
        type(layer) is Conv and layer.groups == 1 and layer.residual is None
        and layer.output not in lowering.views
        and layer.algorithm == "auto"
        and layer.slope is None
    )  # fmt: skip


def _key(layer: Conv, source: str) -> object:
    return (
        source, layer.kernel, layer.stride, layer.dilation, layer.padding, layer.lo, layer.hi,
        layer.pooled, layer.y[2:],
    )  # fmt: skip


def _merge(lowering: Lowering, group: list[Conv], source: str, x: Image, groups: int) -> None:
    """Replace ``group`` by one layer that reads ``source``, at the position of the first."""
    like = group[0]
    weights: F32 = np.concatenate([layer.weights for layer in group])
    bias: F32 = np.concatenate([layer.bias for layer in group])
    name = "+".join(layer.name for layer in group)
    output = "+".join(layer.output for layer in group)
    form = like.y._replace(channels=len(weights))
    merged = Conv(
        name, source, output, x, form, weights, bias, stride=like.stride, dilation=like.dilation,
        padding=like.padding, groups=groups,
    )  # fmt: skip
    merged.clamp(like.lo, like.hi)
    merged.pooled = like.pooled
    first = min(group, key=lowering.layers.index)
    lowering.layers[lowering.layers.index(first)] = merged
    lowering.forms[output], lowering.maker[output] = form, merged
    start = 0
    for layer in group:
        if layer is not first:
            lowering.layers.remove(layer)
        lowering.views[layer.output] = (output, start)
        start += layer.y.channels


def _merge_depthwise(lowering: Lowering) -> None:
    """Merge depthwise convolutions of neighbouring slices of one array."""
    groups: dict[object, list[Conv]] = defaultdict(list)
    for layer in lowering.layers:
        if (
            isinstance(layer, Conv) and layer.depthwise and layer.residual is None
            and layer.slope is None and layer.output not in lowering.views
            and layer.inputs[0] in lowering.views
        ):  # fmt: skip
            base, _ = lowering.views[layer.inputs[0]]
            groups[_key(layer, base)].append(layer)
    for found in groups.values():
        found.sort(key=lambda layer: lowering.views[layer.inputs[0]][1])
        base, _ = lowering.views[found[0].inputs[0]]
        whole = lowering.forms[base]
        if len(found) < 2 or not isinstance(whole, Image):
            continue
        starts = [lowering.views[layer.inputs[0]][1] for layer in found]
        ends = accumulate((layer.y.channels for layer in found), initial=0)
        if [*starts, whole.channels] == list(ends) and _written(lowering, base, found):
            _merge(lowering, found, base, whole, whole.channels)


def _written(lowering: Lowering, base: str, readers: list[Conv]) -> bool:
    """Return True if an array is complete before its first reader runs."""
    top, _ = lowering.base(base)
    first = min(map(lowering.layers.index, readers))
    return not any(
        lowering.base(name)[0] == top for layer in lowering.layers[first:] for name in layer.outputs
    )
