"""Weights and geometry in the form that the layer kernels read: plain NumPy, done once.

A layer is packed in two steps: ``pack_*`` turns torch-shaped weights into a `Packed` that depends
on no image size, ``*_shape`` adds where input and output lie (`Slot`) and writes the ``shape``
array of the kernel. `nets.kernels.conv` describes the call that all kernels share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.kernels import conv, depthwise, winograd

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
LANES = 8  # channels are stored in multiples of this
CACHE = 1 << 17  # bytes of input that one block of rows may touch
TILES_BYTES = 1 << 19  # bytes of transformed input in a block of Winograd tiles


def padded(channels: int) -> int:
    """Channels as stored: the next multiple of `LANES`."""
    return -(-channels // LANES) * LANES


def aligned(size: int) -> F32:
    """``size`` zeros that start at a cache line, as vectors of 16 like them."""
    raw = np.zeros(size + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + size]


class Slot(NamedTuple):
    """Where a tensor lies in the arena: strides in floats, image 0 pixel (0, 0) at ``offset``."""

    offset: int
    row: int
    pixel: int
    image: int
    height: int
    width: int
    channels: int
    images: int = 1

    @classmethod
    def packed(
        cls,
        offset: int,
        height: int,
        width: int,
        channels: int,
        *,
        images: int = 1,
        halo: tuple[int, int, int, int] = (0, 0, 0, 0),
        pixel: int | None = None,
    ) -> Slot:
        """Slot in a buffer that starts at ``offset``; ``halo`` is top, left, bottom, right."""
        top, left, bottom, right = halo
        pixel = padded(channels) if pixel is None else pixel
        row = (left + width + right) * pixel
        image = (top + height + bottom) * row
        start = offset + top * row + left * pixel
        return cls(start, row, pixel, image, height, width, channels, images)


def reach(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Halo rows (or columns) that a convolution reads behind the last input row (or column)."""
    return max(0, (out - 1) * stride + (kernel - 1) * dilation - before - (size - 1))


@dataclass(frozen=True)
class Packed:
    """Weights in the kernel's order and the geometry that does not depend on the image size."""

    weights: F32
    bias: F32  # padded to K floats, the slopes of a PReLU behind it
    outputs: int  # K, a multiple of 8
    slope: int  # where the slopes start, -1: none
    channels: tuple[int, ...] = (0,)  # first input channel of each 16 outputs
    phases: tuple[Phase, ...] = ()


class Phase(NamedTuple):
    """One ordinary convolution: outputs (y, x) + stride * n from taps (dy, dx)."""

    y: int
    x: int
    taps: tuple[tuple[int, int], ...]
    run: int  # floats that a tap reads
    weight: int  # where its weights start


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

    Output row ``q * stride + a`` sums the kernel rows u for which ``a + padding - u * dilation``
    is a multiple t of the stride, each times input row ``q + t``: every phase a is an ordinary
    convolution with its own kernel rows. ``padding`` is top and left; cropping at the bottom and
    the right is the smaller height and width of the output slot.
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
    return _pack(phases, bias, slope, groups, pixel)


def _pack(
    phases: Sequence[tuple[int, int, list[tuple[int, int]], F32]],
    bias: F32 | None,
    slope: F32 | None,
    groups: int,
    pixel: int | None,
) -> Packed:
    """Pack phases of (y, x, taps, weights (taps, K, C / groups)) into one array."""
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
        packed.append(Phase(y, x, tuple(run[0] for run in runs), length, done))
        steps = matrix.reshape(-1, stored)
        parts += [steps[:, k : k + 16].ravel() for k in range(0, stored, 16)]
        done += steps.size
    flat = aligned(done)
    np.concatenate([*parts, flat[:0]], out=flat)
    return Packed(flat, *_affine(outputs, bias, slope), tuple(map(int, starts)), tuple(packed))


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


def _affine(outputs: int, bias: F32 | None, slope: F32 | None) -> tuple[F32, int, int]:
    """Bias padded with zeros, PReLU slopes behind it; K; where the slopes start."""
    stored = padded(outputs)
    flat = aligned(2 * stored)
    if bias is not None:
        flat[:outputs] = bias
    if slope is None:
        return flat[:stored], stored, -1
    flat[stored : stored + outputs] = slope
    return flat, stored, stored


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
    start = x.offset - padding[0] * x.row - padding[1] * x.pixel
    origin = x._replace(offset=start, row=x.row * stride[0], pixel=x.pixel * stride[1])
    return _shape(packed, x, origin, y, residual, (1, 1))


def transposed_shape(
    packed: Packed,
    x: Slot,
    y: Slot,
    *,
    stride: tuple[int, int] = (1, 1),
    residual: Slot | None = None,
) -> I64:
    """Geometry for `conv_direct` of a transposed convolution.

    The halo of ``x`` must cover the taps: `Phase.taps` says how far they reach.
    """
    return _shape(packed, x, x, y, residual, stride)


