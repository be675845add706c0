"""Activation functions and dropout."""

from __future__ import annotations

import numpy as np

from nets.autograd.ops import activation
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.pairs import count, share


class ReLU(Module):
    """max(x, 0). The result is always a new array: ``inplace`` is accepted and ignored."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.relu(x)


class ReLU6(Module):
    """min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.relu6(x)


class LeakyReLU(Module):
    """x above 0 and negative_slope x below."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.leaky_relu(x, slope=self.negative_slope)


class PReLU(Module):
    """Leaky ReLU with a trained slope, shared by all channels or one for each.

    References
    ----------
    He et al., Delving deep into rectifiers, ICCV 2015.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        shape = (count("num_parameters", num_parameters),)
        self.weight = Parameter(np.full(shape, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.prelu(x, self.weight)


class Hardswish(Module):
    """x min(max(x + 3, 0), 6) / 6."""

    def __init__(self, inplace: bool = False) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.hardswish(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.tanh(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.softplus(x)


class Softmax(Module):
    """exp(x) over its sum along an axis. ``dim`` is required."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.softmax(x, axis=self.dim)


class LogSoftmax(Module):
    """The logarithm of `Softmax`, numerically stable."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        return activation.log_softmax(x, axis=self.dim)


class Maxout(Module):
    """Maximum over each group of ``pieces`` neighbouring channels.

    References
    ----------
    Goodfellow et al., Maxout networks, ICML 2013.
    """

    def __init__(self, pieces: int, dim: int = 1) -> None:
        self.pieces, self.dim = count("pieces", pieces), dim

    def forward(self, x: Tensor) -> Tensor:
        """Return ``pieces`` times fewer channels."""
        return activation.maxout(x, pieces=self.pieces, axis=self.dim)


class Dropout(Module):
    """Zero elements with probability p during training, and scale up the rest.

    Each layer has its own generator, spawned from the one that draws initial weights: its masks
    depend on the seed and on the layers created before it, not on what other layers draw.

    References
    ----------
    Srivastava et al., Dropout, JMLR 15, 2014.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        self.p = share("p", p)
        self.generator = init.child()

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape."""
        if not self.training or self.p == 0:
            return x
        return activation.dropout(x, p=self.p, rng=self.generator)
