"""A model as it learns, and as it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nets.nn.layers.module import Module


def learning(model: Module) -> None:
    """Training mode, but for parts whose parameters are all frozen: these are as in use.

    So batch normalisation that is frozen goes on with the mean and variance it has learnt.
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


@contextmanager
def in_use(model: Module) -> Iterator[None]:
    """The model in evaluation mode, then in the modes that its layers had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
