"""Gradient clipping, against exploding gradients.

Reference: Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from nets.autograd.tensor import Tensor
from vj.errors import NetError


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their joint norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float

    Returns
    -------
    float
        The norm before clipping; not finite if a gradient is not.

    Raises
    ------
    NetError
        ``max_norm`` is not positive.
    """
    if not max_norm > 0:
        raise NetError(f"clip_grad_norm: `max_norm` must be positive, got {max_norm}")
    having = [p for p in parameters if p.grad is not None]
    total = math.sqrt(sum(_sum_of_squares(p) for p in having))
    factor = max_norm / (total + 1e-6)
    if not factor >= 1:
        for p in having:
            assert p.grad is not None
            p.grad = p.grad * p.dtype.type(factor)
    return total


def clip_grad_value(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Clamp every value of every gradient to ``-clip_value .. clip_value``.

    Raises
    ------
    NetError
        ``clip_value`` is not positive.
    """
    if not clip_value > 0:
        raise NetError(f"clip_grad_value: `clip_value` must be positive, got {clip_value}")
    for p in parameters:
        if p.grad is not None:
            p.grad = np.clip(p.grad, -clip_value, clip_value)


def _sum_of_squares(p: Tensor) -> float:
    """Return the sum of squares, in float64 and always in the same order."""
    assert p.grad is not None
    flat = np.ascontiguousarray(p.grad).reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64))
