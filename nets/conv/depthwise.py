"""Output, input gradient and weight gradient of a depthwise convolution."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nets.arrays import Array
from nets.conv.geometry import Geometry, Pair, Taps, forward_taps, transposed_taps
from nets.conv.tensor_layout import padded
from nets.kernels import depthwise_training as kernels
from nets.runtime.memory import empty
from nets.runtime.threads import Caller, share

LITTLE = 1 << 19  # multiplications below which a second thread does not pay
CACHE = 1 << 11  # pixels of sixteen channels that fit in the cache


def outputs(x: Array, w: Array, out: Pair, bias: Array | None, how: Geometry) -> Array:
    """Return the outputs (N, *out, C) of images x (N, H, W, C) and weights (C, 1, kh, kw)."""
    return _run(x, w, bias, _forward(x.shape[1:3], out, _stored(x), w.shape[2:], how), out)


def to_inputs(gy: Array, w: Array, size: Pair, bias: Array | None, how: Geometry) -> Array:
    """Return the gradient (N, *size, C) with respect to the inputs of `outputs`."""
    return _run(gy, w, bias, _backward(gy.shape[1:3], size, _stored(gy), w.shape[2:], how), size)


def to_weights(x: Array, gy: Array, side: Pair, how: Geometry) -> Array:
    """Return the gradient (C, 1, *side) with respect to the weights."""
    images, channels, taps = len(x), x.shape[3], side[0] * side[1]
    x, gy = _eights(x), _eights(gy)
    shape, room = _forward(x.shape[1:3], gy.shape[1:3], x.shape[3], side, how)
    parts = empty(images, taps, x.shape[3])
    arrays = x.reshape(-1), gy.reshape(-1), parts.reshape(-1), shape

    def task(call: Caller, first: int, last: int) -> None:
        call(kernels.depthwise_gradient, *arrays, call.scratch("band", room), first, last)

    share(images, task, small=gy.size * taps < LITTLE)
    total: Array = np.ascontiguousarray(parts.sum(0)[:, :channels].T)
    return total.reshape(channels, 1, *side)


def _run(x: Array, w: Array, bias: Array | None, parameters: tuple[Array, int], out: Pair) -> Array:
    channels, stored, taps = x.shape[3], _stored(x), w.shape[2] * w.shape[3]
    weights, whole = np.zeros((taps, stored), np.float32), np.zeros(stored, np.float32)
    weights[:, :channels] = w.reshape(channels, taps).T
    if bias is not None:
        whole[:channels] = bias
    y, (shape, room) = empty(len(x), *out, stored), parameters
    arrays = _eights(x).reshape(-1), weights.reshape(-1), whole, y.reshape(-1), shape
    bands = -(-int(shape[kernels.ROWS]) // int(shape[kernels.BAND]))

    def task(call: Caller, first: int, last: int) -> None:
        call(kernels.depthwise, *arrays, call.scratch("band", room), first, last)

    share(len(x) * bands, task, small=y.size * taps < LITTLE)
    return y if stored == channels else np.ascontiguousarray(y[..., :channels])


def _stored(x: Array) -> int:
    """Return the number of channels computed, including padding."""
    return padded(x.shape[3])


def _eights(x: Array) -> Array:
    """Pad images with zero channels up to the stored number."""
    more = _stored(x) - x.shape[3]
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (0, more))) if more else x


@lru_cache(1024)
def _forward(size: Pair, out: Pair, channels: int, side: Pair, how: Geometry) -> tuple[Array, int]:
    """Return the loop parameters of the kernels for a convolution."""
    return _shape(forward_taps(side, how), size, out, channels, (1, 1), how.stride)


@lru_cache(1024)
def _backward(size: Pair, out: Pair, channels: int, side: Pair, how: Geometry) -> tuple[Array, int]:
    """Return the loop parameters for a transposed convolution of images of ``size``."""
    return _shape(transposed_taps(side, how), size, out, channels, how.stride, (1, 1))


def _shape(
    phases: tuple[Taps, ...], size: Pair, out: Pair, channels: int, step: Pair, walk: Pair
) -> tuple[Array, int]:
    """Return the loop parameters of the kernels, and the floats of scratch they need."""
    taps = [tap for phase in phases for tap in phase.taps]
    top, left = min(tap.row for tap in taps), min(tap.col for tap in taps)
    reach = max(tap.row for tap in taps) - top
    rows, cols = -(-out[0] // step[0]), -(-out[1] // step[1])
    frame = (cols - 1) * walk[1] + 1 + max(tap.col for tap in taps) - left
    most = max(1, (CACHE // frame - reach - 1) // walk[0] + 1)
    band = -(-rows // -(-rows // most))
    parameters = [*size, *out, channels, *step, *walk, rows, band, top, left, frame, reach]
    parameters.append(len(phases))
    for phase in phases:
        places = [(tap.row - top) * frame + tap.col - left for tap in phase.taps]
        square = walk[1] == 1 and len(places) == 9
        if square:
            down = places[3] - places[0]
            square = places == [places[0] + u * down + v for u in range(3) for v in range(3)]
        parameters += [phase.row, phase.col]
        high, wide = -(-(out[0] - phase.row) // step[0]), -(-(out[1] - phase.col) // step[1])
        parameters += [max(0, high), max(0, wide)]
        parameters += [int(square), len(places)]
        for place, tap in zip(places, phase.taps, strict=True):
            parameters += [place, tap.weight]
    room = 16 * frame * ((band - 1) * walk[0] + 1 + reach)
    return np.array(parameters, np.int64), room
