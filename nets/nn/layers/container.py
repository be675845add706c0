"""Containers of modules."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from nets.nn.layers.activation import ReLU, ReLU6
from nets.nn.layers.module import Module
from nets.nn.layers.normalisation import BatchNorm2d
from vj.errors import NetError

FUSED: dict[type[Module], str] = {ReLU: "relu", ReLU6: "relu6"}


def fits(module: Module, behind: Module) -> bool:
    """Return True if two modules can be fused; a hook on either prevents it."""
    watched = module._hooks or behind._hooks
    return isinstance(module, BatchNorm2d) and type(behind) in FUSED and not watched


class ModuleList(Module):
    """Indexed list of modules, without a forward pass of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> None:
        """Append a module."""
        _check(self, module)
        setattr(self, str(len(self)), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Sequential(Module):
    """Modules run in sequence, numbered, or named by a mapping.

    Batch normalisation is fused with a ReLU or ReLU6 that follows it.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        for index, module in enumerate(modules):
            named = module if isinstance(module, Mapping) else {str(index): module}
            for name, part in named.items():
                _check(self, part)
                setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        """Run the modules in order, each on the output of the one before."""
        parts = deque(self.children())
        while parts:
            module = parts.popleft()
            if parts and fits(module, parts[0]):
                x = module(x, activation=FUSED[type(parts.popleft())])
            else:
                x = module(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    @overload
    def __getitem__(self, index: int) -> Module: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return list(self)[index]


def _check(where: Module, module: Any) -> None:
    if not isinstance(module, Module):
        raise NetError(f"{type(where).__name__} takes modules, got {module!r}")
