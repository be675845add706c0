"""Recording of a forward pass as a list of ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nets.autograd.tensor import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded op: its arguments and results."""

    op: str
    inputs: tuple[Tensor, ...]
    options: dict[str, Any]
    outputs: tuple[Tensor, ...]

    def pair(self, option: str, default: int) -> list[int]:
        """Return an option as (rows, cols); the default applies to both."""
        return [int(n) for n in self.options.get(option, (default, default))]


@dataclass(slots=True)
class Recording:
    """All ops of a pass in order, with its inputs and outputs.

    Arrays are identified by identity: ``names`` has those of the model's state.
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
        """Return the dotted name of the layer whose parameters an op uses, or ""."""
        found = (self.names.get(id(tensor.data)) for tensor in call.inputs)
        return next((name.rpartition(".")[0] for name in found if name), "")
