"""Base class of the optimisers: parameter groups, per-parameter state, saving and loading it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from vj.errors import NetError

Named = tuple[str, Tensor]
Parameters = Iterable[Tensor | Named | Mapping[str, Any]]


class Optimiser:
    """Base class of the optimisers.

    Parameters
    ----------
    parameters : iterable of Tensor, of (name, Tensor), or of groups
        A group is a dict with such an iterable under "params", and options that differ from the
        ones given to the optimiser: ``{"params": backbone.named_parameters(), "lr": 1e-4}``.
    lr : float
        Learning rate.

    Attributes
    ----------
    groups : list of dict
        "params", a list of (name, Tensor), and the options. Schedules set "lr" here.
    state : dict
        For each parameter name, the arrays the method keeps and "step".

    Raises
    ------
    NetError
        There are no parameters, one is given twice, or an option is out of range.
    """

    def __init__(self, parameters: Parameters, lr: float, **options: Any) -> None:
        self.groups: list[dict[str, Any]] = []
        self.state: dict[str, dict[str, Array]] = {}
        entries = list(parameters)
        split = bool(entries) and all(isinstance(entry, Mapping) for entry in entries)
        groups: Sequence[Any] = entries if split else [{"params": entries}]
        seen: set[int] = set()
        names: set[str] = set()
        for group in groups:
            unknown = set(group) - {"params", "lr", *options}
            if unknown:
                raise NetError(f"{self._name}: a group has no option {sorted(unknown)[0]!r}")
            named = [_named(p, len(names) + k) for k, p in enumerate(group.get("params", ()))]
            for name, tensor in named:
                if id(tensor) in seen or name in names:
                    raise NetError(f"{self._name}: parameter `{name}` is given twice")
                seen.add(id(tensor))
                names.add(name)
            self.groups.append({"lr": lr, **options, **group, "params": named})
            self._check(self.groups[-1])
        if not seen:
            raise NetError(f"{self._name}: there are no parameters to optimise")

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        options = {k: v for k, v in self.groups[0].items() if k != "params"}
        return f"{self._name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"

    @property
    def rate(self) -> float:
        """Current learning rate of the first group."""
        return float(self.groups[0]["lr"])

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise if an option is out of range."""
        for key, value in group.items():
            if key in ("lr", "weight_decay", "momentum", "eps") and not value >= 0:
                raise NetError(f"{self._name}: `{key}` must not be negative, got {value}")

    def _memory(self, group: Mapping[str, Any]) -> dict[str, float]:
        """Names and initial values of the arrays kept for each parameter."""
        raise NotImplementedError

    def _move(self, w: Array, g: Array, kept: dict[str, Array], group: Mapping[str, Any]) -> None:
        """Change the flat weights ``w`` in place; ``kept["step"]`` counts from 1."""
        raise NotImplementedError

    def step(self) -> None:
        """Update every parameter that requires a gradient.

        Raises
        ------
        NetError
            A gradient is missing; nothing is changed.
        """
        moving = [
            (name, tensor, group)
            for group in self.groups
            for name, tensor in group["params"]
            if tensor.requires_grad
        ]
        for name, tensor, _ in moving:
            if tensor.grad is None:
                raise NetError(
                    f"{self._name}: parameter `{name}` has no gradient: the loss does not depend "
                    "on it, or `backward` was not called; set its `requires_grad` to False to "
                    "leave it as it is"
                )
            if tensor.dtype != np.float32:
                raise NetError(f"{self._name}: parameter `{name}` is {tensor.dtype}, not float32")
        for name, tensor, group in moving:
            kept = self.state.get(name)
            if kept is None:
                kept = {k: np.full(tensor.shape, v, np.float32)
                        for k, v in self._memory(group).items()}  # fmt: skip
                self.state[name] = kept = {"step": np.zeros((), np.int64), **kept}
            kept["step"] += 1
            if not (tensor.data.flags.c_contiguous and tensor.data.flags.writeable):
                tensor.data = np.array(tensor.data, order="C")
            g = np.ascontiguousarray(tensor.grad, np.float32).reshape(-1)
            self._move(tensor.data.reshape(-1), g, kept, group)

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        for group in self.groups:
            for _, tensor in group["params"]:
                tensor.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of everything needed to resume bit for bit.

        Returns
        -------
        dict
            "groups": the options and parameter names, JSON-serialisable; "state": the arrays by
            parameter name and array name.
        """
        groups = [
            {**group, "params": [name for name, _ in group["params"]]} for group in self.groups
        ]
        state = {n: {k: a.copy() for k, a in kept.items()} for n, kept in self.state.items()}
        return {"groups": groups, "state": state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`.

        Raises
        ------
        NetError
            It does not match the parameters; the message names one.
        """
        groups, state = saved["groups"], saved["state"]
        ours = [[name for name, _ in group["params"]] for group in self.groups]
        theirs = [list(group["params"]) for group in groups]
        if ours != theirs:
            odd = {n for g in ours for n in g} ^ {n for g in theirs for n in g}
            what = f"`{min(odd)}` is in one of the two only" if odd else "groups or order differ"
            raise NetError(f"{self._name}: the saved state does not match the parameters: {what}")
        shapes = {name: t.shape for group in self.groups for name, t in group["params"]}
        for name, kept in state.items():
            for key, array in kept.items():
                if key != "step" and np.shape(array) != shapes[name]:
                    raise NetError(
                        f"{self._name}: saved {key} of `{name}` has shape {np.shape(array)}, the "
                        f"parameter {shapes[name]}"
                    )
        for group, other in zip(self.groups, groups, strict=True):
            group.update({k: v for k, v in other.items() if k != "params"})
        self.state = {n: {k: np.array(a) for k, a in kept.items()} for n, kept in state.items()}


def _named(entry: Tensor | Named, number: int) -> Named:
    if isinstance(entry, Tensor):
        return f"parameter {number}", entry
    name, tensor = entry
    return name, tensor
