"""Packing for `conv_depthwise`."""

from __future__ import annotations

import numpy as np

from nets.conv.packing.winograd import TRANSFORMS
from nets.conv.tensor_layout import (
    F32,
    I64,
    Packed,
    TensorLayout,
    affine,
    aligned,
    geometry,
    padded,
)


def pack_depthwise(weights: F32, bias: F32 | None = None, *, slope: F32 | None = None) -> Packed:
    """Pack (C, 1, kh, kw) weights for `conv_depthwise`.

    Those of a 3 x 3 kernel are followed by their transform for F(2, 3) along the row.
    """
    channels, _, rows, cols = weights.shape
    plain = weights.reshape(channels, -1).T
    if (rows, cols) == (3, 3):
        rowwise = np.einsum("av,kuv->uak", TRANSFORMS[2], weights[:, 0]).reshape(12, channels)
        plain = np.concatenate([plain, rowwise])
    flat = aligned(len(plain) * padded(channels))
    flat.reshape(len(plain), -1)[:, :channels] = plain
    return Packed(flat, *affine(channels, bias, slope))


def depthwise_shape(
    packed: Packed,
    x: TensorLayout,
    y: TensorLayout,
    *,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    residual: TensorLayout | None = None,
    pool: bool = False,
) -> I64:
    """Return the geometry for `conv_depthwise`; with ``pool`` y is its 2 x 2 max pooling."""
    origin = x.moved(-padding[0], -padding[1]).every(*stride)
    down, right = dilation[0] * x.row, dilation[1] * x.pixel
    taps = [u * down + v * right for u in range(kernel[0]) for v in range(kernel[1])]
    slide = 1 if kernel == (3, 3) and stride[1] == dilation[1] else 0
    if kernel == (3, 3) and stride == dilation == (1, 1):
        slide = 2
    return geometry(
        origin, y, y.height, y.width, packed.outputs, [1 + pool, slide, down, len(taps), *taps],
        residual=residual, slope=packed.slope,
    )  # fmt: skip
