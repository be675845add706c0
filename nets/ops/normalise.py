"""Normalisation: over the batch, over groups of channels, over the last axes, over neighbours.

References: Ioffe & Szegedy, Batch normalization, ICML 2015; Wu & He, Group normalization, ECCV
2018; Ba et al., Layer normalization, 2016; Krizhevsky et al., NIPS 2012, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nets.graph.ir import Array
from nets.kernels import batchnorm
from nets.ops.base import flat, unflat
from nets.ops.resize import SMALL
from nets.ops.threads import share
from nets.tensor import Grads, Needs, Vjp, op
from vj.errors import NetError

PARTS = 8  # sums of large batches are made in so many pieces, whatever the number of threads
CLAMPS = {None: (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


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
    """Each channel with mean 0 and variance 1 over the batch, then scaled and shifted.

    Parameters
    ----------
    x : (N, C) or (N, C, ...)
    weight, bias : (C,), optional
    running : (mean, var), optional
        Arrays (C,). In training they move by ``momentum`` towards the moments of the batch (in
        place; the variance is the unbiased one), otherwise they take the place of these moments.
    training : bool
    momentum, eps : float
    activation : None, "relu" or "relu6"
        Applied to the result on the way.

    Raises
    ------
    NetError
        Shapes do not fit, or a batch in training has one number for each channel only.
    """
    channels = _check_batch(x, weight, bias, running, activation)
    count = x.size // channels
    if training and count < 2:
        raise NetError(
            f"batch_norm: training needs more than one number for each channel, got x of shape "
            f"{x.shape}: use a larger batch or evaluation mode"
        )
    if not training and running is None:
        raise NetError("batch_norm: evaluation needs `running` moments, got None")
    numbers = _Rows(x, channels, CLAMPS[activation])
    if training:
        total, square = numbers.moments() / count
        mean, var = total, np.maximum(square - total * total, 0)
        if running is not None:
            running[0][:] += momentum * (mean - running[0])
            running[1][:] += momentum * (var * count / (count - 1) - running[1])
    else:
        assert running is not None
        mean, var = (moment.astype(np.float64) for moment in running)
    inverse = 1 / np.sqrt(var + eps)
    scale = inverse if weight is None else inverse * weight
    coef = scale, -mean * scale if bias is None else bias - mean * scale

    def vjp(g: Array, needs: Needs) -> Grads:
        slope = rest = np.zeros(channels)
        to_weight = to_bias = None
        if training or needs[1] or needs[2]:
            to_bias, with_x = numbers.sums(g, coef)
            to_weight = (with_x - mean * to_bias) * inverse
            if training:
                slope, rest = -scale * inverse * to_weight / count, -scale * to_bias / count
        back = numbers.grad(g, (*coef, scale, slope, mean, rest)) if needs[0] else None
        return back, to_weight if needs[1] else None, to_bias if needs[2] else None

    return numbers.scaled(coef), vjp


class _Rows:
    """Numbers in rows of whole pixels, a multiple of 16 long, as `nets.kernels.batchnorm` wants."""

    def __init__(self, x: Array, channels: int, clamp: tuple[float, float]) -> None:
        self.shape, self.channels, self.clamp = x.shape, channels, clamp
        self.image = x.shape if x.ndim in (2, 4) else (len(x), channels, x[0, 0].size, 1)
        self.x = self._flat(x)
        self.fold = 16 // math.gcd(channels, 16)
        self.rows = -(-self.x.size // (channels * self.fold))
        self.small = self.x.size < SMALL

    def _flat(self, x: Array) -> Array:
        return flat(x.reshape(self.image)).astype(np.float32, copy=False)

    def _unflat(self, numbers: Array) -> Array:
        return unflat(numbers, self.image).reshape(self.shape)

    def _tiled(self, coef: Sequence[Array | float]) -> Array:
        wide = [np.broadcast_to(c, self.channels) for c in coef]
        return np.tile(np.array(wide, np.float32), self.fold).reshape(-1)

    def moments(self) -> Array:
        """Sums of x and of its squares for each channel."""
        return self._sums(self.x, (0.0, 0.0), CLAMPS[None])

    def sums(self, g: Array, coef: Sequence[Array]) -> Array:
        """Sums of g and of g x for each channel, of what passes the clamp."""
        return self._sums(self._flat(g), coef, self.clamp)

    def _sums(
        self, numbers: Array, coef: Sequence[Array | float], clamp: tuple[float, float]
    ) -> Array:
        parts = 1 if self.small else PARTS
        sums = np.empty((parts, 2, self.fold, self.channels))
        given = self.x, numbers, self._tiled(coef), *clamp, sums.reshape(-1), parts
        share(parts, lambda i, j: batchnorm.channel_sums(*given, i, j), small=self.small)
        total: Array = sums.sum((0, 2))
        return total

    def scaled(self, coef: Sequence[Array]) -> Array:
        """Numbers scaled, shifted and clamped."""
        y = np.empty_like(self.x)
        given = self.x, self._tiled(coef), *self.clamp, y
        share(self.rows, lambda i, j: batchnorm.channel_scale(*given, i, j), small=self.small)
        return self._unflat(y)

    def grad(self, g: Array, coef: Sequence[Array]) -> Array:
        """Gradient of x; see `nets.kernels.batchnorm.channel_grad`."""
        numbers, y = self._flat(g), np.empty_like(self.x)
        given = self.x, numbers, self._tiled(coef), *self.clamp, y
        share(self.rows, lambda i, j: batchnorm.channel_grad(*given, i, j), small=self.small)
        return self._unflat(y)


def _check_batch(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running: tuple[Array, Array] | None,
    activation: str | None,
) -> int:
    if x.ndim < 2:
        raise NetError(f"batch_norm: x must have shape (N, C, ...), got {x.shape}")
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
    return len(x[0])


@op
def group_norm(
    x: Array, weight: Array | None, bias: Array | None, *, groups: int, eps: float = 1e-5
) -> tuple[Array, Vjp]:
    """Each group of channels of each image with mean 0 and variance 1, then scaled and shifted.

    Parameters
    ----------
    x : (N, C, ...)
    weight, bias : (C,), optional
    groups : int
        Divides C; C groups are instance normalisation, one is layer normalisation of images.
    eps : float

    Raises
    ------
    NetError
        The channels do not divide into groups, or the shapes do not fit.
    """
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise NetError(f"group_norm: {groups} groups do not divide the channels of x {x.shape}")
    wide = (1, x.shape[1], *[1] * (x.ndim - 2))
    for name, array in {"weight": weight, "bias": bias}.items():
        if array is not None and array.shape != (x.shape[1],):
            raise NetError(
                f"group_norm: {name} of shape {array.shape} does not fit the {x.shape[1]} channels "
                f"of x {x.shape}"
            )
    split = (len(x), groups, x.shape[1] // groups, *x.shape[2:])
    normal, back = _standardise(x.reshape(split), tuple(range(2, len(split))), eps)
    normal = normal.reshape(x.shape)
    scale = 1 if weight is None else weight.reshape(wide)
    y = normal * scale + (0 if bias is None else bias.reshape(wide))
    axes = (0, *range(2, x.ndim))

    def vjp(g: Array, needs: Needs) -> Grads:
        return (
            back((g * scale).reshape(split)).reshape(x.shape) if needs[0] else None,
            (g * normal).sum(axes) if needs[1] else None,
            g.sum(axes) if needs[2] else None,
        )

    return y, vjp


@op
def layer_norm(
    x: Array, weight: Array, bias: Array | None, *, eps: float = 1e-5
) -> tuple[Array, Vjp]:
    """Mean 0 and variance 1 over the last axes, as many as ``weight`` has, then scale and shift.

    Parameters
    ----------
    x : (..., *weight.shape)
    weight : array
    bias : array of the shape of ``weight``, optional
    eps : float

    Raises
    ------
    NetError
        The shapes do not fit.
    """
    last = x.ndim - weight.ndim
    if last < 0 or x.shape[last:] != weight.shape or weight.ndim == 0:
        raise NetError(
            f"layer_norm: weight of shape {weight.shape} does not fit the end of x {x.shape}"
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
    """X with mean 0 and variance 1 over ``axes``, and the way from its gradient to that of x."""
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
        Channels about each one, ``size // 2`` of them before it; those beyond the ends are 0.
    alpha, beta, k : float

    Raises
    ------
    NetError
        ``size`` is not positive or x has no channels.
    """
    if size < 1 or x.ndim < 2:
        raise NetError(
            f"local_response_norm: wants `size` of at least 1 and x (N, C, ...), got {size} and "
            f"{x.shape}"
        )
    base = k + (alpha / size) * _neighbours(np.square(x), size // 2, (size - 1) // 2)
    factor = base**-beta

    def vjp(g: Array, needs: Needs) -> Grads:
        shared = _neighbours(g * x * factor / base, (size - 1) // 2, size // 2)
        return (g * factor - (2 * alpha * beta / size) * x * shared,)

    return x * factor, vjp


def _neighbours(x: Array, before: int, after: int) -> Array:
    """Sum over the channels from ``before`` ahead to ``after`` behind each one."""
    total = np.array(x, copy=True)
    channels = x.shape[1]
    for step in range(1, min(before, channels - 1) + 1):
        total[:, step:] += x[:, :-step]
    for step in range(1, min(after, channels - 1) + 1):
        total[:, :-step] += x[:, step:]
    return total
