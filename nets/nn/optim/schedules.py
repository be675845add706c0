"""Learning rates that change with time, each a formula of the number of steps taken.

All begin with a linear warm-up of ``warm_up`` steps if wanted; the formula starts after it.

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
    """Sets the learning rate of every group to its first value times `factor`.

    Parameters
    ----------
    optimiser : Optimiser
        Its present rates are the ones that are multiplied.
    warm_up : int
        Steps in which the rate climbs to its first value: step t of them has the share
        ``(t + 1) / (warm_up + 1)`` of it.
    """

    def __init__(self, optimiser: Optimiser, *, warm_up: int = 0) -> None:
        if warm_up < 0:
            raise NetError(f"{type(self).__name__}: `warm_up` must not be negative, got {warm_up}")
        self.optimiser, self.warm_up, self.count = optimiser, warm_up, 0
        self.base = [float(group["lr"]) for group in optimiser.groups]
        self._apply()

    def factor(self, count: int) -> float:
        """Share of the first rate after ``count`` steps (those of the warm-up not counted)."""
        raise NotImplementedError

    def rate(self, base: float, count: int) -> float:
        """Learning rate after ``count`` steps of a group that began with ``base``."""
        if count < self.warm_up:
            return base * (count + 1) / (self.warm_up + 1)
        return base * self.factor(count - self.warm_up)

    def step(self) -> None:
        """Go on by one step (or epoch, whichever the numbers given mean)."""
        self.count += 1
        self._apply()

    def _apply(self) -> None:
        for group, base in zip(self.optimiser.groups, self.base, strict=True):
            group["lr"] = self.rate(base, self.count)

    def state_dict(self) -> dict[str, Any]:
        """How far it is, for JSON."""
        return {"count": self.count, "base": list(self.base)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.count, self.base = int(saved["count"]), [float(b) for b in saved["base"]]
        self._apply()


class Constant(Schedule):
    """Always the same rate (after the warm-up)."""

    def factor(self, count: int) -> float:
        """1."""
        return 1.0


class Step(Schedule):
    """The rate times ``gamma`` every ``step_size`` steps."""

    def __init__(
        self, optimiser: Optimiser, step_size: int, *, gamma: float = 0.1, warm_up: int = 0
    ) -> None:
        if step_size < 1:
            raise NetError(f"Step: `step_size` must be at least 1, got {step_size}")
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """A power of gamma."""
        return float(self.gamma ** (count // self.step_size))


class MultiStep(Schedule):
    """The rate times ``gamma`` at each of the steps ``milestones``."""

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
        """A power of gamma."""
        return float(self.gamma ** bisect.bisect_right(self.milestones, count))


class Exponential(Schedule):
    """The rate times ``gamma`` at every step."""

    def __init__(self, optimiser: Optimiser, gamma: float, *, warm_up: int = 0) -> None:
        self.gamma = gamma
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """A power of gamma."""
        return float(self.gamma**count)


class Cosine(Schedule):
    """Half a wave from the first rate down to ``floor`` times it in ``steps`` steps.

    Steps of the warm-up are not among them; afterwards the rate stays.
    """

    def __init__(
        self, optimiser: Optimiser, steps: int, *, floor: float = 0.0, warm_up: int = 0
    ) -> None:
        if steps < 1:
            raise NetError(f"Cosine: `steps` must be at least 1, got {steps}")
        self.steps, self.floor = steps, floor
        super().__init__(optimiser, warm_up=warm_up)

    def factor(self, count: int) -> float:
        """From 1 to ``floor``."""
        return _glide(1.0, self.floor, min(1.0, count / self.steps))


class Trapezoid(Schedule):
    """The first rate for long, then straight down to ``floor`` times it (warm-up, stable, decay).

    However long the middle becomes, the way down needs about a tenth of it: a training can be
    finished at any time, and one that was not finished goes on.

    Parameters
    ----------
    optimiser : Optimiser
    steps : int
        At the first rate, those of the warm-up not counted.
    decay : int
        Steps of the way down; afterwards the rate stays.
    floor : float
        Share of the first rate at its end.
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
        """1, then linearly to ``floor``."""
        share = min(max((count - self.steps) / self.decay, 0.0), 1.0)
        return 1 + (self.floor - 1) * share


class OneCycle(Schedule):
    """Up from ``1 / div`` to the whole rate, then down to almost nothing, along half waves.

    Parameters
    ----------
    optimiser : Optimiser
        With the highest rate that shall be reached.
    steps : int
        Length of the whole; afterwards the rate stays.
    rise : float
        Share of it that goes up.
    div, final_div : float
        The first rate is the highest one over ``div``, the last one the first over ``final_div``.
    warm_up : int
        Steps before it.
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
        """From ``1 / div`` to 1 to ``1 / (div * final_div)``."""
        top = self.rise * self.steps - 1
        if count <= top:
            return _glide(1 / self.div, 1.0, count / top)
        share = min(1.0, (count - top) / (self.steps - 1 - top))
        return _glide(1.0, 1 / (self.div * self.final_div), share)


class Plateau(Schedule):
    """The rate times ``gamma`` when what is measured has not got better for a while.

    Parameters
    ----------
    optimiser : Optimiser
    mode : "min" or "max"
        Whether lower or higher is better.
    gamma : float
    patience : int
        Measurements without progress that are put up with.
    threshold : float
        Share of the best one by which another must be better to count.
    cooldown : int
        Measurements after a change that do not count.
    floor : float
        Share of the first rate that it never goes below.
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
        """What the measurements so far have made of it."""
        return self.share

    def step(self, measure: float | None = None) -> None:
        """Go on, taking note of a measurement if there is one; NaN is no progress."""
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
        """How far it is, for JSON."""
        own = {key: getattr(self, key) for key in ("best", "bad", "resting", "share")}
        return {**super().state_dict(), **own}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        for key in ("best", "bad", "resting", "share"):
            setattr(self, key, saved[key])
        super().load_state_dict(saved)


def _glide(start: float, end: float, share: float) -> float:
    """Along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
