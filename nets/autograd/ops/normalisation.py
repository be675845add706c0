"""Batch, group, layer and local response normalisation.

References: Ioffe & Szegedy, Batch normalization, ICML 2015; Wu & He, Group normalization, ECCV
2018; Ba et al., Layer normalization, 2016; Krizhevsky et al., NIPS 2012, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.channels import CLAMPS, Channels
from nets.autograd.tensor import Grads, Needs, Vjp, op
from nets.kernels import batchnorm
from vj.errors import NetError

FREE = CLAMPS[None]


@op
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    running: tuple[Array, Array] | None,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str | None = None,
) -> tuple[Array, Vjp]:
    """Normalise each channel over the batch, then scale and shift.

    Parameters
    ----------
    x : (N, C) or (N, C, ...)
    weight, bias : (C,), optional
    running : (mean, var), optional
        Arrays (C,). In training they are updated in place by ``momentum`` with the batch statistics
        (unbiased variance); in evaluation they replace the batch statistics.
    training : bool
    momentum, eps : float
    activation : None, "relu" or "relu6"
        Fused activation.

    Raises
    ------
    NetError
        The shapes do not match, or a training batch has one value per channel.
    """
    channels = _check_batch(x, weight, bias, running, activation)
    count = x.size // channels
    if training and count < 2:
        raise NetError(
            f"batch_norm: training needs more than one value per channel, got x of shape "
            f"{x.shape}: use a larger batch or evaluation mode"
        )
    if not training and running is None:
        raise NetError("batch_norm: evaluation needs `running` statistics, got None")
    numbers, stats = Channels(x, 1, activation), np.empty((4, channels))
    if training:
        sums = numbers.parts(numbers.x, np.zeros((1, 2 * numbers.period), np.float32), FREE)
        batchnorm.channel_moments(sums[0], count, numbers.period, stats)
        if running is not None:
            running[0][:] += momentum * (stats[0] - running[0])
            running[1][:] += momentum * (stats[1] * (count / (count - 1)) - running[1])
    else:
        assert running is not None
        stats[0], stats[1] = running
    coef = np.empty((1, 6 * numbers.period), np.float32)
    scale = np.ones(channels, np.float32) if weight is None else _plain(weight)
    shift = np.zeros(channels, np.float32) if bias is None else _plain(bias)
    batchnorm.batch_scale(stats, scale, shift, eps, coef[0])
    ahead = coef[:, : 2 * numbers.period]

    def vjp(g: Array, needs: Needs) -> Grads:
        grads, to_weight, to_bias = numbers.like_x(g), *np.empty((2, channels), np.float32)
        sums = numbers.parts(grads, ahead, numbers.clamp)
        share = -1 / count if training else 0
        batchnorm.batch_slope(sums[0], stats, share, coef[0], to_weight, to_bias)
        return (
            numbers.grad_by(grads, coef) if needs[0] else None,
            to_weight.astype(x.dtype, copy=False),
            to_bias.astype(x.dtype, copy=False),
        )

    return numbers.scaled_by(ahead), vjp


def _plain(numbers: Array) -> Array:
    return np.ascontiguousarray(numbers, np.float32)


def _check_batch(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running: tuple[Array, Array] | None,
    activation: str | None,
) -> int:
    if x.ndim < 2 or not x.size:
        raise NetError(f"batch_norm: x must have shape (N, C, ...) and not be empty, got {x.shape}")
    if activation not in CLAMPS:
        raise NetError(
            f'batch_norm: `activation` must be None, "relu" or "relu6", not {activation!r}'
        )
    mean, var = running if running is not None else (None, None)
    named = {"weight": weight, "bias": bias, "running mean": mean, "running var": var}
    for name, array in named.items():
        if array is not None and array.shape != (x.shape[1],):
            raise NetError(
                f"batch_norm: {name} of shape {array.shape} does not fit the {x.shape[1]} channels "
                f"of x {x.shape}"
            )
    return int(x.shape[1])


@op
def group_norm(
    x: Array, weight: Array | None, bias: Array | None, *, groups: int, eps: float = 1e-5
) -> tuple[Array, Vjp]:
    """Normalise each group of channels of each image, then scale and shift.

    Parameters
    ----------
    x : (N, C, ...)
    weight, bias : (C,), optional
    groups : int
        A divisor of C; C groups are instance normalisation, one is layer normalisation.
    eps : float

    Raises
    ------
    NetError
        ``groups`` does not divide the channels, or the shapes do not match.
    """
    if not x.size:
        raise NetError(f"group_norm: x of shape {x.shape} is empty")
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise NetError(f"group_norm: {groups} groups do not divide the channels of x {x.shape}")
    for name, array in {"weight": weight, "bias": bias}.items():
        if array is not None and array.shape != (x.shape[1],):
            raise NetError(
                f"group_norm: {name} of shape {array.shape} does not fit the {x.shape[1]} channels "
                f"of x {x.shape}"
            )
    numbers, count = Channels(x, len(x)), x[0].size // groups
    factor = np.ones(x.shape[1]) if weight is None else weight.astype(np.float64)

    def by_group(each: Array) -> Array:
        """Sum over the channels of each group, repeated for each channel."""
        total = each.reshape(len(x), groups, -1).sum(2)
        return np.repeat(total, x.shape[1] // groups, 1)

    mean, square = (by_group(m) * (groups / x.shape[1]) for m in numbers.moments())
    inverse = 1 / np.sqrt(np.maximum(square - mean * mean, 0) + eps)
    scale = factor * inverse
    shift = (0 if bias is None else bias) - mean * scale

    def vjp(g: Array, needs: Needs) -> Grads:
        total, with_x = numbers.sums(g, scale, shift)
        to_normal = (with_x - mean * total) * inverse
        slope = by_group(factor * to_normal) * inverse * inverse / -count
        rest = by_group(factor * total) * inverse / -count
        return (
            numbers.grad(g, scale, shift, scale, slope, mean, rest) if needs[0] else None,
            to_normal.sum(0).astype(x.dtype) if needs[1] else None,
            total.sum(0).astype(x.dtype) if needs[2] else None,
        )

    return numbers.scaled(scale, shift), vjp


@op
def layer_norm(
    x: Array, weight: Array, bias: Array | None, *, eps: float = 1e-5
) -> tuple[Array, Vjp]:
    """Normalise over the last axes, as many as ``weight`` has, then scale and shift.

    Parameters
    ----------
    x : (..., *weight.shape)
    weight : array
    bias : array of the shape of ``weight``, optional
    eps : float

    Raises
    ------
    NetError
        The shapes do not match.
    """
    last = x.ndim - weight.ndim
    if last < 0 or x.shape[last:] != weight.shape or weight.ndim == 0:
        raise NetError(
            f"layer_norm: weight of shape {weight.shape} does not match the end of x {x.shape}"
        )
    if bias is not None and bias.shape != weight.shape:
        raise NetError(
            f"layer_norm: bias of shape {bias.shape} does not fit weight of {weight.shape}"
        )
    normal, back = _standardise(x, tuple(range(last, x.ndim)), eps)
    lead = tuple(range(last))

    def vjp(g: Array, needs: Needs) -> Grads:
        return (
            back(g * weight) if needs[0] else None,
            (g * normal).sum(lead) if needs[1] else None,
            g.sum(lead) if needs[2] else None,
        )

    return normal * weight + (0 if bias is None else bias), vjp


def _standardise(
    x: Array, axes: tuple[int, ...], eps: float
) -> tuple[Array, Callable[[Array], Array]]:
    """Normalise over ``axes``; also return the function from its gradient to that of x."""
    mean = x.mean(axes, np.float64, keepdims=True).astype(x.dtype)
    centred = x - mean
    var = np.mean(np.square(centred), axes, np.float64, keepdims=True)
    inverse = (1 / np.sqrt(var + eps)).astype(x.dtype)
    normal = centred * inverse

    def back(g: Array) -> Array:
        mean_g = g.mean(axes, keepdims=True)
        back: Array = (g - mean_g - normal * (g * normal).mean(axes, keepdims=True)) * inverse
        return back

    return normal, back


@op
def local_response_norm(
    x: Array, *, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> tuple[Array, Vjp]:
    """``x / (k + alpha * mean square over `size` neighbouring channels) ** beta``.

    Parameters
    ----------
    x : (N, C, ...)
    size : int
        Channels around each one, ``size // 2`` of them before it; those beyond the ends are 0.
    alpha, beta, k : float

    Raises
    ------
    NetError
        ``size`` is not positive or x has no channels.
    """
    if size < 1 or x.ndim < 2:
        raise NetError(
            f"local_response_norm: needs `size` of at least 1 and x (N, C, ...), got {size} and "
            f"{x.shape}"
        )
    base = k + (alpha / size) * _neighbours(np.square(x), size // 2, (size - 1) // 2)
    factor = base**-beta

    def vjp(g: Array, needs: Needs) -> Grads:
        shared = _neighbours(g * x * factor / base, (size - 1) // 2, size // 2)
        return (g * factor - (2 * alpha * beta / size) * x * shared,)

    return x * factor, vjp


def _neighbours(x: Array, before: int, after: int) -> Array:
    """Sum over the channels from ``before`` before to ``after`` after each one."""
    total = np.array(x, copy=True)
    channels = x.shape[1]
    for step in range(1, min(before, channels - 1) + 1):
        total[:, step:] += x[:, :-step]
    for step in range(1, min(after, channels - 1) + 1):
        total[:, :-step] += x[:, step:]
    return total
