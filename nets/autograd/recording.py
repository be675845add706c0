"""A forward pass as a list of ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nets.autograd.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """One op: its arguments and its results."""

    op: str
    inputs: tuple[Tensor, ...]
    options: dict[str, Any]
    outputs: tuple[Tensor, ...]

    def pair(self, option: str, default: int) -> list[int]:
        """The option for (rows, cols), which defaults to the same number for both."""
        return [int(n) for n in self.options.get(option, (default, default))]


@dataclass(slots=True)
class Recording:
    """All ops of a pass in order, between its inputs and its outputs.

    Arrays are known by their identity: ``names`` has those of the model's state.
    """

    inputs: tuple[Tensor | Any, ...]
    names: dict[int, str]
    calls: list[Call] = field(default_factory=list)
    outputs: dict[str, Tensor] = field(default_factory=dict)

    def record(
        self,
        name: str,
        inputs: Sequence[Tensor],
        options: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> None:
        """Append one op."""
        self.calls.append(Call(name, tuple(inputs), options, tuple(outputs)))

    def layer(self, call: Call) -> str:
        """The dotted name of the layer whose parameters an op uses; empty if it uses none."""
        found = (self.names.get(id(tensor.data)) for tensor in call.inputs)
        return next((name.rpartition(".")[0] for name in found if name), "")
