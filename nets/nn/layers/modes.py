"""A model in training mode, or for a while in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class ModuleLike(Protocol):
    """What is needed of a `nets.nn.layers.module.Module`, which builds on the users of this."""

    training: bool

    def modules(self) -> Iterable[ModuleLike]:
        """The module itself and all its parts."""

    def parameters(self) -> Iterable[Any]:
        """Of all its parts."""

    def train(self) -> Any:
        """Training mode for all its parts."""

    def eval(self) -> Any:
        """Evaluation mode for all its parts."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and buffers by name."""

    @property
    def n_parameters(self) -> int:
        """How many numbers are learnt."""

    def __call__(self, *args: Any) -> Any:
        """The forward pass."""


def learning(model: ModuleLike) -> None:
    """Training mode, except for parts whose parameters are all frozen: evaluation mode.

    So frozen batch normalisation keeps using its running mean and variance.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@contextmanager
def in_use(model: ModuleLike) -> Iterator[None]:
    """The model in evaluation mode; afterwards its layers are in the modes that they had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
