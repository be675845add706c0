"""The three products of a dense convolution, by the kernels that networks compute with.

The kernels of inference read and write one arena, zeros around every image. Here the arena is the
memory of the result, and the input is wherever its address says; images that need zeros around
them are copied, a few at a time, to a place that stays in the cache.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nets.graph.ir import Array
from nets.kernels import conv
from nets.kernels import weights as kernels
from nets.ops import winograd
from nets.ops.geometry import Tap, Taps
from nets.ops.layer import Layer, packing
from nets.ops.memory import address, empty, scratch
from nets.ops.threads import share, thread_count

CACHE = 1 << 16  # floats that stay in the cache of a core while they are used
PIXELS = 192  # of a block over which a gradient is summed before the next weights take their turn
LONGEST = 256  # pixels of a row that is made up of several
LITTLE = 1 << 22  # multiplications not worth a second thread
PARTS = 8  # partial sums of the gradient of few weights
INF = np.float32(np.inf)
Three = tuple[int, int, int]


def run(layer: Layer, x: Array, w: Array, bias: Array | None = None) -> Array:
    """The layer applied to images x (N, rows, cols, inputs)."""
    images, whole, flat = len(x), _stored_bias(bias, layer), w.reshape(-1)
    if layer.tile and images:
        return winograd.run(layer, x, flat, whole)
    y = empty(images, *layer.out, layer.stored)
    if not y.size:
        return y[..., : layer.outputs]
    weights = layer.inputs * layer.taps * layer.stored
    if weights > CACHE // 4 and images * layer.pixels < 2048:
        _by_outputs(layer, x, flat, whole, y)
    else:
        _by_pixels(layer, x, flat, whole, y)
    return y if layer.outputs == layer.stored else np.ascontiguousarray(y[..., : layer.outputs])


def _by_outputs(layer: Layer, x: Array, w: Array, bias: Array, y: Array) -> None:
    """Many weights for few pixels: pack some of them, use them for all pixels, and so on."""
    images, blocks = len(x), -(-layer.stored // 16)
    source = address(_inside(layer, x, "all"))
    group = max(1, CACHE // (16 * layer.inputs * layer.taps))
    target, arena = address(y), y.reshape(-1)
    start = (source - target) // 4
    shape, rows = _shape(layer, images, layer.stored)

    def task(first: int, last: int) -> None:
        for block in range(first, last, group):
            k, end = 16 * block, min(16 * min(block + group, last), layer.stored)
            order = packing(layer, k, end - k)
            packed = scratch("packed", layer.inputs * layer.taps * (end - k))
            kernels.pack_weights(w, packed, order, 0, -(-(end - k) // 16))
            part, _ = (shape, rows) if end - k == layer.stored else _shape(layer, images, end - k)
            part = part.copy()
            part[conv.X] += start
            part[conv.Y] = k
            conv.conv_direct(arena, packed, bias[k:end], part, -INF, INF, 0, rows, packed[:0])

    share(blocks, task, small=layer.work * images < LITTLE)


def _by_pixels(layer: Layer, x: Array, w: Array, bias: Array, y: Array) -> None:
    """Many pixels: pack all weights, then share out the rows or the images."""
    images = len(x)
    packed = empty(layer.inputs * layer.taps * layer.stored)
    order = packing(layer, 0, layer.stored)
    kernels.pack_weights(w, packed, order, 0, -(-layer.stored // 16))
    target, arena, small = address(y), y.reshape(-1), layer.work * images < LITTLE

    def compute(source: int, image: int, count: int, first: int, last: int) -> None:
        shape = _shape(layer, count, layer.stored)[0].copy()
        shape[conv.X] += (source - target) // 4
        shape[conv.Y] = image * layer.pixels * layer.stored
        conv.conv_direct(arena, packed, bias, shape, -INF, INF, first, last, packed[:0])

    chunk = _chunk(layer, images)
    chunks = -(-images // chunk)
    if layer.framed != layer.size and (thread_count() == 1 or chunks >= 2 * thread_count()):

        def task(first: int, last: int) -> None:
            for n in range(first * chunk, min(last * chunk, images), chunk):
                end = min(n + chunk, images)
                source = address(_inside(layer, x[n:end], "chunk"))
                compute(source, n, end - n, 0, _shape(layer, end - n, layer.stored)[1])

        share(chunks, task, small=small)
        return
    source = address(_inside(layer, x, "all"))
    rows = _shape(layer, images, layer.stored)[1]
    share(rows, lambda first, last: compute(source, 0, images, first, last), small=small)


def weight_gradient(layer: Layer, x: Array, gy: Array, shape: tuple[int, ...]) -> Array:
    """Gradient with regard to weights of `shape` of a `forward_layer`; gy (N, h, w, outputs)."""
    if layer.outputs != layer.stored:
        gy = np.pad(gy, ((0, 0), (0, 0), (0, 0), (0, layer.stored - layer.outputs)))
    w = empty(*shape)
    if not w.size or not gy.size:
        w[...] = 0
        return w
    flat, size = w.reshape(-1), layer.inputs * layer.taps * layer.stored
    if layer.tile:
        winograd.weight_gradient(layer, x, gy, flat)
        return w
    elif size > CACHE // 2:
        _of_many_weights(layer, x, gy, flat)
    else:
        _of_few_weights(layer, x, gy, flat)
    return w


def _of_many_weights(layer: Layer, x: Array, gy: Array, w: Array) -> None:
    """Some outputs after the other, each summed over all pixels."""
    images, blocks, one = len(x), -(-layer.stored // 16), 16 * layer.inputs * layer.taps
    source, grads = _inside(layer, x, "all").reshape(-1), gy.reshape(-1)
    group = max(1, CACHE // one)

    def task(first: int, last: int) -> None:
        for block in range(first, last, group):
            k, end = 16 * block, min(16 * min(block + group, last), layer.stored)
            sums, fields = (
                scratch("packed", one * (end - k) // 16),
                _gradient(layer, images, end - k),
            )
            fields = fields.copy()
            fields[[kernels.Y, kernels.FRESH]] = k, 1
            kernels.weight_gradient(source, grads, sums, fields)
            order = packing(layer, k, end - k)
            kernels.unpack_weights(sums.reshape(1, -1), w, order, 0, -(-(end - k) // 16))

    share(blocks, task, small=layer.work * images < LITTLE)


def _of_few_weights(layer: Layer, x: Array, gy: Array, w: Array) -> None:
    """All outputs at once, summed over some images after the other."""
    images, chunk = len(x), _chunk(layer, len(x))
    parts = min(PARTS, -(-images // chunk))
    sums = empty(parts, layer.inputs * layer.taps * layer.stored)

    def task(first: int, last: int) -> None:
        for p in range(first, last):
            begin, stop = p * images // parts, (p + 1) * images // parts
            for n in range(begin, stop, chunk):
                end = min(n + chunk, stop)
                fields = _gradient(layer, end - n, layer.stored)
                if n == begin:
                    fields = fields.copy()
                    fields[kernels.FRESH] = 1
                source, grads = _inside(layer, x[n:end], "chunk").reshape(-1), gy[n:end].reshape(-1)
                kernels.weight_gradient(source, grads, sums[p], fields)

    share(parts, task, small=layer.work * images < LITTLE)
    kernels.unpack_weights(sums, w, packing(layer, 0, layer.stored), 0, -(-layer.stored // 16))


def _chunk(layer: Layer, images: int) -> int:
    """Images that stay in the cache."""
    rows, cols = layer.framed
    return max(1, min(images, 2 * CACHE // (rows * cols * layer.inputs)))


def _inside(layer: Layer, x: Array, name: str) -> Array:
    """Images with zeros around them, as many as the layer needs."""
    if layer.framed == layer.size:
        return x
    top, left, _, _ = layer.frame
    (rows, cols), (high, wide), channels = layer.size, layer.framed, layer.inputs
    out = scratch(name, len(x) * high * wide * channels)
    sizes = (rows, cols * channels, high, wide * channels, top, left * channels)
    kernels.put_frame(x.reshape(-1), out, *sizes, 0, len(x))
    return out


def _stored_bias(bias: Array | None, layer: Layer) -> Array:
    if bias is not None and layer.outputs == layer.stored:
        return np.ascontiguousarray(bias)
    whole = np.zeros(layer.stored, np.float32)
    if bias is not None:
        whole[: layer.outputs] = bias
    return whole


class _Order(NamedTuple):
    """Three directions, outermost first: counts, steps in the source and in the target (pixels)."""

    counts: Three
    source: Three
    target: Three
    plain: bool = False  # images, rows, columns, of which each phase has its own number


def _order(layer: Layer, images: int, fewest: int, tiny: int) -> _Order:
    """In which order to walk over the pixels of some images: tiles fill the innermost two.

    Maps of at most `tiny` pixels are walked over side by side.
    """
    (rows, cols), (high, wide), step, walk = layer.out, layer.framed, layer.step, layer.walk
    most = (-(-rows // step[0]), -(-cols // step[1]))
    source = (high * wide, walk[0] * wide, walk[1])
    target = (rows * cols, step[0] * cols, step[1])
    plain = walk == (1, 1) == step and (high, wide) == (rows, cols) and layer.framed == layer.size
    if plain and layer.taps == 1:
        return _flat(images, rows, cols, fewest)
    even = rows % step[0] == 0 == cols % step[1]
    if even and most[0] < images and most[0] * most[1] <= tiny:
        return _Order((*most, images), (*source[1:], source[0]), (*target[1:], target[0]))
    return _Order((images, *most), source, target, True)


def _flat(images: int, rows: int, cols: int, fewest: int) -> _Order:
    """Pixels side by side, in rows that are long enough for tiles and short enough for a cache."""
    total, last = images * rows * cols, cols
    if last < fewest:
        last *= rows
    if last < fewest:
        last = images * last
        if last > LONGEST:  # the largest part of it that is neither too short nor too long
            parts = (n for n in range(LONGEST, fewest, -1) if total % n == 0)
            last = next(parts, last)
    steps = (total, last, 1)
    return _Order((1, total // last, last), steps, steps)


@lru_cache(4096)
def _shape(layer: Layer, images: int, outputs: int) -> tuple[Array, int]:
    """Geometry for `conv_direct` with the source at 0, and its number of rows."""
    order = _order(layer, images, 24, 64)
    inputs, stored, (_, wide) = layer.inputs, layer.stored, layer.framed
    tables = [0] * -(-outputs // 16)
    phases, done = [], 0
    for phase in layer.phases:
        runs = _runs(phase)
        places = [(tap.row * wide + tap.col) * inputs for tap in (r[0] for r in runs)]
        rows = -(-(layer.out[0] - phase.row) // layer.step[0])
        cols = -(-(layer.out[1] - phase.col) // layer.step[1])
        if not order.plain:
            rows, cols = order.counts[1:]
        at = conv.FIELDS + len(tables)
        tables += places
        length = len(runs[0]) * inputs if runs else 0
        target = (phase.row * layer.out[1] + phase.col) * stored
        phases += [target, 0, max(rows, 0), max(cols, 0), at, len(runs), length]
        phases += [done * inputs * outputs]
        done += len(phase.taps)
    shape = np.zeros(conv.FIELDS + len(tables) + len(phases), np.int64)
    top, left, _, _ = layer.frame
    shape[conv.X] = (top * wide + left) * inputs
    shape[[conv.X_IMAGE, conv.X_ROW, conv.X_PIXEL]] = [s * inputs for s in order.source]
    shape[[conv.Y_IMAGE, conv.Y_ROW, conv.Y_PIXEL]] = [s * stored for s in order.target]
    shape[[conv.R, conv.SLOPE, conv.K]] = -1, -1, outputs
    shape[[conv.ROWS, conv.COLS]] = order.counts[1:]
    pixels = max(1, order.counts[2] * max(layer.walk[1], 1))
    shape[conv.BLOCK] = max(1, CACHE // 2 // (pixels * inputs))
    shape[conv.CHANNELS] = conv.FIELDS
    shape[conv.PHASES] = conv.FIELDS + len(tables)
    shape[conv.N_PHASES] = len(layer.phases)
    shape[conv.FIELDS :] = tables + phases
    return shape, order.counts[0] * order.counts[1]


def _runs(phase: Taps) -> list[list[Tap]]:
    """Taps that lie side by side in the source, where all rows have equally many."""
    runs: list[list[Tap]] = []
    for tap in phase.taps:
        if runs and (tap.row, tap.col) == (runs[-1][-1].row, runs[-1][-1].col + 1):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    if all(len(run) == len(runs[0]) for run in runs):
        return runs
    return [[tap] for tap in phase.taps]


@lru_cache(4096)
def _gradient(layer: Layer, images: int, outputs: int) -> Array:
    """Geometry for the kernel `weight_gradient`."""
    order, (_, wide), inputs = _order(layer, images, 16, 16), layer.framed, layer.inputs
    runs = _runs(layer.phases[0])
    top, left, _, _ = layer.frame
    shape = np.zeros(kernels.GRADIENT + 2 * len(runs), np.int64)
    shape[kernels.X] = (top * wide + left) * inputs
    shape[[kernels.X_0, kernels.X_1, kernels.X_2]] = [s * inputs for s in order.source]
    shape[[kernels.Y_0, kernels.Y_1, kernels.Y_2]] = [s * layer.stored for s in order.target]
    shape[[kernels.N_0, kernels.N_1, kernels.N_2]] = order.counts
    shape[kernels.BLOCK] = max(1, math.ceil(PIXELS / order.counts[2]))
    shape[[kernels.K, kernels.RUN, kernels.TAPS]] = outputs, len(runs[0]) * inputs, len(runs)
    for t, run in enumerate(runs):
        shape[kernels.GRADIENT + t] = (run[0].row * wide + run[0].col) * inputs
    return shape
