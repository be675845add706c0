"""Convolutions side by side on the same input become one with more channels.

Detection heads are many thin convolutions of one map: together they fill the register tile that
each would leave half empty, and the map is read once.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from nets.packing.slots import F32
from nets.plan.layers.base import Image, Layer
from nets.plan.layers.dense import Conv
from nets.plan.lower import Lowering

FULL = 16  # channels of the register tile
WIDEST = 128  # outputs beyond which there is nothing to gain


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
            _merge(lowering, found)
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


def _merge(lowering: Lowering, group: list[Conv]) -> None:
    """Replace ``group`` by one layer where the first of them stood."""
    first = group[0]
    weights: F32 = np.concatenate([layer.weights for layer in group])
    bias: F32 = np.concatenate([layer.bias for layer in group])
    name = "+".join(layer.name for layer in group)
    output = "+".join(layer.output for layer in group)
    form = first.y._replace(channels=len(weights))
    merged = Conv(
        name, first.inputs[0], output, first.x, form, weights, bias, stride=first.stride,
        dilation=first.dilation, padding=first.padding, groups=1,
    )  # fmt: skip
    _replace(lowering, group, merged, form)


def _replace(lowering: Lowering, group: list[Conv], merged: Conv, form: Image) -> None:
    merged.clamp(group[0].lo, group[0].hi)
    merged.pooled = group[0].pooled
    at = lowering.layers.index(group[0])
    lowering.layers[at] = merged
    for layer in group[1:]:
        lowering.layers.remove(layer)
    lowering.forms[merged.output] = form
    lowering.maker[merged.output] = merged
    start = 0
    for layer in group:
        lowering.views[layer.output] = (merged.output, start)
        start += layer.y.channels


def _merge_depthwise(lowering: Lowering) -> None:
    """Depthwise convolutions of neighbouring slices of one array are one over all of it."""
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
        base, end = lowering.views[found[0].inputs[0]]
        whole = lowering.forms[base]
        for layer in found:
            if lowering.views[layer.inputs[0]][1] != end:
                break
            end += layer.y.channels
        if len(found) < 2 or not isinstance(whole, Image) or end != whole.channels:
            continue
        earliest = min(found, key=lowering.layers.index)
        form = found[0].y._replace(channels=end)
        merged = Conv(
            "+".join(layer.name for layer in found), base, "+".join(la.output for la in found),
            whole, form, np.concatenate([layer.weights for layer in found]),
            np.concatenate([layer.bias for layer in found]), stride=earliest.stride,
            dilation=earliest.dilation, padding=earliest.padding, groups=end,
        )  # fmt: skip
        at = lowering.layers.index(earliest)
        _replace(lowering, found, merged, form)
        lowering.layers.remove(merged)
        lowering.layers.insert(min(at, len(lowering.layers)), merged)
