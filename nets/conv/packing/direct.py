"""Packing for `conv_direct`: dense, strided, dilated, grouped and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nets.conv.geometry import (
    Border,
    Geometry,
    Pair,
    Tap,
    Taps,
    adjacent,
    extent,
    forward_taps,
    transposed_taps,
)
from nets.conv.tensor_layout import (
    F32,
    I64,
    Packed,
    Phase,
    TensorLayout,
    affine,
    aligned,
    geometry,
    padded,
)
from nets.kernels import conv

CACHE = 1 << 17  # bytes of input read by one block of rows
Phases = list[tuple[int, int, list[Pair], F32]]  # row, col; taps; weights (taps, K, C / groups)


def pack_direct(
    weights: F32,
    bias: F32 | None = None,
    *,
    pixel: int | None = None,
    dilation: Pair = (1, 1),
    groups: int = 1,
    slope: F32 | None = None,
) -> Packed:
    """Pack (K, C / groups, kh, kw) weights for `conv_direct`; ``pixel`` is the input's stride."""
    phases = forward_taps(weights.shape[2:], Geometry((1, 1), (0, 0), dilation, groups))
    return _pack(_weighted(phases, weights), bias, slope, groups, pixel)


def pack_transposed(
    weights: F32,
    bias: F32 | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    pixel: int | None = None,
    slope: F32 | None = None,
) -> Packed:
    """Pack (C, K / groups, kh, kw) weights of a transposed convolution for `conv_direct`.

    ``padding`` is top and left; a smaller or larger output tensor means cropping or output padding
    at the bottom and right.
    """
    phases = transposed_phases(weights, stride, padding, dilation, groups)
    return _pack(phases, bias, slope, groups, pixel)


def transposed_phases(
    weights: F32, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Phases:
    """Split a transposed convolution into plain ones, ordered so that equal taps are adjacent."""
    inputs, per_group, *side = weights.shape
    by_group = weights.reshape(groups, inputs // groups, per_group, *side)
    oihw = by_group.swapaxes(1, 2).reshape(groups * per_group, -1, *side)
    phases = transposed_taps(oihw.shape[2:], Geometry(stride, padding, dilation, groups))
    return sorted(_weighted(phases, oihw), key=lambda phase: phase[2])


def _weighted(phases: Sequence[Taps], weights: F32) -> Phases:
    """Return the taps of each phase with their weights, from (K, C / groups, kh, kw)."""
    by_tap = weights.reshape(*weights.shape[:2], -1).transpose(2, 0, 1)
    return [
        (row, col, [tap[:2] for tap in taps], by_tap[[tap.weight for tap in taps]])
        for row, col, taps in phases
    ]


def _pack(
    phases: Phases,
    bias: F32 | None,
    slope: F32 | None,
    groups: int,
    pixel: int | None,
) -> Packed:
    """Pack phases into one array."""
    outputs, per_group = phases[0][3].shape[1:]
    stored = padded(outputs)
    pixel = padded(groups * per_group) if pixel is None else pixel
    group = np.arange(outputs) // (outputs // groups)
    span, starts = _channel_ranges(group * per_group, per_group)
    # Row of each weight in the (steps, K) matrix of its tap; groups are filled with zero weights.
    row = (group * per_group - starts[np.arange(outputs) // 16])[:, None] + np.arange(per_group)
    packed, done, parts = [], 0, []
    for y, x, taps, dense in phases:
        runs = _merge(taps, groups == 1, pixel, span)
        length = max((len(run) - 1 for run in runs), default=0) * pixel + span
        matrix = np.zeros((len(runs), length, stored), np.float32)
        for n, run in enumerate(runs):
            for m, tap in enumerate(run):
                matrix[n, m * pixel + row, np.arange(outputs)[:, None]] = dense[taps.index(tap)]
        last = taps[-1] if taps else (0, 0)
        packed.append(Phase(y, x, tuple(run[0] for run in runs), last, length, done))
        steps = matrix.reshape(-1, stored)
        parts += [steps[:, k : k + 16].ravel() for k in range(0, stored, 16)]
        done += steps.size
    flat = aligned(done)
    np.concatenate([*parts, flat[:0]], out=flat)
    return Packed(flat, *affine(outputs, bias, slope), tuple(map(int, starts)), tuple(packed))


def _channel_ranges(first: I64, per_group: int) -> tuple[int, I64]:
    """Return the maximum channels read by 16 outputs, and the start of each range."""
    low = first[::16]
    high = np.array([block.max() for block in np.split(first, range(16, len(first), 16))])
    span = int((high - low).max()) + per_group
    return span, np.minimum(low, first[-1] + per_group - span)


def _merge(taps: list[Pair], dense: bool, pixel: int, span: int) -> list[list[Pair]]:
    """Merge the channels of adjacent taps into one run, if the padding channels cost little."""
    if dense and 5 * (pixel - span) <= pixel:
        return adjacent(taps)
    return [[tap] for tap in taps]


def direct_shape(
    packed: Packed,
    x: TensorLayout,
    y: TensorLayout,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    residual: TensorLayout | None = None,
) -> I64:
    """Return the geometry for `conv_direct`; ``padding`` is top and left, the rest is halo."""
    return _shape(packed, x, x.moved(-padding[0], -padding[1]).every(*stride), y, residual, (1, 1))


def transposed_shape(
    packed: Packed,
    x: TensorLayout,
    y: TensorLayout,
    *,
    stride: Pair = (1, 1),
    residual: TensorLayout | None = None,
) -> I64:
    """Return the geometry of a transposed `conv_direct`; ``x`` has a `transposed_halo`."""
    return _shape(packed, x, x, y, residual, stride)


def transposed_halo(packed: Packed, size: Pair, out: Pair, stride: Pair) -> Border:
    """Return the halo read by a transposed convolution from ``size`` to ``out``."""
    phases = [
        Taps(phase.y, phase.x, (Tap(*phase.taps[0], 0), Tap(*phase.last, 0)))
        for phase in packed.phases
        if phase.taps
    ]
    return extent(phases, size, out, stride, (1, 1))


def _shape(
    packed: Packed,
    x: TensorLayout,
    origin: TensorLayout,
    y: TensorLayout,
    residual: TensorLayout | None,
    step: Pair,
) -> I64:
    rows, cols = -(-y.height // step[0]), -(-y.width // step[1])
    tables = [*packed.channels]
    phases = []
    for phase in packed.phases:
        taps = conv.FIELDS + len(tables)
        tables += [dy * x.row + dx * x.pixel for dy, dx in phase.taps]
        phases += [
            phase.y * y.row + phase.x * y.pixel,
            phase.y * residual.row + phase.x * residual.pixel if residual else 0,
            -(-(y.height - phase.y) // step[0]),
            -(-(y.width - phase.x) // step[1]),
            taps,
            len(phase.taps),
            phase.run,
            phase.weight,
        ]
    block = max(1, CACHE // (4 * origin.row))
    head = [block, conv.FIELDS, conv.FIELDS + len(tables), len(packed.phases)]
    return geometry(
        origin, y.every(*step), rows, cols, packed.outputs, head + tables + phases,
        residual=residual and residual.every(*step), slope=packed.slope,
    )  # fmt: skip
