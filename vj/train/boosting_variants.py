"""The four flavours of AdaBoost: what a tree is fitted to, and what its leaves say.

Friedman, Hastie & Tibshirani, "Additive logistic regression: a statistical view of boosting",
Annals of Statistics 28(2), 2000: algorithms 1 (Discrete), 2 (Real), 3 (LogitBoost), 4 (Gentle).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError

Array = NDArray[np.float64]
FLAVOURS = ("gentle", "real", "discrete", "logit")
_OPENCV = {"GAB": "gentle", "RAB": "real", "DAB": "discrete", "LB": "logit"}
_Z_MAX = 10.0
_P_MIN = 1e-5


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of `FLAVOURS`; opencv_traincascade's names (GAB, RAB, DAB, LB) are understood too."""

    name: str = "gentle"

    def __post_init__(self) -> None:
        name = _OPENCV.get(self.name.upper(), self.name.lower())
        if name not in FLAVOURS:
            raise ParameterError(f"`boost` must be one of {', '.join(FLAVOURS)}, got {self.name!r}")
        object.__setattr__(self, "name", name)

    @property
    def opencv_name(self) -> str:
        """GAB, RAB, DAB or LB."""
        return {ours: theirs for theirs, ours in _OPENCV.items()}[self.name]

    @property
    def absolute(self) -> bool:
        """Splits minimise the number of errors instead of squared errors (or Gini impurity)."""
        return self.name == "discrete"

    @property
    def scale(self) -> float:
        """Integer units of the total weight: gradients of LogitBoost reach ten times a weight."""
        return 2.0**26 if self.name == "logit" else 2.0**30

    def targets(self, label: Array, score: Array, base: Array) -> tuple[Array, Array]:
        """Weights (their sum is 1) and gradients (weight times response) of samples.

        label : +1 or -1.  score : sum of the trees so far.  base : weights of the samples before
        any tree.
        """
        if self.name == "logit":
            p = 1 / (1 + np.exp(-2 * score))
            weight = base * np.maximum(p * (1 - p), 1e-10)
            response = np.clip(((label > 0) - p) / np.maximum(p * (1 - p), 1e-10), -_Z_MAX, _Z_MAX)
        else:
            margin = label * score
            weight = base * np.exp(margin.min() - margin)  # the factor only guards the exponent
            response = label
        weight = weight / weight.sum()
        return weight, weight * response

    def leaves(self, weight: Array, gradient: Array) -> NDArray[np.float32]:
        """Values of the leaves of one tree from the sums of weights and gradients in them."""
        mean = gradient / np.maximum(weight, 1e-300)
        if self.name == "real":
            p = np.clip((1 + mean) / 2, _P_MIN, 1 - _P_MIN)
            value = np.log(p / (1 - p)) / 2
        elif self.name == "discrete":
            error = np.clip((1 - np.abs(gradient).sum() / weight.sum()) / 2, _P_MIN, 0.5)
            value = np.where(gradient >= 0, 0.5, -0.5) * np.log((1 - error) / error)
        elif self.name == "logit":
            value = mean / 2
        else:
            value = mean
        return np.asarray(value, np.float32)
