"""Packing for `conv_direct`: dense, strided, dilated, grouped and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nets.conv.tensor_layout import F32, I64, Packed, Phase, Slot, affine, aligned, geometry, padded
from nets.kernels import conv

CACHE = 1 << 17  # bytes of input that one block of rows may touch
Taps = tuple[int, int, list[tuple[int, int]], F32]  # phase y, x; (dy, dx); weights (taps, K, C / g)


def pack_direct(
    weights: F32,
    bias: F32 | None = None,
    *,
    pixel: int | None = None,
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    slope: F32 | None = None,
) -> Packed:
    """Pack (K, C / groups, kh, kw) weights for `conv_direct`; ``pixel`` is that of the input."""
    outputs, per_group, rows, cols = weights.shape
    taps = [(u * dilation[0], v * dilation[1]) for u in range(rows) for v in range(cols)]
    dense = weights.transpose(2, 3, 0, 1).reshape(rows * cols, outputs, per_group)
    return _pack([(0, 0, taps, dense)], bias, slope, groups, pixel)


def pack_transposed(
    weights: F32,
    bias: F32 | None = None,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    pixel: int | None = None,
    slope: F32 | None = None,
) -> Packed:
    """Pack (C, K / groups, kh, kw) weights of a transposed convolution for `conv_direct`.

    ``padding`` is top and left; cropping at the bottom and the right is the smaller height and
    width of the output slot, output padding the larger one.
    """
    phases = transposed_phases(weights, stride, padding, dilation, groups)
    return _pack(phases, bias, slope, groups, pixel)


def transposed_phases(
    weights: F32,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> list[Taps]:
    """Split a transposed convolution into ordinary ones.

    Output row ``q * stride + a`` sums the kernel rows u for which ``a + padding - u * dilation``
    is a multiple t of the stride, each times input row ``q + t``: every phase a is an ordinary
    convolution with its own kernel rows. Phases of equal taps follow one another.
    """
    inputs, per_group, rows, cols = weights.shape
    by_group = weights.reshape(groups, inputs // groups, per_group, rows, cols)
    oihw = by_group.transpose(0, 2, 1, 3, 4).reshape(groups * per_group, -1, rows, cols)

    def along(axis: int, phase: int, size: int) -> list[tuple[int, int]]:
        """(input shift, kernel index) of the taps of one phase, shifts ascending."""
        shifts = [phase + padding[axis] - u * dilation[axis] for u in range(size)]
        found = [(t // stride[axis], u) for u, t in enumerate(shifts) if t % stride[axis] == 0]
        return sorted(found)

    phases = []
    for y in range(stride[0]):
        for x in range(stride[1]):
            pairs = [(r, c) for r in along(0, y, rows) for c in along(1, x, cols)]
            taps = [(r[0], c[0]) for r, c in pairs]
            chosen = [oihw[:, :, r[1], c[1]] for r, c in pairs]
            phases.append((y, x, taps, np.array(chosen).reshape(len(taps), *oihw.shape[:2])))
    return sorted(phases, key=lambda phase: phase[2])


def _pack(
    phases: Sequence[Taps],
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
    # Row of each weight in the (steps, K) matrix of its tap, zero weights filling up the groups.
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
    """Channels that 16 outputs read at most, and where each sixteen's range starts."""
    low = first[::16]
    high = np.array([block.max() for block in np.split(first, range(16, len(first), 16))])
    span = int((high - low).max()) + per_group
    return span, np.minimum(low, first[-1] + per_group - span)


def _merge(
    taps: list[tuple[int, int]], dense: bool, pixel: int, span: int
) -> list[list[tuple[int, int]]]:
    """Group the taps that lie side by side in the input: their channels are one run.

    Only where all runs are equally long and the channels that pad a pixel cost little.
    """
    runs: list[list[tuple[int, int]]] = []
    for tap in taps:
        if runs and tap == (runs[-1][-1][0], runs[-1][-1][1] + 1):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    length = len(runs[0]) if runs else 0
    if dense and all(len(run) == length for run in runs) and 5 * (pixel - span) <= pixel:
        return runs
    return [[tap] for tap in taps]


def direct_shape(
    packed: Packed,
    x: Slot,
    y: Slot,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    residual: Slot | None = None,
) -> I64:
    """Geometry for `conv_direct`; ``padding`` is top and left, the halo must cover the rest."""
    return _shape(packed, x, x.moved(-padding[0], -padding[1]).every(*stride), y, residual, (1, 1))


def transposed_shape(
    packed: Packed,
    x: Slot,
    y: Slot,
    *,
    stride: tuple[int, int] = (1, 1),
    residual: Slot | None = None,
) -> I64:
    """Geometry for `conv_direct` of a transposed convolution; ``x`` has a `transposed_halo`."""
    return _shape(packed, x, x, y, residual, stride)


def transposed_halo(
    packed: Packed, size: tuple[int, int], out: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Halo (top, left, bottom, right) that a transposed convolution reads around its input.

    ``size`` and ``out`` are rows and columns of input and output.
    """
    halo = [0, 0, 0, 0]
    for phase in packed.phases:
        for axis, start in enumerate((phase.y, phase.x)):
            count = -(-(out[axis] - start) // stride[axis])
            if count > 0 and phase.taps:
                halo[axis] = max(halo[axis], -phase.taps[0][axis])
                behind = count - 1 + phase.last[axis] - (size[axis] - 1)
                halo[axis + 2] = max(halo[axis + 2], behind)
    return halo[0], halo[1], halo[2], halo[3]


def _shape(
    packed: Packed, x: Slot, origin: Slot, y: Slot, residual: Slot | None, step: tuple[int, int]
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
