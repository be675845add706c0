"""Loop parameters of the dense convolution kernels: loop order and pixel geometry.

Loop parameters are computed once for every spec and image count, and cached.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nets.arrays import Array
from nets.conv.geometry import adjacent
from nets.conv.spec import ConvSpec
from nets.kernels import conv
from nets.kernels import weights as kernels

CACHE = 1 << 16  # floats that fit in the cache of a core
PIXELS = 192  # pixels of a block over which a gradient is summed before the next weights
LONGEST = 256  # pixels of a row merged from several
Three = tuple[int, int, int]


class _Order(NamedTuple):
    """Three loops, outermost first: counts, steps in the source and in the target (pixels)."""

    counts: Three
    source: Three
    target: Three
    plain: bool = False  # images, rows, columns; the counts of each phase differ


def _order(spec: ConvSpec, images: int, fewest: int, tiny: int) -> _Order:
    """Return the loop order over the pixels of some images: tiles fill the innermost two.

    Maps of at most ``tiny`` pixels are traversed side by side.
    """
    (rows, cols), (high, wide), step, walk = spec.out, spec.framed, spec.step, spec.walk
    most = (-(-rows // step[0]), -(-cols // step[1]))
    source = (high * wide, walk[0] * wide, walk[1])
    target = (rows * cols, step[0] * cols, step[1])
    plain = walk == (1, 1) == step and (high, wide) == (rows, cols) and spec.framed == spec.size
    if plain and spec.taps == 1:
        return _flat(images, rows, cols, fewest)
    even = rows % step[0] == 0 == cols % step[1]
    if even and most[0] < images and most[0] * most[1] <= tiny:
        return _Order((*most, images), (*source[1:], source[0]), (*target[1:], target[0]))
    return _Order((images, *most), source, target, True)


def _flat(images: int, rows: int, cols: int, fewest: int) -> _Order:
    """Flatten pixels into rows long enough for tiles and short enough for the cache."""
    total, last = images * rows * cols, cols
    if last < fewest:
        last *= rows
    if last < fewest:
        last = images * last
        if last > LONGEST:  # the largest divisor that is neither too short nor too long
            parts = (n for n in range(LONGEST, fewest, -1) if total % n == 0)
            last = next(parts, last)
    steps = (total, last, 1)
    return _Order((1, total // last, last), steps, steps)


@lru_cache(4096)
def forward_parameters(spec: ConvSpec, images: int, outputs: int) -> tuple[Array, int]:
    """Return the geometry for `conv_direct` with the source at 0, and its number of rows."""
    order = _order(spec, images, 24, 64)
    inputs, stored, (_, wide) = spec.inputs, spec.stored, spec.framed
    tables = [0] * -(-outputs // 16)
    phases, done = [], 0
    for phase in spec.phases:
        runs = adjacent(phase.taps)
        places = [(tap.row * wide + tap.col) * inputs for tap in (r[0] for r in runs)]
        rows = -(-(spec.out[0] - phase.row) // spec.step[0])
        cols = -(-(spec.out[1] - phase.col) // spec.step[1])
        if not order.plain:
            rows, cols = order.counts[1:]
        at = conv.FIELDS + len(tables)
        tables += places
        length = len(runs[0]) * inputs if runs else 0
        target = (phase.row * spec.out[1] + phase.col) * stored
        phases += [target, 0, max(rows, 0), max(cols, 0), at, len(runs), length]
        phases += [done * inputs * outputs]
        done += len(phase.taps)
    shape = np.zeros(conv.FIELDS + len(tables) + len(phases), np.int64)
    top, left, _, _ = spec.frame
    shape[conv.X] = (top * wide + left) * inputs
    shape[[conv.X_IMAGE, conv.X_ROW, conv.X_PIXEL]] = [s * inputs for s in order.source]
    shape[[conv.Y_IMAGE, conv.Y_ROW, conv.Y_PIXEL]] = [s * stored for s in order.target]
    shape[[conv.R, conv.SLOPE, conv.K]] = -1, -1, outputs
    shape[[conv.ROWS, conv.COLS]] = order.counts[1:]
    pixels = max(1, order.counts[2] * max(spec.walk[1], 1))
    shape[conv.BLOCK] = max(1, CACHE // 2 // (pixels * inputs))
    shape[conv.CHANNELS] = conv.FIELDS
    shape[conv.PHASES] = conv.FIELDS + len(tables)
    shape[conv.N_PHASES] = len(spec.phases)
    shape[conv.FIELDS :] = tables + phases
    return shape, order.counts[0] * order.counts[1]


@lru_cache(4096)
def gradient_parameters(spec: ConvSpec, images: int, outputs: int) -> Array:
    """Return the geometry for the kernel `weight_gradient`."""
    order, (_, wide), inputs = _order(spec, images, 16, 16), spec.framed, spec.inputs
    runs = adjacent(spec.phases[0].taps)
    top, left, _, _ = spec.frame
    shape = np.zeros(kernels.GRADIENT + 2 * len(runs), np.int64)
    shape[kernels.X] = (top * wide + left) * inputs
    shape[[kernels.X_0, kernels.X_1, kernels.X_2]] = [s * inputs for s in order.source]
    shape[[kernels.Y_0, kernels.Y_1, kernels.Y_2]] = [s * spec.stored for s in order.target]
    shape[[kernels.N_0, kernels.N_1, kernels.N_2]] = order.counts
    shape[kernels.BLOCK] = max(1, math.ceil(PIXELS / order.counts[2]))
    shape[[kernels.K, kernels.RUN, kernels.TAPS]] = outputs, len(runs[0]) * inputs, len(runs)
    for t, run in enumerate(runs):
        shape[kernels.GRADIENT + t] = (run[0].row * wide + run[0].col) * inputs
    return shape
