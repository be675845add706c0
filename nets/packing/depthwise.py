"""Packing for `conv_depthwise`."""

from __future__ import annotations

from nets.kernels import depthwise
from nets.packing.slots import F32, I64, Packed, Slot, affine, aligned, header, padded


def pack_depthwise(weights: F32, bias: F32 | None = None, *, slope: F32 | None = None) -> Packed:
    """Pack (C, 1, kh, kw) weights for `conv_depthwise`."""
    channels, _, rows, cols = weights.shape
    flat = aligned(rows * cols * padded(channels))
    flat.reshape(rows * cols, -1)[:, :channels] = weights.reshape(channels, -1).T
    return Packed(flat, *affine(channels, bias, slope))


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
    origin = x.moved(-padding[0], -padding[1]).every(*stride)
    down, right = dilation[0] * x.row, dilation[1] * x.pixel
    taps = [u * down + v * right for u in range(kernel[0]) for v in range(kernel[1])]
    slide = kernel == (3, 3) and stride[1] == dilation[1]
    fields = depthwise.FIRST_TAP + len(taps)
    shape = header(packed, origin, y, residual, y.height, y.width, fields)
    shape[depthwise.POOL :] = [1 + pool, slide, down, len(taps), *taps]
    return shape
