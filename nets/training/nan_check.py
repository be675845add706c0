"""Find the layer in which the first NaN or infinity appears."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.nn.layers.module import Module, Parameter


def is_finite(array: Array) -> bool:
    """Return True if all values are finite."""
    if array.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        total = array.sum()
    # The sum is fast, but may overflow although every value is finite.
    return bool(np.isfinite(total)) or bool(np.isfinite(array).all())


def bad_gradients(model: Module) -> list[str]:
    """Return the names of parameters whose gradient holds a NaN or infinity."""
    return [n for n, p in model.named_parameters() if p.grad is not None and not is_finite(p.grad)]


def explain(model: Module, inputs: Array, step: Callable[[], Any]) -> str:
    """Describe where the first non-finite value of a step appears.

    Parameters
    ----------
    model : Module
    inputs : array
        The batch of the step.
    step : callable
        Runs forward and backward pass again.
    """
    if not is_finite(inputs):
        rows = np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(1))
        return f"the input has them already, in sample {rows[0]} of the batch ({len(rows)} such)"
    for name, parameter in model.named_parameters():
        if not is_finite(parameter.data):
            return f"the weights `{name}` have them already"
    with _watching(model) as seen, contextlib.suppress(ArithmeticError), np.errstate(all="ignore"):
        step()
    for name, module, good in seen:
        if not good:
            place = f"layer `{name}` ({type(module).__name__})" if name else "the model's output"
            return f"the first appears in {place}"
    bad = set(bad_gradients(model))
    for name, module, _ in reversed(seen):
        for own, value in vars(module).items():
            full = f"{name}.{own}" if name else own
            if isinstance(value, Parameter) and full in bad:
                return f"every layer is finite; going back, the gradient of `{full}` is the first"
    return "every layer is finite: the first appears in the loss"


@contextlib.contextmanager
def _watching(model: Module) -> Iterator[list[tuple[str, Module, bool]]]:
    """Context manager that records, in order of completion, which layers' results are finite."""
    seen: list[tuple[str, Module, bool]] = []

    def hook(name: str) -> Callable[..., None]:
        def note(module: Module, inputs: Any, result: Any) -> None:
            seen.append((name, module, all(is_finite(t.data) for t in _tensors(result))))

        return note

    removers = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    try:
        yield seen
    finally:
        for remove in removers:
            remove()


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        for part in result.values():
            yield from _tensors(part)
    elif isinstance(result, list | tuple):
        for part in result:
            yield from _tensors(part)
