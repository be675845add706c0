"""The three products of a depthwise convolution, one filter for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nets.graph.ir import Array
from nets.kernels import channelwise as kernels
from nets.ops.geometry import Geometry, Pair, along
from nets.ops.memory import empty
from nets.ops.threads import share

LITTLE = 1 << 19  # multiplications not worth a second thread


def outputs(x: Array, w: Array, out: Pair, bias: Array | None, how: Geometry) -> Array:
    """Outputs (N, *out, C) of images x (N, H, W, C) and weights (C, 1, kh, kw)."""
    return _run(x, w, bias, _forward(x.shape[1:], out, w.shape[2:], how), out)


def to_inputs(gy: Array, w: Array, size: Pair, bias: Array | None, how: Geometry) -> Array:
    """Gradient (N, *size, C) with regard to the inputs of `outputs`."""
    return _run(gy, w, bias, _backward(gy.shape[1:], size, w.shape[2:], how), size)


def to_weights(x: Array, gy: Array, side: Pair, how: Geometry) -> Array:
    """Gradient (C, 1, *side) with regard to the weights."""
    images, channels = len(x), x.shape[3]
    x, gy = _eights(x), _eights(gy)
    shape = _forward(x.shape[1:], gy.shape[1:3], side, how)
    parts = empty(images, side[0] * side[1], x.shape[3])
    arrays = x.reshape(-1), gy.reshape(-1), parts.reshape(-1), shape
    small = gy.size * side[0] * side[1] < LITTLE
    share(
        images,
        lambda first, last: kernels.channelwise_gradient(*arrays, first, last),
        small=small,
    )
    total: Array = np.ascontiguousarray(parts.sum(0)[:, :channels].T)
    return total.reshape(channels, 1, *side)


def _run(x: Array, w: Array, bias: Array | None, shape: Array, out: Pair) -> Array:
    channels, taps = x.shape[3], w.shape[2] * w.shape[3]
    x = _eights(x)
    stored = x.shape[3]
    if stored != channels:
        shape = shape.copy()
        shape[kernels.CHANNELS] = stored
    weights, whole = np.zeros((taps, stored), np.float32), np.zeros(stored, np.float32)
    weights[:, :channels] = w.reshape(channels, taps).T
    if bias is not None:
        whole[:channels] = bias
    y = empty(len(x), *out, stored)
    arrays = x.reshape(-1), weights.reshape(-1), whole, y.reshape(-1), shape
    share(
        len(x) * out[0],
        lambda first, last: kernels.channelwise(*arrays, first, last),
        small=y.size * taps < LITTLE,
    )
    return y if stored == channels else np.ascontiguousarray(y[..., :channels])


def _eights(x: Array) -> Array:
    """Images with zeros in channels that make their number a multiple of 8."""
    more = -x.shape[3] % 8
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (0, more))) if more else x


@lru_cache(1024)
def _forward(size: tuple[int, ...], out: Pair, side: Pair, how: Geometry) -> Array:
    """Fields of the kernels for a convolution."""
    tables = []
    for i in range(2):
        taps = [(u * how.dilation[i] - how.padding[i], u) for u in range(side[i])]
        tables.append(_table([taps], size[i], out[i], how.stride[i]))
    return _shape(size, out, side, tables)


@lru_cache(1024)
def _backward(size: tuple[int, ...], out: Pair, side: Pair, how: Geometry) -> Array:
    """Fields of the kernels for a transposed convolution; `size` is that of what it reads."""
    tables = []
    for i in range(2):
        kinds = along(side[i], how.stride[i], how.padding[i], how.dilation[i])
        tables.append(_table(kinds, size[i], out[i], 1))
    return _shape(size, out, side, tables)


def _shape(size: tuple[int, ...], out: Pair, side: Pair, tables: Sequence[list[int]]) -> Array:
    first = kernels.TABLES
    fields = [size[0], size[1], *out, size[2], side[1], first, first + len(tables[0])]
    return np.array(fields + tables[0] + tables[1], np.int64)


def _table(kinds: list[list[tuple[int, int]]], size: int, out: int, walk: int) -> list[int]:
    """What the outputs of each kind read along one axis; see `nets.kernels.channelwise`."""
    most = max(map(len, kinds))
    table = [len(kinds), kernels.K_FIRST + 2 * most]
    for a, taps in enumerate(kinds):
        count = max(0, -(-(out - a) // len(kinds)))
        low, high = 0, count
        for t, _ in taps:
            low = max(low, -(t // walk))
            high = min(high, (size - 1 - t) // walk + 1)
        low = min(low, count)
        three = len(taps) == 3 and walk == 1 and taps[2][0] == taps[0][0] + 2
        table += [count, low, max(high, low), walk, int(three), len(taps)]
        table += [value for tap in taps for value in tap] + [0, 0] * (most - len(taps))
    return table
