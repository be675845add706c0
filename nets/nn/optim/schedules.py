"""Learning rate schedules, each a closed formula of the step count.

All start with an optional linear warm-up of ``warm_up`` steps; the formula applies after it.

References: Goyal et al., Accurate, large minibatch SGD, 2017 (warm-up); Loshchilov & Hutter, SGDR,
ICLR 2017 (cosine); Smith & Topin, Super-convergence, 2018 (one cycle).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nets.nn.optim.optimiser import Optimiser
from vj.errors import NetError


class Schedule:
    """Sets the learning rate of every group to its initial value times `factor`.

    Parameters
    ----------
    optimiser : Optimiser
        Its current learning rates are the initial values.
    warm_up : int
        Steps of linear warm-up: step t has ``(t + 1) / (warm_up + 1)`` of the initial learning
        rate.
    """

    def __init__(self, optimiser: Optimiser, *, warm_up: int = 0) -> None:
        if warm_up < 0:
            raise NetError(f"{type(self).__name__}: `warm_up` must not be negative, got {warm_up}")
        self.optimiser, self.warm_up, self.count = optimiser, warm_up, 0
        self.base = [float(group["lr"]) for group in optimiser.groups]
        self._apply()

    def factor(self, count: int) -> float:
        """Return the factor on the initial learning rate after ``count`` steps past the warm-up."""
        raise NotImplementedError

    def rate(self, base: float, count: int) -> float:
        """Return the learning rate after ``count`` steps of a group that starts at ``base``."""
        if count < self.warm_up:
            return base * (count + 1) / (self.warm_up + 1)
        return base * self.factor(count - self.warm_up)

    def step(self) -> None:
        """Advance by one step (or epoch, if the schedule counts epochs)."""
        self.count += 1
        self._apply()

    def _apply(self) -> None:
        for group, base in zip(self.optimiser.groups, self.base, strict=True):
            group["lr"] = self.rate(base, self.count)

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule, JSON-serialisable."""
        return {"count": self.count, "base": list(self.base)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`."""
        self.count, self.base = int(saved["count"]), [float(b) for b in saved["base"]]
        self._apply()


class Constant(Schedule):
    """Constant learning rate after the warm-up."""

    def factor(self, count: int) -> float:
        """Return 1."""
        return 1.0


class Step(Schedule):
    """Multiply the learning rate by ``gamma`` every ``step_size`` steps."""

    def __init__(
        self, optimiser: Optimiser, step_size: int, *, gamma: float = 0.1, warm_up: int = 0
    ) -> None:
        if step_size < 1:
            raise NetError(f"Step: `step_size` must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return a power of ``gamma``."""
        return float(self.gamma ** (count // self.step_size))


class MultiStep(Schedule):
    """Multiply the learning rate by ``gamma`` at each of the steps in ``milestones``."""

    def __init__(
        self,
        optimiser: Optimiser,
        milestones: Sequence[int],
        *,
        gamma: float = 0.1,
        warm_up: int = 0,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return a power of ``gamma``."""
        return float(self.gamma ** bisect.bisect_right(self.milestones, count))


class Exponential(Schedule):
    """Multiply the learning rate by ``gamma`` at every step."""

    def __init__(self, optimiser: Optimiser, gamma: float, *, warm_up: int = 0) -> None:
        self.gamma = gamma
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return a power of ``gamma``."""
        return float(self.gamma**count)


class Cosine(Schedule):
    """Cosine decay from the initial learning rate to ``floor`` times it over ``steps`` steps.

    Warm-up steps do not count towards ``steps``; afterwards the learning rate is constant.
    """

    def __init__(
        self, optimiser: Optimiser, steps: int, *, floor: float = 0.0, warm_up: int = 0
    ) -> None:
        if steps < 1:
            raise NetError(f"Cosine: `steps` must be at least 1, got {steps}")
        self.steps, self.floor = steps, floor
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return a factor that falls from 1 to ``floor``."""
        return _cosine(1.0, self.floor, min(1.0, count / self.steps))


class Trapezoid(Schedule):
    """Warm-up, constant learning rate, then linear decay to ``floor`` times it (WSD).

    The decay needs about a tenth of the constant phase, whatever its length: training can be
    finished at any time, or continued from before the decay.

    Parameters
    ----------
    optimiser : Optimiser
    steps : int
        Length of the constant phase, without the warm-up.
    decay : int
        Length of the linear decay; afterwards the learning rate is constant.
    floor : float
        Final factor on the initial learning rate.
    warm_up : int

    References
    ----------
    Haegele et al., Scaling laws and compute-optimal training beyond fixed training durations,
    NeurIPS 2024.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        steps: int,
        decay: int,
        *,
        floor: float = 0.0,
        warm_up: int = 0,
    ) -> None:
        if steps < 0 or decay < 1:
            raise NetError(
                f"Trapezoid: wants `steps` of at least 0 and `decay` of at least 1, got {steps} "
                f"and {decay}"
            )
        self.steps, self.decay, self.floor = steps, decay, floor
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return 1, then a linear decay to ``floor``."""
        share = min(max((count - self.steps) / self.decay, 0.0), 1.0)
        return 1 + (self.floor - 1) * share


class OneCycle(Schedule):
    """One-cycle policy: cosine rise from ``1 / div`` of the peak, then cosine decay to almost 0.

    Parameters
    ----------
    optimiser : Optimiser
        Its current learning rates are the peak values.
    steps : int
        Length of the cycle; afterwards the learning rate is constant.
    rise : float
        Fraction of the cycle that rises.
    div, final_div : float
        The cycle starts at the peak over ``div`` and ends at that start over ``final_div``.
    warm_up : int
        Steps of linear warm-up before the cycle.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        steps: int,
        *,
        rise: float = 0.3,
        div: float = 25.0,
        final_div: float = 1e4,
        warm_up: int = 0,
    ) -> None:
        if steps < 2 or not 0 < rise < 1:
            raise NetError(
                f"OneCycle: wants `steps` of at least 2 and `rise` between 0 and 1, got {steps} "
                f"and {rise}"
            )
        self.steps, self.rise, self.div, self.final_div = steps, rise, div, final_div
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """Return the factor: ``1 / div`` to 1, then to ``1 / (div * final_div)``."""
        top = self.rise * self.steps - 1
        if count <= top:
            return _cosine(1 / self.div, 1.0, count / top)
        share = min(1.0, (count - top) / (self.steps - 1 - top))
        return _cosine(1.0, 1 / (self.div * self.final_div), share)


class Plateau(Schedule):
    """Multiply the learning rate by ``gamma`` when a metric stops improving.

    Parameters
    ----------
    optimiser : Optimiser
    mode : "min" or "max"
        "min" if a lower metric is better, "max" if a higher one is.
    gamma : float
    patience : int
        Measurements without improvement that are tolerated.
    threshold : float
        Relative improvement on the best metric that counts as progress.
    cooldown : int
        Measurements ignored after each reduction.
    floor : float
        Lower bound on the factor on the initial learning rate.
    """

    def __init__(
        self,
        optimiser: Optimiser,
        *,
        mode: str = "min",
        gamma: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        floor: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise NetError(f'Plateau: `mode` must be "min" or "max", not {mode!r}')
        self.mode, self.gamma, self.patience = mode, gamma, patience
        self.threshold, self.cooldown, self.floor = threshold, cooldown, floor
        self.best, self.bad, self.resting, self.share = math.inf, 0, 0, 1.0
        if mode == "max":
            self.best = -math.inf
        super().__init__(optimiser)

    def factor(self, count: int) -> float:
        """Return the factor that the measurements so far have led to."""
        return self.share

    def step(self, measure: float | None = None) -> None:
        """Advance by one step, with a measurement if there is one; NaN is not an improvement."""
        if measure is not None:
            self._note(measure)
        super().step()

    def _note(self, measure: float) -> None:
        gain = self.threshold if self.mode == "max" else -self.threshold
        bar = self.best * (1 + gain) if math.isfinite(self.best) else self.best
        if measure > bar if self.mode == "max" else measure < bar:
            self.best, self.bad = measure, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting, self.bad = self.resting - 1, 0
        if self.bad > self.patience:
            self.share = max(self.share * self.gamma, self.floor)
            self.resting, self.bad = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule, JSON-serialisable."""
        own = {key: getattr(self, key) for key in ("best", "bad", "resting", "share")}
        return {**super().state_dict(), **own}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`."""
        for key in ("best", "bad", "resting", "share"):
            setattr(self, key, saved[key])
        super().load_state_dict(saved)


def _cosine(start: float, end: float, share: float) -> float:
    """Interpolate from ``start`` to ``end`` along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
