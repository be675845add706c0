"""Base class of layers and models: attributes define parameters, buffers and submodules.

A `Parameter` is trained, an array is a buffer saved with the parameters, a `Module` is a submodule,
and a numpy Generator is a source of randomness. Names that begin with an underscore are ignored.
Names, shapes and order are PyTorch's, so that state dicts of PyTorch models load.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.nn.layers.summary import Summary, summarise
from nets.nn.state import load_state, save_state
from vj.errors import NetError

T = TypeVar("T")
M = TypeVar("M", bound="Module")
Hook = Callable[..., Any]
OPTIONAL = "num_batches_tracked"  # missing from older state dicts, and not needed


class Parameter(Tensor):
    """Trainable float32 tensor; it stays a Parameter while it is frozen."""

    __slots__ = ()

    def __init__(self, data: ArrayLike) -> None:
        super().__init__(np.require(data, np.float32, ["C", "W", "O"]), requires_grad=True)


class Module:
    """Base class of layers and models: define ``forward`` and assign submodules to attributes.

    Attributes
    ----------
    training : bool
        If True, dropout is active and batch normalisation uses batch statistics.

    Examples
    --------
    >>> from nets.nn.layers import Linear, Module
    >>> from nets.autograd.ops.activation import relu
    >>> class Perceptron(Module):
    ...     def __init__(self):
    ...         self.hidden, self.out = Linear(4, 8), Linear(8, 2)
    ...
    ...     def forward(self, x):
    ...         return self.out(relu(self.hidden(x)))
    >>> [name for name, _ in Perceptron().named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training = True
    forward: Callable[..., Any]
    _hooks: tuple[Hook, ...] = ()

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run ``forward``, then the hooks."""
        result = self.forward(*args, **options)
        for hook in self._hooks:
            changed = hook(self, args, result)
            result = result if changed is None else changed
        return result

    # ------------------------------------------------------------------ parts

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Iterate over the direct submodules with their names."""
        return self._own(Module)

    def children(self) -> Iterator[Module]:
        """Iterate over the direct submodules."""
        return (part for _, part in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Iterate over all submodules by dotted name, each once, itself ("") first."""
        return _once(self._tree(""))

    def modules(self) -> Iterator[Module]:
        """Iterate over the module and all submodules, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Iterate over all parameters by dotted name, each once."""
        return _once(self._all(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Iterate over all parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Iterate over all buffers by dotted name."""
        return _once(self._all(np.ndarray))

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """Iterate over the random generators of all submodules, to save their state."""
        return _once(self._all(np.random.Generator))

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(parameter.size for parameter in self.parameters())

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Array]:
        """Return parameters and buffers by name: the arrays themselves, not copies."""
        found = self._all((Parameter, np.ndarray))
        return {name: x.data if isinstance(x, Parameter) else x for name, x in found}

    def load_state_dict(
        self, state: Mapping[str, ArrayLike], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers.

        Parameters
        ----------
        state : dict of array_like
            A `state_dict` of this model, or of a PyTorch model with the same names.
        strict : bool
            If True, missing or unexpected names are an error.

        Returns
        -------
        (missing, unexpected) : lists of str
            Both empty if ``strict``.

        Raises
        ------
        NetError
            The state does not fit; every name is listed and nothing is changed.
        """
        own = self.state_dict()
        given = {name: np.asarray(value) for name, value in state.items()}
        missing = [n for n in own if n not in given and n.rpartition(".")[2] != OPTIONAL]
        unexpected = [n for n in given if n not in own]
        wrong = [
            f"{n} {given[n].shape} of {given[n].dtype} where {own[n].shape} is wanted"
            for n in own
            if n in given and (given[n].shape != own[n].shape or given[n].dtype.kind not in "fiub")
        ]
        problems = {"wrong": wrong}
        if strict:
            problems = {"missing": missing, "unexpected": unexpected, "wrong": wrong}
        if any(problems.values()):
            text = "; ".join(f"{what}: {', '.join(ns)}" for what, ns in problems.items() if ns)
            raise NetError(f"the state does not fit {type(self).__name__}: {text}")
        for name in own.keys() & given.keys():
            own[name][...] = given[name]
        return missing, unexpected

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        """Write the state to a safetensors file (see `nets.nn.state.save_state`)."""
        save_state(path, self.state_dict(), metadata)

    def load(self: M, path: str | os.PathLike[str], strict: bool = True) -> M:
        """Load the state from a safetensors file of this model or its PyTorch counterpart.

        Raises
        ------
        NetError
            The file is missing or damaged, or does not fit.
        """
        try:
            self.load_state_dict(load_state(path)[0], strict)
        except NetError as exc:
            raise exc if str(exc).startswith(str(path)) else NetError(f"{path}: {exc}") from exc
        return self

    # ------------------------------------------------------------------ actions

    def train(self: M, mode: bool = True) -> M:
        """Set training mode on all submodules."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Set evaluation mode on all submodules."""
        return self.train(False)

    def requires_grad_(self: M, flag: bool = True) -> M:
        """Unfreeze or freeze all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad = flag
        return self

    def zero_grad(self) -> None:
        """Reset all gradients to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call a function on every submodule, then on this module."""
        for part in self.children():
            part.apply(function)
        function(self)
        return self

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(module, inputs, result)`` after every pass; it may return a new result.

        Returns
        -------
        callable
            Removes the hook.
        """
        self._hooks = (*self._hooks, hook)

        def remove() -> None:
            self._hooks = tuple(h for h in self._hooks if h is not hook)

        return remove

    def summary(self, size: tuple[int, int] | None = None, *, example: Any = None) -> Summary:
        """Return a table of the ops run on one input: shapes, parameters, MACs, receptive field.

        Parameters
        ----------
        size : (rows, cols), optional
            Of the image; not needed by models that do not take images.
        example : array, optional
            An input, needed if the first layer does not determine the input shape.

        Returns
        -------
        Summary
            Rows and totals; ``print`` shows the table.
        """
        return summarise(self, self.example(size) if example is None else example)

    def example(self, size: tuple[int, int] | None = None, batch: int = 1) -> Array:
        """Return an input of noise (zeros for symbols) with the shape the first layer expects.

        Raises
        ------
        NetError
            No layer determines the shape, or it takes images and ``size`` is missing.
        """
        for module in self.modules():
            shape = module.input_shape(size, batch)
            if shape is not None and module.input_dtype == np.float32:
                return np.random.default_rng(0).standard_normal(shape, np.float32)
            if shape is not None:
                return np.zeros(shape, module.input_dtype)
        raise NetError(f"{type(self).__name__}: no layer determines the input shape")

    input_dtype: Any = np.float32

    def input_shape(self, size: tuple[int, int] | None, batch: int) -> tuple[int, ...] | None:
        """Return the input shape, or None if this module does not determine it."""
        return None

    # ------------------------------------------------------------------ traversal

    def _own(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        for name, value in vars(self).items():
            if isinstance(value, kind) and not name.startswith("_"):
                yield name, value

    def _tree(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, part in self.named_children():
            yield from part._tree(f"{prefix}.{name}" if prefix else name)

    def _all(self, kind: Any) -> Iterator[tuple[str, Any]]:
        for path, module in self._tree(""):
            for name, value in module._own(kind):
                yield f"{path}.{name}" if path else name, value

    def __repr__(self) -> str:
        lines = [
            f"({name}): {part!r}".replace("\n", "\n  ") for name, part in self.named_children()
        ]
        if lines:
            return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"
        plain = (bool, int, float, str, tuple)
        shown = [f"{n}={v!r}" for n, v in self._own(object) if isinstance(v, plain)]
        return f"{type(self).__name__}({', '.join(s for s in shown if s[:9] != 'training=')})"


def _once(found: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    seen: set[int] = set()
    for name, value in found:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
