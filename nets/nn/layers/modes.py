"""Switching a model between training and evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class ModuleLike(Protocol):
    """The part of `nets.nn.layers.module.Module` used here, which that file itself builds on."""

    training: bool

    def modules(self) -> Iterable[ModuleLike]:
        """Iterate over the module and all submodules."""

    def parameters(self) -> Iterable[Any]:
        """Iterate over all parameters."""

    def train(self) -> Any:
        """Set training mode on all submodules."""

    def eval(self) -> Any:
        """Set evaluation mode on all submodules."""

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by name."""

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""

    def __call__(self, *args: Any) -> Any:
        """Run the forward pass."""


def learning(model: ModuleLike) -> None:
    """Set training mode, but evaluation mode on submodules whose parameters are all frozen.

    Frozen batch normalisation thus keeps using its running mean and variance.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@contextmanager
def in_use(model: ModuleLike) -> Iterator[None]:
    """Context manager that sets evaluation mode and restores each layer's mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
