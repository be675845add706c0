"""Which kernel computes a convolution: a small cost model with measured rates.

The rates are those of one Zen 3 core (AVX2) in nanoseconds; only their ratios matter, and they are
alike on other machines with the same register width. ``algorithms`` of `nets.compile` overrules
the choice for single layers.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from nets.packing import padded

if TYPE_CHECKING:
    from nets.plan.layers.dense import Conv

# Nanoseconds for a multiply-add in the register tile, and for moving one number through the
# transforms of Winograd, into and out of the products.
TILE_NS = 0.0215
INTO_NS = {2: 0.30, 4: 0.33}
OUT_OF_NS = {2: 0.35, 4: 0.40}


def options(layer: Conv) -> list[str]:
    """The kernels that can compute a layer."""
    if layer.depthwise:
        return ["depthwise"]
    found = ["direct"]
    plain = (
        layer.groups == 1 and layer.x.channels >= 8 and layer.kind == "conv" and not layer.pooled
    )
    if plain and layer.kernel == (3, 3) and layer.stride == (1, 1):
        found += ["winograd2", "winograd4"]
    return found


def choose(layer: Conv) -> str:
    """The cheapest kernel by the model."""
    return min(options(layer), key=lambda how: cost(layer, how))


def cost(layer: Conv, how: str) -> float:
    """Estimated nanoseconds of one core."""
    outputs = padded(layer.y.channels)
    if how in ("direct", "depthwise"):
        return layer.macs() * TILE_NS * outputs / layer.y.channels
    tile = int(how.removeprefix("winograd"))
    inputs = padded(layer.x.channels)
    d = prod(layer.dilation)
    tiles = (
        layer.y.images
        * d
        * prod(-(-n // (tile * step)) for n, step in zip(layer.y[2:], layer.dilation, strict=True))
    )
    elements = (tile + 2) ** 2
    products = tiles * elements * inputs * outputs * TILE_NS
    return products + tiles * elements * (inputs * INTO_NS[tile] + outputs * OUT_OF_NS[tile])
