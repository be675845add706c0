"""Static description of a dense convolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from nets.arrays import Array
from nets.conv.algorithm import tiles, winograd_tile
from nets.conv.geometry import Border, Geometry, Pair, Taps, forward_taps, halo, transposed_taps
from nets.conv.tensor_layout import padded


@dataclass(frozen=True, eq=False)
class ConvSpec:
    """A dense convolution, or a transposed one, of images (rows, cols, channels).

    Instances are unique, and so serve as fast cache keys.
    """

    size: Pair
    inputs: int
    out: Pair
    outputs: int
    phases: tuple[Taps, ...]  # stride of the target pixels
    step: Pair  # pixels between neighbouring targets of a phase
    walk: Pair  # and in the source
    frame: Border  # zeros around the source
    along: Pair  # in the weights: strides of the outputs and of the inputs

    @cached_property
    def taps(self) -> int:
        """Number of taps."""
        return sum(len(phase.taps) for phase in self.phases)

    @cached_property
    def stored(self) -> int:
        """Number of outputs computed, including padding."""
        return padded(self.outputs)

    @cached_property
    def framed(self) -> Pair:
        """Rows and columns of a source, including its frame."""
        top, left, bottom, right = self.frame
        return self.size[0] + top + bottom, self.size[1] + left + right

    @cached_property
    def pixels(self) -> int:
        """Pixels of the target."""
        return self.out[0] * self.out[1]

    @cached_property
    def work(self) -> int:
        """Multiplications for one image."""
        return self.pixels * self.inputs * self.outputs * self.taps // len(self.phases)

    @cached_property
    def tile(self) -> int:
        """Side of Winograd tiles in outputs, 0 if Winograd does not apply or pay."""
        taps = self.phases[0].taps
        origin = [(tap.row - taps[0].row, tap.col - taps[0].col) for tap in taps]
        square = origin == [(u, v) for u in range(3) for v in range(3)]
        if not square or self.step != (1, 1) or self.walk != (1, 1):
            return 0
        return winograd_tile(self.inputs, self.outputs, self.out)

    def tiles(self, side: int) -> int:
        """Return the number of tiles of side x side outputs in an image."""
        return tiles(self.out, side)


@lru_cache(4096)
def forward_spec(
    size: Pair, inputs: int, out: Pair, outputs: int, side: Pair, how: Geometry
) -> ConvSpec:
    """Return the convolution of an image of ``size``."""
    phases = forward_taps(side, how)
    frame = halo(side, size, out, how)
    along = (inputs * side[0] * side[1], side[0] * side[1])
    return ConvSpec(size, inputs, out, outputs, phases, (1, 1), how.stride, frame, along)


@lru_cache(4096)
def transposed_spec(
    size: Pair, inputs: int, out: Pair, outputs: int, side: Pair, how: Geometry
) -> ConvSpec:
    """Return the transposed convolution, from outputs to inputs; see `forward_spec`."""
    phases = transposed_taps(side, how)
    frame = halo(side, size, out, how, transposed=True)
    along = (side[0] * side[1], outputs * side[0] * side[1])
    return ConvSpec(size, inputs, out, outputs, phases, how.stride, (1, 1), frame, along)


@lru_cache(4096)
def packing(spec: ConvSpec, first: int, count: int) -> Array:
    """Return the loop parameters of `pack_weights`."""
    parameters = [spec.outputs, first, count, spec.inputs, *spec.along, len(spec.phases)]
    for phase in spec.phases:
        parameters += [len(phase.taps), *(tap.weight for tap in phase.taps)]
    return np.array(parameters, np.int64)
