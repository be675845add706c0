"""Regression losses: squared, absolute, Huber and smooth L1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.ops.arithmetic import absolute
from nets.autograd.tensor import Tensor, Vjp, op
from nets.nn.losses.base import reduce, same_shape
from vj.errors import NetError


def mse_loss(input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean") -> Tensor:
    """Squared differences.

    Parameters
    ----------
    input, target : of the same shape
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes differ.
    """
    same_shape("mse_loss", input, target)
    difference = input - target
    return reduce("mse_loss", difference * difference, reduction)


def l1_loss(input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean") -> Tensor:
    """Absolute differences.

    Parameters
    ----------
    input, target : of the same shape
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes differ.
    """
    same_shape("l1_loss", input, target)
    return reduce("l1_loss", absolute(input - target), reduction)


@op
def _huber(difference: Array, *, delta: float) -> tuple[Array, Vjp]:
    near = np.clip(difference, -delta, delta)
    y = near * (difference - 0.5 * near)
    return y, lambda g, needs: (g * near,)


def huber_loss(
    input: Tensor, target: Tensor | ArrayLike, *, delta: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Half the squared difference up to ``delta``, linear with slope ``delta`` beyond it.

    Parameters
    ----------
    input, target : of the same shape
    delta : float
        In units of the input.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes differ, or ``delta`` is not positive.

    References
    ----------
    Huber, Robust estimation of a location parameter, 1964.
    """
    if not delta > 0:
        raise NetError(f"huber_loss: `delta` must be positive, got {delta}")
    same_shape("huber_loss", input, target)
    return reduce("huber_loss", _huber(input - target, delta=delta), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor | ArrayLike, *, beta: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """`huber_loss` with ``delta = beta``, divided by ``beta``; ``beta = 0`` is `l1_loss`.

    Parameters
    ----------
    input, target : of the same shape
    beta : float
        In units of the input.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes differ, or ``beta`` is negative.
    """
    if beta < 0:
        raise NetError(f"smooth_l1_loss: `beta` must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    return huber_loss(input, target, delta=beta, reduction=reduction) / beta
