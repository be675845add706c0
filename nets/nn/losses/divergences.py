"""Divergences between distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.ops.arithmetic import exp
from nets.autograd.tensor import Tensor, Vjp, op
from nets.nn.losses.base import reduce, same_shape


def kl_div(
    input: Tensor,
    target: Tensor | ArrayLike,
    *,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence ``target * (log target - input)``.

    Parameters
    ----------
    input : tensor
        Log-probabilities.
    target : tensor or array of the same shape
        Probabilities, or their logarithms if ``log_target``.
    reduction : "mean", "batchmean", "sum" or "none"
        "batchmean" divides the sum by the length of the first axis, which is the definition.

    Raises
    ------
    NetError
        The shapes differ.
    """
    known = target if isinstance(target, Tensor) else Tensor(target, dtype=input.dtype)
    same_shape("kl_div", input, known.data)
    if log_target:
        losses = exp(known) * (known - input)
    else:
        losses = _entropy(known) - known * input
    if reduction == "batchmean":
        return losses.sum() / max(1, len(input))
    return reduce("kl_div", losses, reduction)


@op
def _entropy(p: Array) -> tuple[Array, Vjp]:
    """Return p log p, 0 at 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(p == 0, 0, np.log(p))
    return p * logs, lambda g, needs: (g * (logs + 1),)


def gaussian_kl(mean: Tensor, log_var: Tensor, *, reduction: str = "batchmean") -> Tensor:
    """KL divergence of Gaussians from the standard normal, the regulariser of a VAE.

    Parameters
    ----------
    mean, log_var : (N, D)
        Of independent Gaussians.
    reduction : "batchmean", "mean", "sum" or "none"
        "batchmean" is the sum over D, averaged over N.

    Raises
    ------
    NetError
        The shapes differ.

    References
    ----------
    Kingma & Welling, Auto-encoding variational Bayes, ICLR 2014, appendix B.
    """
    same_shape("gaussian_kl", mean, log_var.data)
    losses = (mean * mean + exp(log_var) - log_var - 1.0) * 0.5
    if reduction == "batchmean":
        return losses.sum() / max(1, len(mean))
    return reduce("gaussian_kl", losses, reduction)
