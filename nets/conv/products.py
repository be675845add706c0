"""Output, input gradient and weight gradient of a convolution, each by the best kernel.

With x an input (N, H, W, C), w weights (K, C / groups, kh, kw) and y an output (N, h, w, K), the
form sum(y * conv(x, w)) is linear in each of the three: `outputs`, `to_inputs` and `to_weights`
are its gradients with respect to y, x and w. A transposed convolution is the same form with x and y
exchanged.
"""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.conv import dense, depthwise, plain
from nets.conv.geometry import Geometry, Pair
from nets.conv.spec import forward_spec, transposed_spec
from nets.kernels.weights import sum_rows
from nets.runtime.memory import empty
from nets.runtime.threads import SMALL, share_kernel

BANDS = 64  # bands of rows with partial sums


def outputs(x: Array, w: Array, out: Pair, bias: Array | None, how: Geometry) -> Array:
    """Return the outputs (N, *out, K)."""
    if w.dtype != np.float32:
        y = plain.outputs(x, w, how)[:, : out[0], : out[1]]
        return y if bias is None else y + bias
    if how.groups == 1:
        size = (x.shape[1], x.shape[2])
        spec = forward_spec(size, x.shape[3], out, len(w), _side(w), how)
        return dense.run(spec, x, w, bias)
    if _is_depthwise(w, how):
        return depthwise.outputs(x, w, out, bias, how)
    y = empty(len(x), *out, len(w))
    for group in range(how.groups):
        (k, c), one = _group(group, w, how)
        part = None if bias is None else bias[k]
        y[..., k] = outputs(np.ascontiguousarray(x[..., c]), w[k], out, part, one)
    return y


def to_inputs(gy: Array, w: Array, size: Pair, bias: Array | None, how: Geometry) -> Array:
    """Return the gradient (N, *size, C) with respect to the input."""
    if w.dtype != np.float32:
        x = plain.to_inputs(gy, w, size, how)
        return x if bias is None else x + bias
    channels = w.shape[1] * how.groups
    if how.groups == 1:
        out = (gy.shape[1], gy.shape[2])
        spec = transposed_spec(out, gy.shape[3], size, channels, _side(w), how)
        return dense.run(spec, gy, w, bias)
    if _is_depthwise(w, how):
        return depthwise.to_inputs(gy, w, size, bias, how)
    x = empty(len(gy), *size, channels)
    for group in range(how.groups):
        (k, c), one = _group(group, w, how)
        part = None if bias is None else bias[c]
        x[..., c] = to_inputs(np.ascontiguousarray(gy[..., k]), w[k], size, part, one)
    return x


def to_weights(x: Array, gy: Array, shape: tuple[int, ...], how: Geometry) -> Array:
    """Return the gradient with respect to weights of ``shape``."""
    side = (shape[2], shape[3])
    if x.dtype != np.float32:
        return plain.to_weights(x, gy, side, how)
    if how.groups == 1:
        size, out = (x.shape[1], x.shape[2]), (gy.shape[1], gy.shape[2])
        spec = forward_spec(size, x.shape[3], out, shape[0], side, how)
        return dense.weight_gradient(spec, x, gy, shape)
    if shape[1] == 1 and shape[0] == how.groups:
        return depthwise.to_weights(x, gy, side, how)
    w = empty(*shape)
    for group in range(how.groups):
        (k, c), one = _group(group, w, how)
        parts = (np.ascontiguousarray(x[..., c]), np.ascontiguousarray(gy[..., k]))
        w[k] = to_weights(*parts, w[k].shape, one)
    return w


def sums(y: Array) -> Array:
    """Return the sums (K,) over all axes but the last: the gradient of a bias."""
    rows = y.reshape(-1, y.shape[-1])
    if y.dtype != np.float32:
        total: Array = rows.sum(0)
        return total
    parts = np.empty((BANDS, rows.shape[1]), np.float32)
    share_kernel(sum_rows, (rows, parts), BANDS, small=y.size < SMALL)
    total = parts.sum(0)
    return total


def _side(w: Array) -> Pair:
    return w.shape[2], w.shape[3]


def _is_depthwise(w: Array, how: Geometry) -> bool:
    return w.shape[1] == 1 and len(w) == how.groups


def _group(group: int, w: Array, how: Geometry) -> tuple[tuple[slice, slice], Geometry]:
    """Return outputs and inputs of a group, and its geometry."""
    outputs, inputs = len(w) // how.groups, w.shape[1]
    where = (
        slice(group * outputs, (group + 1) * outputs),
        slice(group * inputs, (group + 1) * inputs),
    )
    return where, how._replace(groups=1)
