"""LeNet-5: two convolutions, three linear layers, 61,706 parameters.

Reference: LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 86,
1998, section II.B. As usual today, the second convolution is connected to all six maps.
"""

from __future__ import annotations

import numpy as np

from nets.autograd.ops.activation import relu, sigmoid, tanh
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import AvgPool2d, Conv2d, Linear, MaxPool2d, Module, Parameter
from vj.errors import NetError

FUNCTIONS = {"tanh": tanh, "relu": relu, "sigmoid": sigmoid}
POOLS = {"average": AvgPool2d, "max": MaxPool2d}


class LeNet5(Module):
    """LeNet-5 for small images.

    Parameters
    ----------
    num_classes, in_channels : int
    activation : "tanh", "relu" or "sigmoid"
        The paper uses tanh; ReLU is usual today.
    pooling : "average" or "max"
        The paper uses average pooling.
    gaussian : bool
        If True, the last layer is the paper's RBF layer (`Gaussian`).
    size : (rows, cols)
        Size of the images, at least 16 each.
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        activation: str = "tanh",
        pooling: str = "average",
        gaussian: bool = False,
        size: tuple[int, int] = (32, 32),
    ) -> None:
        if activation not in FUNCTIONS or pooling not in POOLS or min(size) < 16:
            raise NetError(
                f"LeNet5: `activation` is one of {', '.join(FUNCTIONS)}, `pooling` one of "
                f"{', '.join(POOLS)}, `size` at least 16: got {activation}, {pooling}, {size}"
            )
        rows, cols = (((n - 4) // 2 - 4) // 2 for n in size)
        self.conv1 = Conv2d(in_channels, 6, 5)
        self.conv2 = Conv2d(6, 16, 5)
        self.fc1 = Linear(16 * rows * cols, 120)
        self.fc2 = Linear(120, 84)
        self.fc3 = (Gaussian if gaussian else Linear)(84, num_classes)
        self.pool = POOLS[pooling](2)
        self._activate = FUNCTIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, rows, cols)."""
        x = self.pool(self._activate(self.conv1(x)))
        x = self.pool(self._activate(self.conv2(x)))
        x = x.reshape(len(x), -1)
        x = self._activate(self.fc1(x))
        x = self._activate(self.fc2(x))
        return self.fc3(x)


class Gaussian(Module):
    """RBF layer: minus half the squared distance of a vector to a prototype of each class.

    This is the log of a Gaussian around the prototype. The paper's prototypes are drawings of the
    characters in -1 and 1; these start as random signs and are trained.

    Attributes
    ----------
    weight : (out_features, in_features)
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        signs = np.sign(init.uniform((out_features, in_features), 1.0))
        self.weight = Parameter(signs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features) for an input (N, in_features)."""
        apart = x.reshape(len(x), 1, -1) - self.weight
        return (apart * apart).sum(2) * -0.5
