"""A truncated model: features of an earlier layer with a linear classifier on top."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nets.autograd.ops.pooling import adaptive_avg_pool2d
from nets.autograd.tensor import Tensor, no_grad
from nets.nn.layers.linear import Linear
from nets.nn.layers.modes import in_use
from nets.nn.layers.module import Module
from nets.training.evaluation import as_argument
from vj.errors import NetError


class Cut(Module):
    """A linear classifier on the features of an earlier layer of a frozen model.

    Maps are first pooled to ``grid`` x ``grid``, which keeps the classifier small.

    Parameters
    ----------
    body : Module
        Frozen here; it runs only up to ``layer``.
    layer : str
        Dotted name.
    classes : int
    example : array
        A batch of inputs.
    grid : int
    """

    def __init__(
        self, body: Module, layer: str, classes: int, example: Any, *, grid: int = 4
    ) -> None:
        self.body, self.layer, self.grid = body.requires_grad_(False), layer, grid
        with in_use(body):
            width = self.features(as_argument(np.asarray(example))).shape[1]
        self.head = Linear(width, classes)

    def features(self, x: Any) -> Tensor:
        """Return the features (N, width) of ``layer``."""
        with no_grad(), stopping_behind(self.body, self.layer):
            try:
                self.body(x)
            except _Reached as reached:
                found = reached.result
            else:
                raise NetError(f"the model did not call the layer {self.layer!r}")
        if found.ndim == 4 and min(found.shape[2:]) > self.grid:
            found = adaptive_avg_pool2d(found, size=(self.grid, self.grid))
        return found.reshape(len(found), -1)

    def forward(self, x: Any) -> Tensor:
        """Return logits (N, classes)."""
        return self.head(self.features(x))  # type: ignore[no-any-return]


class _Reached(Exception):
    """Raised to end a forward pass after the requested layer."""

    def __init__(self, result: Tensor) -> None:
        self.result = result


@contextmanager
def stopping_behind(model: Module, layer: str) -> Iterator[None]:
    """Context manager in which a forward pass raises `_Reached` after a layer."""
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        names = ", ".join(name for name in modules if name)
        raise NetError(f"no layer {layer!r}, there are {names}")

    def stop(module: Module, inputs: Any, result: Tensor) -> None:
        raise _Reached(result)

    remove = modules[layer].register_forward_hook(stop)
    try:
        yield
    finally:
        remove()
