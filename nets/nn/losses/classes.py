"""Classification losses from logits, numerically stable for logits of any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.ops.activation import log_softmax_of, logistic_of, planes, unplanes
from nets.autograd.tensor import Grads, Needs, Tensor, Vjp, op
from nets.nn.losses.base import as_array, reduce, same_shape
from vj.errors import NetError


@op
def _nll(
    logits: Array, *, labels: Array, counted: Array, each: Array, smoothing: float
) -> tuple[Array, Vjp]:
    """Return the losses (M,) of logits (N, C, ...) with labels (M,), 0 where not ``counted``.

    ``each`` (C,) holds the class weights.
    """
    logs = log_softmax_of(planes(logits, 1))
    places, spread = np.arange(len(labels)), logits.dtype.type(smoothing / len(logs))
    direct = logits.dtype.type(1 - smoothing) * each[labels]
    losses = -direct * logs[labels, places]
    if spread:
        losses -= spread * (each @ logs)

    def vjp(g: Array, needs: Needs) -> Grads:
        g = g * counted
        back = np.exp(logs)
        back *= (direct + spread * each.sum()) * g
        back[labels, places] -= direct * g
        if spread:
            back -= each[:, None] * (spread * g)
        return (unplanes(back, logits.shape, 1),)

    return np.where(counted, losses, 0), vjp


def cross_entropy(
    input: Tensor,
    target: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of the true class, from logits.

    Parameters
    ----------
    input : (N, C) or (N, C, ...)
        Logits of C classes.
    target : (N,) or (N, ...) int
        True classes.
    weight : (C,), optional
        Weight of each class; the mean is weighted.
    ignore_index : int
        Targets of this value are ignored.
    label_smoothing : float
        Fraction of the target, from 0 to 1, that is spread over all classes.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes do not match, or a target is out of range; the message names it.
    """
    labels = np.asarray(target)
    if input.ndim < 2 or labels.shape != (input.shape[0], *input.shape[2:]):
        raise NetError(
            f"cross_entropy: target of shape {labels.shape} does not match input (N, C, ...) of "
            f"shape {input.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise NetError(f"cross_entropy: target must hold integers, got {labels.dtype}")
    if not 0 <= label_smoothing <= 1:
        raise NetError(
            f"cross_entropy: `label_smoothing` must be from 0 to 1, got {label_smoothing}"
        )
    classes, counted = input.shape[1], labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= classes))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise NetError(
            f"cross_entropy: label {labels[place]} at {place} is out of range: there are "
            f"{classes} classes"
        )
    each = np.ones(classes) if weight is None else np.asarray(weight)
    if each.shape != (classes,):
        raise NetError(f"cross_entropy: `weight` must have shape ({classes},), got {each.shape}")
    each = each.astype(input.dtype)
    safe = np.where(counted, labels, 0)
    losses = _nll(
        input,
        labels=safe.reshape(-1),
        counted=counted.reshape(-1),
        each=each,
        smoothing=label_smoothing,
    )
    if reduction == "mean":
        total = float((each[safe] * counted).sum(dtype=np.float64))
        return losses.sum() / total if total else losses.sum() * np.nan
    return reduce("cross_entropy", losses.reshape(*labels.shape), reduction)


@op
def _bce(x: Array, target: Array, *, positive: Array) -> tuple[Array, Vjp]:
    """Return ``positive * target * softplus(-x) + (1 - target) * softplus(x)``."""
    y, rest = logistic_of(x)
    rest += np.maximum(-x, 0)  # now log(1 + exp(-x))
    weight = 1 + (positive - 1) * target
    losses = (1 - target) * x + weight * rest

    def vjp(g: Array, needs: Needs) -> Grads:
        to_target = g * ((positive - 1) * rest - x) if needs[1] else None
        return g * (weight * y - (weight - 1 + target)), to_target

    return losses, vjp


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor | ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross entropy, from the logit of the positive class.

    Parameters
    ----------
    input : tensor
        Logits.
    target : array of the same shape
        Probabilities of the positive class, 0 to 1.
    weight : array that broadcasts, optional
        Weight of each element.
    pos_weight : array that broadcasts, optional
        Weight of the positive class.
    reduction : "mean", "sum" or "none"

    Raises
    ------
    NetError
        The shapes differ.
    """
    name = "binary_cross_entropy_with_logits"
    same_shape(name, input, as_array(target))
    positive = np.asarray(1 if pos_weight is None else pos_weight, input.dtype)
    losses = _bce(input, target, positive=positive)
    if weight is not None:
        losses = losses * np.asarray(weight, input.dtype)
    return reduce(name, losses, reduction)


def focal_loss(
    input: Tensor,
    target: ArrayLike,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """Focal loss, which down-weights examples already classified well (torchvision's).

    Parameters
    ----------
    input : tensor
        Logits.
    target : array of the same shape
        0 or 1 (or between).
    alpha : float
        Weight of the positive class, the other has ``1 - alpha``; negative turns weighting off.
    gamma : float
        The loss is multiplied by ``(1 - p) ** gamma``, p the probability of the true class.
    reduction : "none", "mean" or "sum"

    Raises
    ------
    NetError
        The shapes differ.

    References
    ----------
    Lin et al., Focal loss for dense object detection, ICCV 2017.
    """
    truth = np.asarray(as_array(target), input.dtype)
    same_shape("focal_loss", input, truth)
    losses = _focal(input, target=truth, alpha=alpha, gamma=gamma)
    return reduce("focal_loss", losses, reduction)


@op
def _focal(x: Array, *, target: Array, alpha: float, gamma: float) -> tuple[Array, Vjp]:
    (p, rest), (q, _) = logistic_of(x), logistic_of(-x)
    entropy = (1 - target) * x + np.maximum(-x, 0) + rest
    missed = p * (1 - target) + q * target
    weight = alpha * target + (1 - alpha) * (1 - target) if alpha >= 0 else x.dtype.type(1)
    factor = weight * missed**gamma

    def vjp(g: Array, needs: Needs) -> Grads:
        slope = factor * (p - target)
        if gamma:
            slope = slope + (
                weight * gamma * missed ** (gamma - 1) * entropy * p * q * (1 - 2 * target)
            )
        return (g * slope,)

    return factor * entropy, vjp
