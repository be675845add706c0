"""What is known of a dense convolution before its numbers are."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nets.graph.ir import Array
from nets.ops.geometry import Geometry, Pair, Taps, extent, forward_taps, transposed_taps


class Layer(NamedTuple):
    """A dense convolution, or a transposed one, of images (rows, cols, channels)."""

    size: Pair
    inputs: int
    out: Pair
    outputs: int
    phases: tuple[Taps, ...]  # of the target pixels
    step: Pair  # pixels from one target of a phase to the next one
    walk: Pair  # and in the source
    frame: tuple[int, int, int, int]  # zeros around the source: top, left, bottom, right
    along: Pair  # in the weights: from one output to the next one, from one input to the next one

    @property
    def taps(self) -> int:
        """How many there are."""
        return sum(len(phase.taps) for phase in self.phases)

    @property
    def stored(self) -> int:
        """Outputs, as many as are computed."""
        return -(-self.outputs // 8) * 8

    @property
    def framed(self) -> Pair:
        """Rows and columns of a source with its frame."""
        top, left, bottom, right = self.frame
        return self.size[0] + top + bottom, self.size[1] + left + right

    @property
    def pixels(self) -> int:
        """Of the target."""
        return self.out[0] * self.out[1]

    @property
    def work(self) -> int:
        """Multiplications for one image."""
        return self.pixels * self.inputs * self.outputs * self.taps // len(self.phases)


@lru_cache(4096)
def forward_layer(
    size: Pair, inputs: int, out: Pair, outputs: int, side: Pair, how: Geometry
) -> Layer:
    """The convolution of an image of `size`."""
    phases = forward_taps(side, how)
    frame = extent(phases, size, out, (1, 1), how.stride)
    along = (inputs * side[0] * side[1], side[0] * side[1])
    return Layer(size, inputs, out, outputs, phases, (1, 1), how.stride, frame, along)


@lru_cache(4096)
def backward_layer(
    size: Pair, inputs: int, out: Pair, outputs: int, side: Pair, how: Geometry
) -> Layer:
    """From outputs of a convolution (inputs here) to its inputs; see `forward_layer`."""
    phases = transposed_taps(side, how)
    frame = extent(phases, size, out, how.stride, (1, 1))
    along = (side[0] * side[1], outputs * side[0] * side[1])
    return Layer(size, inputs, out, outputs, phases, how.stride, (1, 1), frame, along)


@lru_cache(4096)
def packing(layer: Layer, first: int, count: int) -> Array:
    """Fields of `pack_weights`."""
    fields = [layer.outputs, first, count, layer.inputs, *layer.along, len(layer.phases)]
    for phase in layer.phases:
        fields += [len(phase.taps), *(tap.weight for tap in phase.taps)]
    return np.array(fields, np.int64)
