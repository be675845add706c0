"""Choice of the convolution algorithm: direct, depthwise, or Winograd by tile size.

Compiled networks use `choose`, a small cost model with measured rates: their weights are
transformed once, and packed layers may be dilated or transposed. Training steps transform the
weights every time and support fewer forms: they use `winograd_tile`.

The rates are nanoseconds of one Zen 4 core, fitted to 170 layers (8 to 512 channels, 3 x 3 to
160 x 160 pixels); in nine of ten the model is within 6 %, and its choice is at most 16 % slower
than the best. Only their ratios matter, which are similar for other register widths.
``algorithms`` of `nets.compile` overrides the choice for single layers.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple

from nets.conv.geometry import Pair
from nets.conv.tensor_layout import padded

MAC_NS = 0.0171  # a multiply-add in the register tile
CHANNEL_NS = 0.022  # a multiply-add of a depthwise convolution
WEIGHT_NS = 0.006  # reading one weight
STORE_NS = 0.185  # finishing and storing one output
# One value through the transforms of Winograd, into and out of the products, by tile.
INTO_NS = {2: 0.167, 3: 0.167, 4: 0.206}
OUT_OF_NS = {2: 0.107, 3: 0.107, 4: 0.086}
LEAST = 32  # minimum channels and outputs for Winograd in training


class Workload(NamedTuple):
    """A convolution of one image, as input of the cost model; pairs are (rows, cols)."""

    inputs: int
    outputs: int
    out: Pair
    kernel: Pair
    stride: Pair
    dilation: Pair
    macs: int
    weights: int
    groups: int = 1
    transposed: bool = False
    depthwise: bool = False
    pooled: bool = False  # fused 2 x 2 max pooling of a result twice as large as ``out``


def options(work: Workload) -> list[str]:
    """Return the algorithms that can compute a convolution."""
    if work.depthwise:
        return ["depthwise"]
    found = ["direct"]
    if work.groups > 1 or work.pooled:
        return found
    if not work.transposed and work.kernel == (3, 3) and work.stride == (1, 1):
        found += ["winograd2", "winograd4"]
    if work.transposed and work.dilation == (1, 1):
        times = {k / s for k, s in zip(work.kernel, work.stride, strict=True)}
        found += ["winograd3"] if times == {2} else ["winograd4"] if times == {3} else []
    return found


@lru_cache(4096)
def choose(work: Workload) -> str:
    """Return the cheapest algorithm by the cost model."""
    return min(options(work), key=lambda how: cost(work, how))


def cost(work: Workload, how: str) -> float:
    """Estimate nanoseconds on one core for one image: the choice is independent of the batch."""
    if work.depthwise:
        return work.macs * CHANNEL_NS
    inputs, outputs = padded(work.inputs), padded(work.outputs)
    if how == "direct":
        pixels = prod(work.out) * (4 if work.pooled else 1)
        computed = work.macs * outputs / work.outputs * in_tiles(pixels) / pixels
        return computed * MAC_NS + work.weights * WEIGHT_NS + pixels * outputs * STORE_NS
    tile = int(how.removeprefix("winograd"))
    elements = (tile + (1 if tile == 3 else 2)) ** 2
    steps = work.stride if work.transposed else work.dilation
    phases = prod(steps)
    into = min(phases, 4) if work.transposed else phases  # phases share their reads
    blocks = prod(-(-n // (tile * step)) for n, step in zip(work.out, steps, strict=True))
    weights = elements * inputs * outputs * (phases if work.transposed else 1)
    products = phases * in_tiles(blocks) * elements * inputs * outputs
    numbers = into * inputs * INTO_NS[tile] + phases * outputs * OUT_OF_NS[tile]
    return products * MAC_NS + weights * WEIGHT_NS + blocks * elements * numbers


def in_tiles(pixels: int) -> int:
    """Return the pixels computed by register tiles of six and four to cover ``pixels``."""
    rest = pixels if pixels < 9 else 3 + (pixels - 3) % 6
    return pixels - rest + (4 if rest <= 4 else rest + rest % 2)


def winograd_tile(inputs: int, outputs: int, out: Pair) -> int:
    """Return the Winograd tile size for a 3 x 3 convolution in training; 0 for none."""
    if inputs % 16 or outputs % 16 or min(inputs, outputs) < LEAST:
        return 0
    costs = {side: 1.3 * (side + 2) ** 2 * tiles(out, side) for side in (2, 4)}
    best = min(costs, key=lambda side: costs[side])
    return best if costs[best] < 9 * prod(out) else 0


def tiles(out: Pair, side: int) -> int:
    """Return the number of tiles of side x side outputs in an image."""
    return -(-out[0] // side) * -(-out[1] // side)
