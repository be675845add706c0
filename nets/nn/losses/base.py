"""Helpers of the losses: targets as arrays, shape checks, reductions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from vj.errors import NetError

REDUCTIONS = ("mean", "sum", "none")


def as_array(x: Tensor | ArrayLike) -> Array:
    """Return the values of a tensor or array."""
    return x.data if isinstance(x, Tensor) else np.asarray(x)


def same_shape(name: str, input: Tensor, target: Tensor | ArrayLike) -> None:
    """Raise if the two differ in shape."""
    shape = as_array(target).shape
    if input.shape != shape:
        raise NetError(f"{name}: input of shape {input.shape} and target of {shape} differ")


def reduce(name: str, losses: Tensor, reduction: str) -> Tensor:
    """Return the mean or sum of the losses, or the losses themselves."""
    if reduction not in REDUCTIONS:
        raise NetError(f"{name}: `reduction` must be one of {REDUCTIONS}, not {reduction!r}")
    if reduction == "none":
        return losses
    return losses.mean() if reduction == "mean" else losses.sum()
