"""Dense convolution and its gradients for training, by the inference kernels.

The inference kernels read and write one arena, with zeros around every image. Here input and result
are separate arrays; images that need zero padding are copied, a few at a time, to a buffer that
fits in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.conv import winograd
from nets.conv.loop_parameters import CACHE, forward_parameters, gradient_parameters
from nets.conv.spec import ConvSpec, packing
from nets.kernels import conv
from nets.kernels import weights as kernels
from nets.kernels.conv_training import conv_between
from nets.runtime.memory import empty, scratch
from nets.runtime.threads import LITTLE, SMALL, Caller, share, share_kernel, thread_count

PARTS = 8  # partial sums of a small weight gradient, independent of the number of threads
WORTH = 1 << 20  # minimum multiplications of a partial sum


def run(spec: ConvSpec, x: Array, w: Array, bias: Array | None = None) -> Array:
    """Apply the convolution to images x (N, rows, cols, inputs)."""
    images, whole, flat = len(x), _stored_bias(bias, spec), w.reshape(-1)
    if spec.tile and images:
        return winograd.run(spec, x, flat, whole)
    y = empty(images, *spec.out, spec.stored)
    if not y.size:
        return y[..., : spec.outputs]
    weights = spec.inputs * spec.taps * spec.stored
    if weights > CACHE // 4 and images * spec.pixels < 2048:
        _by_outputs(spec, x, flat, whole, y)
    else:
        _by_pixels(spec, x, flat, whole, y)
    return _rows(y, spec.outputs)


def _by_outputs(spec: ConvSpec, x: Array, w: Array, bias: Array, y: Array) -> None:
    """Many weights, few pixels: pack a block of weights, apply it to all pixels, repeat."""
    images, blocks = len(x), -(-spec.stored // 16)
    source, target = _framed(spec, x).reshape(-1), y.reshape(-1)
    group = max(1, CACHE // (16 * spec.inputs * spec.taps))
    rows = forward_parameters(spec, images, spec.stored)[1]

    def task(call: Caller, first: int, last: int) -> None:
        for block in range(first, last, group):
            k, end = 16 * block, min(16 * min(block + group, last), spec.stored)
            order = packing(spec, k, end - k)
            packed = call.scratch("packed", spec.inputs * spec.taps * (end - k))
            call(kernels.pack_weights, w, packed, order, 0, -(-(end - k) // 16))
            part = forward_parameters(spec, images, end - k)[0].copy()
            part[conv.Y] = k
            call(conv_between, source, packed, bias[k:end], target, part, 0, rows)

    share(blocks, task, small=spec.work * images < LITTLE)


def _by_pixels(spec: ConvSpec, x: Array, w: Array, bias: Array, y: Array) -> None:
    """Many pixels: pack all weights, then distribute rows or images over threads."""
    images = len(x)
    packed = empty(spec.inputs * spec.taps * spec.stored)
    order = packing(spec, 0, spec.stored)
    share_kernel(
        kernels.pack_weights, (w, packed, order), -(-spec.stored // 16), small=packed.size < SMALL
    )
    small = spec.work * images < LITTLE

    def given(source: Array, image: int, count: int) -> tuple[Any, ...]:
        shape = forward_parameters(spec, count, spec.stored)[0]
        return source.reshape(-1), packed, bias, y[image : image + count].reshape(-1), shape

    chunk = _chunk(spec, images)
    chunks = -(-images // chunk)
    if spec.framed != spec.size and (thread_count() == 1 or chunks >= 2 * thread_count()):

        def task(call: Caller, first: int, last: int) -> None:
            for n in range(first * chunk, min(last * chunk, images), chunk):
                end = min(n + chunk, images)
                rows = forward_parameters(spec, end - n, spec.stored)[1]
                call(conv_between, *given(_inside(spec, x[n:end], call), n, end - n), 0, rows)

        share(chunks, task, small=small)
        return
    rows = forward_parameters(spec, images, spec.stored)[1]
    share_kernel(conv_between, given(_framed(spec, x), 0, images), rows, small=small)


def weight_gradient(spec: ConvSpec, x: Array, gy: Array, shape: tuple[int, ...]) -> Array:
    """Return the weight gradient of ``shape`` of a `forward_spec`; gy is (N, h, w, outputs)."""
    w = empty(*shape)
    if not w.size or not gy.size:
        w[...] = 0
        return w
    gy = _rows(gy, spec.stored)
    flat, size = w.reshape(-1), spec.inputs * spec.taps * spec.stored
    if spec.tile:
        winograd.weight_gradient(spec, x, gy, flat)
        return w
    elif size > CACHE // 2:
        _of_many_weights(spec, x, gy, flat)
    else:
        _of_few_weights(spec, x, gy, flat)
    return w


def _of_many_weights(spec: ConvSpec, x: Array, gy: Array, w: Array) -> None:
    """Compute blocks of outputs, each summed over all pixels."""
    images, blocks, one = len(x), -(-spec.stored // 16), 16 * spec.inputs * spec.taps
    source, grads = _framed(spec, x).reshape(-1), gy.reshape(-1)
    group = max(1, CACHE // one)

    def task(call: Caller, first: int, last: int) -> None:
        for block in range(first, last, group):
            k, end = 16 * block, min(16 * min(block + group, last), spec.stored)
            sums, parameters = (
                call.scratch("packed", one * (end - k) // 16),
                gradient_parameters(spec, images, end - k),
            )
            parameters = parameters.copy()
            parameters[[kernels.Y, kernels.FRESH]] = k, 1
            call(kernels.weight_gradient, source, grads, sums, parameters)
            order = packing(spec, k, end - k)
            call(kernels.unpack_weights, sums.reshape(1, -1), w, order, 0, -(-(end - k) // 16))

    share(blocks, task, small=spec.work * images < LITTLE)


def _of_few_weights(spec: ConvSpec, x: Array, gy: Array, w: Array) -> None:
    """Compute all outputs at once, summed over blocks of images."""
    images, chunk = len(x), _chunk(spec, len(x))
    parts = min(PARTS, images, max(-(-images // chunk), spec.work * images // WORTH))
    sums = empty(parts, spec.inputs * spec.taps * spec.stored)

    def task(call: Caller, first: int, last: int) -> None:
        for p in range(first, last):
            begin, stop = p * images // parts, (p + 1) * images // parts
            for n in range(begin, stop, chunk):
                end = min(n + chunk, stop)
                parameters = gradient_parameters(spec, end - n, spec.stored)
                if n == begin:
                    parameters = parameters.copy()
                    parameters[kernels.FRESH] = 1
                source, grads = _inside(spec, x[n:end], call).reshape(-1), gy[n:end].reshape(-1)
                call(kernels.weight_gradient, source, grads, sums[p], parameters)

    share(parts, task, small=spec.work * images < LITTLE)
    given = sums, w, packing(spec, 0, spec.stored)
    share_kernel(kernels.unpack_weights, given, -(-spec.stored // 16), small=sums.size < SMALL)


def _chunk(spec: ConvSpec, images: int) -> int:
    """Return the number of images that fit in the cache."""
    rows, cols = spec.framed
    return max(1, min(images, 2 * CACHE // (rows * cols * spec.inputs)))


def _rows(x: Array, channels: int) -> Array:
    """Return images (N, h, w, C) cropped or zero-padded to a number of channels."""
    if x.shape[3] == channels:
        return x
    y, rows = empty(*x.shape[:3], channels), x.size // x.shape[3]
    given = x.reshape(-1), y.reshape(-1), x.shape[3], channels
    share_kernel(kernels.cut_rows, given, rows, small=x.size < SMALL)
    return y


def _inside(spec: ConvSpec, x: Array, call: Caller) -> Array:
    """Copy a chunk of images with the zero padding that the convolution needs."""
    if spec.framed == spec.size:
        return x
    out, sizes = call.scratch("chunk", _room(spec, len(x))), _sizes(spec)
    call(kernels.put_frame, x.reshape(-1), out, *sizes, 0, len(x))
    return out


def _framed(spec: ConvSpec, x: Array) -> Array:
    """Return all images with zero padding."""
    if spec.framed == spec.size:
        return x
    out = scratch("all", _room(spec, len(x)))
    given = x.reshape(-1), out, *_sizes(spec)
    share_kernel(kernels.put_frame, given, len(x), small=out.size < SMALL)
    return out


def _room(spec: ConvSpec, images: int) -> int:
    return images * spec.framed[0] * spec.framed[1] * spec.inputs


def _sizes(spec: ConvSpec) -> tuple[int, ...]:
    """Return the sizes of images and frames, for the kernel `put_frame`."""
    top, left, _, _ = spec.frame
    (rows, cols), (high, wide), channels = spec.size, spec.framed, spec.inputs
    return rows, cols * channels, high, wide * channels, top, left * channels


def _stored_bias(bias: Array | None, spec: ConvSpec) -> Array:
    if bias is not None and spec.outputs == spec.stored:
        return np.ascontiguousarray(bias)
    whole = np.zeros(spec.stored, np.float32)
    if bias is not None:
        whole[: spec.outputs] = bias
    return whole