def header(
    packed: Packed, x: Slot, y: Slot, residual: Slot | None, rows: int, cols: int, fields: int
) -> I64:
    """Write the fields that all layers share; the caller fills the others (of ``fields``)."""
    shape = np.zeros(fields, np.int64)
    shape[[conv.X, conv.X_ROW, conv.X_PIXEL, conv.X_IMAGE]] = x[:4]
    shape[[conv.Y, conv.Y_ROW, conv.Y_PIXEL, conv.Y_IMAGE]] = y[:4]
    shape[[conv.R, conv.R_ROW, conv.R_PIXEL, conv.R_IMAGE]] = residual[:4] if residual else -1
    shape[[conv.ROWS, conv.COLS, conv.K, conv.SLOPE]] = rows, cols, packed.outputs, packed.slope
    return shape


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
            max(0, -(-(y.height - phase.y) // step[0])),
            max(0, -(-(y.width - phase.x) // step[1])),
            taps,
            len(phase.taps),
            phase.run,
            phase.weight,
        ]
    strided = y._replace(row=y.row * step[0], pixel=y.pixel * step[1])
    if residual:
        residual = residual._replace(row=residual.row * step[0], pixel=residual.pixel * step[1])
    fields = conv.FIELDS + len(tables) + len(phases)
    shape = header(packed, origin, strided, residual, rows, cols, fields)
    shape[conv.BLOCK] = max(1, CACHE // (4 * origin.row))
    shape[conv.CHANNELS] = conv.FIELDS
    shape[conv.PHASES] = conv.FIELDS + len(tables)
    shape[conv.N_PHASES] = len(packed.phases)
    shape[conv.FIELDS :] = tables + phases
    return shape


def pack_depthwise(weights: F32, bias: F32 | None = None, *, slope: F32 | None = None) -> Packed:
    """Pack (C, 1, kh, kw) weights for `conv_depthwise`."""
    channels, _, rows, cols = weights.shape
    flat = aligned(rows * cols * padded(channels))
    flat.reshape(rows * cols, -1)[:, :channels] = weights.reshape(channels, -1).T
    return Packed(flat, *_affine(channels, bias, slope))


def depthwise_shape(
    packed: Packed,
    x: Slot,
    y: Slot,
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    residual: Slot | None = None,
    pool: bool = False,
) -> I64:
    """Geometry for `conv_depthwise`; with ``pool`` y is the 2 x 2 maximum of its result."""
    start = x.offset - padding[0] * x.row - padding[1] * x.pixel
    origin = x._replace(offset=start, row=x.row * stride[0], pixel=x.pixel * stride[1])
    down, right = dilation[0] * x.row, dilation[1] * x.pixel
    taps = [u * down + v * right for u in range(kernel[0]) for v in range(kernel[1])]
    slide = kernel == (3, 3) and stride[1] == dilation[1]
    fields = depthwise.FIRST_TAP + len(taps)
    shape = header(packed, origin, y, residual, y.height, y.width, fields)
    shape[depthwise.POOL :] = [1 + pool, slide, down, len(taps), *taps]
    return shape


WINOGRAD = {
    2: [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}  # G of F(m x m, 3 x 3), Lavin & Gray 2016, section 4


def pack_winograd(
    weights: F32, bias: F32 | None = None, *, outputs: int = 4, slope: F32 | None = None
) -> Packed:
    """Pack (K, C, 3, 3) weights for F(outputs x outputs, 3 x 3), 2 or 4, as ``G g G'``."""
    g = np.array(WINOGRAD[outputs])
    inputs, stored = padded(weights.shape[1]), padded(weights.shape[0])
    u = np.zeros((len(g) ** 2, inputs, stored), np.float32)
    transformed = np.einsum("au,kcuv,bv->abck", g, weights, g, optimize=True)
    u[:, : weights.shape[1], : weights.shape[0]] = transformed.reshape(
        len(u), *transformed.shape[2:]
    )
    flat = aligned(u.size)
    np.concatenate([u[:, :, k : k + 16].ravel() for k in range(0, stored, 16)], out=flat)
    return Packed(flat, *_affine(len(weights), bias, slope))


def winograd_shape(
    packed: Packed,
    x: Slot,
    y: Slot,
    *,
    outputs: int = 4,
    padding: tuple[int, int] = (0, 0),
    residual: Slot | None = None,
) -> tuple[I64, int]:
    """Geometry for `conv_winograd2` or `conv_winograd4`, and the floats of scratch they need."""
    rows, cols = -(-y.height // outputs), -(-y.width // outputs)
    origin = x._replace(offset=x.offset - padding[0] * x.row - padding[1] * x.pixel)
    shape = header(packed, origin, y, residual, rows, cols, winograd.FIELDS)
    channels, elements = padded(x.channels), (outputs + 2) ** 2
    block = min(max(TILES_BYTES // (4 * elements * channels) // 6 * 6, 6), 24)
    shape[winograd.HEIGHT :] = y.height, y.width, channels, block
    return shape, elements * (2 * 16 + block * channels + 16 + block * 16 + 16)
