"""Which kernel computes a convolution: a small cost model with measured rates.

The rates are those of one Zen 4 core in nanoseconds, fitted to 170 layers (8 to 512 channels, 3 x 3
to 160 x 160 pixels); in nine of ten the model is within 6 %, and its choice costs 16 % at worst.
Only their ratios matter, and they are alike on machines of other register widths. ``algorithms`` of
`nets.compile` overrules the choice for single layers.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from nets.conv.packing import padded

if TYPE_CHECKING:
    from nets.operators.convolution.layer import Conv

MAC_NS = 0.0171  # a multiply-add in the register tile
CHANNEL_NS = 0.022  # a multiply-add of a depthwise convolution
WEIGHT_NS = 0.006  # reading one weight
STORE_NS = 0.185  # finishing and storing one output
# One number through the transforms of Winograd, into and out of the products, by tile.
INTO_NS = {2: 0.167, 3: 0.167, 4: 0.206}
OUT_OF_NS = {2: 0.107, 3: 0.107, 4: 0.086}


def options(layer: Conv) -> list[str]:
    """The kernels that can compute a layer."""
    if layer.depthwise:
        return ["depthwise"]
    found = ["direct"]
    if layer.groups > 1 or layer.pooled:
        return found
    if layer.kind == "conv" and layer.kernel == (3, 3) and layer.stride == (1, 1):
        found += ["winograd2", "winograd4"]
    if layer.kind == "transposed" and layer.dilation == (1, 1):
        times = {k / s for k, s in zip(layer.kernel, layer.stride, strict=True)}
        found += ["winograd3"] if times == {2} else ["winograd4"] if times == {3} else []
    return found


def choose(layer: Conv) -> str:
    """The cheapest kernel by the model."""
    return min(options(layer), key=lambda how: cost(layer, how))


def cost(layer: Conv, how: str) -> float:
    """Estimated nanoseconds of one core for one image: the choice is the same for any batch."""
    macs = layer.macs() / layer.y.images
    if layer.depthwise:
        return macs * CHANNEL_NS
    inputs, outputs = padded(layer.x.channels), padded(layer.y.channels)
    if how == "direct":
        pixels = prod(layer.inner[2:])
        computed = macs * outputs / layer.y.channels * in_tiles(pixels) / pixels
        return computed * MAC_NS + layer.weights.size * WEIGHT_NS + pixels * outputs * STORE_NS
    tile = int(how.removeprefix("winograd"))
    elements = (tile + (1 if tile == 3 else 2)) ** 2
    transposed = layer.kind == "transposed"
    steps = layer.stride if transposed else layer.dilation
    phases = prod(steps)
    into = min(phases, 4) if transposed else phases  # phases share what they read
    tiles = prod(-(-n // (tile * step)) for n, step in zip(layer.y[2:], steps, strict=True))
    weights = elements * inputs * outputs * (phases if transposed else 1)
    products = phases * in_tiles(tiles) * elements * inputs * outputs
    numbers = into * inputs * INTO_NS[tile] + phases * outputs * OUT_OF_NS[tile]
    return products * MAC_NS + weights * WEIGHT_NS + tiles * elements * numbers


def in_tiles(pixels: int) -> int:
    """Pixels that the register tiles of six and four compute for this many."""
    rest = pixels if pixels < 9 else 3 + (pixels - 3) % 6
    return pixels - rest + (4 if rest <= 4 else rest + rest % 2)
