"""Packing for the Winograd kernels, plain, dilated and transposed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nets.conv.packing.direct import transposed_phases
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

BLOCK_BYTES = 1 << 19  # bytes of transformed input per block of tiles
# G of F(m x m, r x r) by m: Lavin & Gray 2016, section 4.
TRANSFORMS: dict[int, list[list[float]]] = {
    2: [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
    3: [[1, 0], [0.5, 0.5], [0.5, -0.5], [0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}


def pack_winograd(
    weights: F32,
    bias: F32 | None = None,
    *,
    tile: int = 4,
    dilation: tuple[int, int] = (1, 1),
    slope: F32 | None = None,
) -> Packed:
    """Pack (K, C, 3, 3) weights for `conv_winograd2` or `conv_winograd4` (``tile`` 2 or 4)."""
    flat = _transform([weights], tile)
    phases = [
        Phase(y, x, ((y, x),), (y + 2 * dilation[0], x + 2 * dilation[1]), 0, 0)
        for y in range(dilation[0])
        for x in range(dilation[1])
    ]
    return Packed(flat, *affine(len(weights), bias, slope), phases=tuple(phases), tile=tile)


def pack_transposed_winograd(
    weights: F32,
    bias: F32 | None = None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int] = (0, 0),
    slope: F32 | None = None,
) -> Packed:
    """Pack (C, K, kh, kw) transposed-convolution weights, kernel size 2 or 3 times the stride.

    Every phase is a 2 x 2 convolution for `conv_winograd3` or a 3 x 3 one for `conv_winograd4`.
    """
    side = weights.shape[2] // stride[0]
    plain = transposed_phases(weights, stride, padding, (1, 1), 1)
    outputs, inputs = plain[0][3].shape[1:]
    kernels = [w.transpose(1, 2, 0).reshape(outputs, inputs, side, side) for *_, w in plain]
    tile = 3 if side == 2 else 4
    flat = _transform(kernels, tile)
    size = flat.size // len(plain)
    phases = [
        Phase(y, x, (taps[0],), taps[-1], 0, n * size) for n, (y, x, taps, _) in enumerate(plain)
    ]
    return Packed(flat, *affine(outputs, bias, slope), phases=tuple(phases), tile=tile)


def _transform(kernels: Sequence[F32], tile: int) -> F32:
    """Return ``G g G'`` of each kernel, in blocks of 16 outputs (elements, C, 16)."""
    g = np.array(TRANSFORMS[tile])
    outputs, inputs = kernels[0].shape[:2]
    u = np.zeros((len(kernels), len(g), len(g), padded(inputs), padded(outputs)), np.float32)
    u[..., :inputs, :outputs] = np.einsum(
        "au,pkcuv,bv->pabck", g, np.array(kernels), g, optimize=True
    )
    flat = aligned(u.size)
    parts = [one[..., k : k + 16].ravel() for one in u for k in range(0, padded(outputs), 16)]
    np.concatenate(parts, out=flat)
    return flat


def winograd_shape(
    packed: Packed,
    x: TensorLayout,
    y: TensorLayout,
    *,
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    residual: TensorLayout | None = None,
) -> tuple[I64, int]:
    """Return the geometry for the kernel of ``packed.tile``, and its floats of scratch.

    ``padding`` and ``dilation`` are those of a plain layer, ``stride`` that of a transposed one.
    """
    side, taps = len(TRANSFORMS[packed.tile]), len(TRANSFORMS[packed.tile][0])
    step = (dilation[0] * stride[0], dilation[1] * stride[1])  # one of them is 1

    def sizes(phase: Phase) -> tuple[int, int]:
        return -(-(y.height - phase.y) // step[0]), -(-(y.width - phase.x) // step[1])

    phases = [phase for phase in packed.phases if min(sizes(phase)) > 0]
    table = []
    for phase in phases:
        dy, dx = phase.taps[0]
        sharing = [sizes(other) for other in phases if other.taps == phase.taps]
        down, right = map(max, zip(*sharing, strict=True))
        table += [
            dy * x.row + dx * x.pixel,
            down + taps - 1,
            right + taps - 1,
            phase.y * y.row + phase.x * y.pixel,
            phase.y * residual.row + phase.x * residual.pixel if residual else 0,
            *sizes(phase),
            phase.weight,
        ]
    channels = padded(x.channels)
    block = min(max(BLOCK_BYTES // (4 * side * side * channels) // 6 * 6, 6), 24)
    shape = geometry(
        x.moved(-padding[0], -padding[1]).every(*dilation),
        y.every(*step),
        -(-y.height // (step[0] * packed.tile)),
        -(-y.width // (step[1] * packed.tile)),
        packed.outputs,
        [channels, block, len(phases), *table],
        residual=residual and residual.every(*step),
        slope=packed.slope,
    )
    return shape, side * side * (2 * 16 + block * channels + 16 + block * 16 + 16)
