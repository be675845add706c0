"""Optimisation methods, exactly as PyTorch defines them.

References: Robbins & Monro, 1951; Polyak, 1964 (momentum); Nesterov, 1983; Duchi et al., JMLR 12,
2011 (AdaGrad); Hinton, Neural networks for machine learning, lecture 6e, 2012 (RMSprop); Kingma &
Ba, ICLR 2015 (Adam); Loshchilov & Hutter, ICLR 2019 (AdamW).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.kernels import optimizer_step
from nets.nn.optim.optimiser import Optimiser, Parameters
from nets.runtime.threads import share_numbers
from vj.errors import NetError
from vj.kernels.jit import Kernel

NOTHING = np.zeros(0, np.float32)


def run(kernel: Kernel, *arrays: Array, how: tuple[float, ...]) -> None:
    """Run a kernel of `nets.kernels.optimizer_step` over flat arrays."""
    numbers = np.array(how, np.float32)
    flat = [a.reshape(-1) for a in arrays]
    share_numbers(kernel, *flat, numbers, size=flat[0].size)


class SGD(Optimiser):
    """Stochastic gradient descent, optionally with momentum.

    Parameters
    ----------
    parameters, lr
        As for `Optimiser`.
    momentum : float
        Momentum factor.
    dampening : float
        Dampening of the momentum: the gradient enters it times ``1 - dampening``.
    weight_decay : float
        L2 penalty: this times the weight is added to the gradient.
    nesterov : bool
        If True, use Nesterov momentum.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise NetError("SGD: `nesterov` needs momentum, and no dampening")

    def _memory(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {"momentum": 0.0} if group["momentum"] else {}

    def _move(self, w: Array, g: Array, kept: dict[str, Array], group: Mapping[str, Any]) -> None:
        momentum = group["momentum"]
        if momentum and "momentum" not in kept:
            kept["momentum"] = np.zeros(w.size, np.float32)
        keep = 1.0 if kept["step"] == 1 else 1 - group["dampening"]
        shares = (1.0, momentum) if group["nesterov"] else (0.0, 1.0)
        velocity = kept["momentum"] if momentum else NOTHING
        how = (group["lr"], group["weight_decay"], momentum, keep, *shares)
        run(optimizer_step.sgd, w, g, velocity, how=how)


class AdaGrad(Optimiser):
    """Learning rates divided by the root of the sum of all squared gradients so far.

    Parameters
    ----------
    parameters, lr
        As for `Optimiser`.
    lr_decay : float
        The learning rate of step t is ``lr / (1 + (t - 1) * lr_decay)``.
    weight_decay : float
        L2 penalty: this times the weight is added to the gradient.
    initial_accumulator_value : float
        Initial value of the sums.
    eps : float
        Added to the root.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        *,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )

    def _memory(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {"sum": group["initial_accumulator_value"]}

    def _move(self, w: Array, g: Array, kept: dict[str, Array], group: Mapping[str, Any]) -> None:
        rate = group["lr"] / (1 + (int(kept["step"]) - 1) * group["lr_decay"])
        run(
            optimizer_step.adagrad,
            w,
            g,
            kept["sum"],
            how=(rate, group["weight_decay"], group["eps"]),
        )


class RMSprop(Optimiser):
    """Learning rates divided by the root of the moving mean of squared gradients.

    Parameters
    ----------
    parameters, lr
        As for `Optimiser`.
    alpha : float
        Decay factor of the moving mean.
    eps : float
        Added to the root.
    weight_decay : float
        L2 penalty: this times the weight is added to the gradient.
    momentum : float
        Momentum factor.
    centered : bool
        If True, divide by the standard deviation of the gradient instead.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            parameters,
            lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def _memory(self, group: Mapping[str, Any]) -> dict[str, float]:
        wanted = {"square": True, "mean": group["centered"], "momentum": group["momentum"]}
        return {key: 0.0 for key, used in wanted.items() if used}

    def _move(self, w: Array, g: Array, kept: dict[str, Array], group: Mapping[str, Any]) -> None:
        alpha = group["alpha"]
        mean, velocity = kept.get("mean", NOTHING), kept.get("momentum", NOTHING)
        numbers = (alpha, 1 - alpha, group["eps"], group["momentum"], float(group["centered"]))
        how = (group["lr"], group["weight_decay"], *numbers)
        run(optimizer_step.rmsprop, w, g, kept["square"], mean, velocity, how=how)


class Adam(Optimiser):
    """Moving means of the gradient and of its square, both bias-corrected.

    Parameters
    ----------
    parameters, lr
        As for `Optimiser`.
    betas : (float, float)
        Decay factors of the two moving means.
    eps : float
        Added to the root of the mean square.
    weight_decay : float
        L2 penalty: this times the weight is added to the gradient.
    """

    decoupled = False  # if True, weight decay does not pass through the gradient

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if len(group["betas"]) != 2 or not all(0 <= b < 1 for b in group["betas"]):
            raise NetError(
                f"{self._name}: `betas` must be two numbers from 0 to 1, not {group['betas']}"
            )

    def _memory(self, group: Mapping[str, Any]) -> dict[str, float]:
        return {"mean": 0.0, "square": 0.0}

    def _move(self, w: Array, g: Array, kept: dict[str, Array], group: Mapping[str, Any]) -> None:
        first, second = group["betas"]
        lr, decay, step = group["lr"], group["weight_decay"], int(kept["step"])
        how = (
            lr / (1 - first**step),
            0.0 if self.decoupled else decay,
            1 - first,
            second,
            1 - second,
            group["eps"],
            (1 - second**step) ** 0.5,
            1 - lr * decay if self.decoupled else 1.0,
        )
        run(optimizer_step.adam, w, g, kept["mean"], kept["square"], how=how)


class AdamW(Adam):
    """`Adam` with decoupled weight decay: weights shrink by ``lr * weight_decay`` per step."""

    decoupled = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)
