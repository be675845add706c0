"""3 x 3 convolution at stride 1 and its weight gradient by Winograd's algorithm.

Needs 2.25 or 4 times fewer multiplications than `nets.conv.dense`; errors are about 1e-6 (tiles of
2 x 2 outputs) or 1e-5 (4 x 4) of the largest output.
"""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.conv.spec import ConvSpec, packing
from nets.kernels import weights as kernels
from nets.kernels import winograd_training as steps
from nets.runtime.memory import empty, scratch
from nets.runtime.threads import Caller, share

CHUNK = 1 << 19  # floats of transformed tiles per chunk


def run(spec: ConvSpec, x: Array, w: Array, bias: Array) -> Array:
    """Apply the convolution to images x (N, rows, cols, inputs)."""
    step, images, blocks = spec.tile, len(x), spec.outputs // 16
    elements = (step + 2) ** 2
    y = empty(images, *spec.out, spec.outputs)
    chunk = _chunk(spec, step, images)
    stored = empty(blocks, elements * spec.inputs * 16) if chunk < images else None
    for n in range(0, images, chunk):
        part, out = x[n : n + chunk], y[n : n + chunk].reshape(-1)
        shape, total = _shape(spec, step, len(part), spec.size, spec.inputs)
        v = scratch("tiles", elements * shape[steps.PLANE])
        _enter(steps.enter_inputs, part, v, shape, total)
        shape = _shape(spec, step, len(part), spec.out, spec.inputs)[0]

        def some(
            call: Caller, first: int, last: int, v: Array = v, shape: Array = shape,
            out: Array = out, total: int = total, fresh: bool = n == 0,
        ) -> None:  # fmt: skip
            work = call.scratch("work", 1 << 14)
            for block in range(first, last):
                u = call.scratch("weights", elements * spec.inputs * 16)
                u = u if stored is None else stored[block]
                if fresh:
                    packed = call.scratch("packed", 9 * spec.inputs * 16)
                    call(kernels.pack_weights, w, packed, packing(spec, 16 * block, 16), 0, 1)
                    call(steps.transform_weights, packed, u, step, spec.inputs, 1, work)
                given = v, u, bias, out, shape, 16 * block, spec.outputs, work
                call(steps.leave_outputs, *given, 0, total)

        share(blocks, some)
    return y


def weight_gradient(spec: ConvSpec, x: Array, gy: Array, w: Array) -> None:
    """Fill w, a flat array, with the gradient of the weights."""
    step, images, blocks = spec.tile, len(x), spec.outputs // 16
    elements = (step + 2) ** 2
    chunk = _chunk(spec, step, images)
    size, sums = elements * spec.inputs * 16, None
    if chunk < images:
        sums = empty(blocks, size)
    for n in range(0, images, chunk):
        part, grads = x[n : n + chunk], gy[n : n + chunk]
        shape, total = _shape(spec, step, len(part), spec.size, spec.inputs)
        v = scratch("tiles", elements * shape[steps.PLANE])
        _enter(steps.enter_inputs, part, v, shape, total)
        other, _ = _shape(spec, step, len(part), spec.out, spec.outputs)
        other[[steps.TOP, steps.LEFT]] = 0
        z = scratch("gradients", elements * other[steps.PLANE])
        _enter(steps.enter_gradients, grads, z, other, total)
        parameters = _products(spec, elements, len(part), total, shape, other)
        parameters[kernels.FRESH] = n == 0

        def some(
            call: Caller, first: int, last: int, v: Array = v, z: Array = z,
            parameters: Array = parameters, done: bool = n + chunk >= images,
        ) -> None:  # fmt: skip
            work = call.scratch("work", 1 << 14)
            packed = call.scratch("packed", 9 * spec.inputs * 16)
            for block in range(first, last):
                mine = parameters.copy()
                mine[kernels.Y] = 16 * block
                u = call.scratch("weights", size) if sums is None else sums[block]
                call(kernels.weight_gradient, v, z, u, mine)
                if done:
                    call(steps.transform_weights, u, packed, step, spec.inputs, 0, work)
                    where = packing(spec, 16 * block, 16)
                    call(kernels.unpack_weights, packed.reshape(1, -1), w, where, 0, 1)

        share(blocks, some)


def _chunk(spec: ConvSpec, step: int, images: int) -> int:
    """Return the number of images whose tiles are transformed together."""
    one = (step + 2) ** 2 * spec.tiles(step) * max(spec.inputs, spec.outputs)
    return min(images, max(1, CHUNK // one))


def _shape(
    spec: ConvSpec, step: int, images: int, size: tuple[int, int], channels: int
) -> tuple[Array, int]:
    """Return the geometry for the kernels, and the number of tiles; planes avoid cache aliasing."""
    down, right = -(-spec.out[0] // step), -(-spec.out[1] // step)
    total = images * down * right
    first = spec.phases[0].taps[0]
    parameters = [step, down, right, *size, channels, first.row, first.col, total * channels + 16]
    return np.array(parameters, np.int64), total


def _enter(kernel, images: Array, v: Array, shape: Array, total: int) -> None:  # type: ignore[no-untyped-def]
    flat = images.reshape(-1)

    def task(call: Caller, first: int, last: int) -> None:
        call(kernel, flat, v, shape, call.scratch("work", 1 << 14), first, last)

    share(total, task)


def _products(spec: ConvSpec, elements: int, images: int, total: int, x: Array, y: Array) -> Array:
    """Return the geometry for `weight_gradient`: a tap is an element of the tiles."""
    shape = np.zeros(kernels.GRADIENT + 2 * elements, np.int64)
    inner = total if total <= 256 else total // images
    shape[[kernels.X_1, kernels.X_2]] = inner * spec.inputs, spec.inputs
    shape[[kernels.Y_1, kernels.Y_2]] = inner * spec.outputs, spec.outputs
    shape[[kernels.N_0, kernels.N_1, kernels.N_2]] = 1, total // inner, inner
    shape[kernels.BLOCK] = max(1, 256 // inner)
    shape[[kernels.K, kernels.RUN, kernels.TAPS]] = 16, spec.inputs, elements
    shape[kernels.GRADIENT :] = [
        *(e * x[steps.PLANE] for e in range(elements)),
        *(e * y[steps.PLANE] for e in range(elements)),
    ]
    return shape
