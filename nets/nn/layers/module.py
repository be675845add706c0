"""What every layer and every model is: an object whose attributes say what it is made of.

A `Parameter` is learnt, an array is a buffer that travels with the parameters, a `Module` is a part
with parameters of its own, a numpy Generator is where it takes its random numbers from. Names that
begin with an underscore stay out of it. Names, shapes and order are PyTorch's, so that the state
dict of a PyTorch model fits.
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
OPTIONAL = "num_batches_tracked"  # older state dicts are without it, and nothing hangs on it


class Parameter(Tensor):
    """A tensor that training changes, float32; it remains one while it is frozen."""

    __slots__ = ()

    def __init__(self, data: ArrayLike) -> None:
        super().__init__(np.require(data, np.float32, ["C", "W", "O"]), requires_grad=True)


class Module:
    """Base of layers and models: write ``forward``, put the parts into attributes.

    Attributes
    ----------
    training : bool
        Whether dropout drops and batch normalisation looks at the batch.

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
        """Run ``forward``, and then the hooks."""
        result = self.forward(*args, **options)
        for hook in self._hooks:
            changed = hook(self, args, result)
            result = result if changed is None else changed
        return result

    # ------------------------------------------------------------------ what it is made of

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct parts."""
        return self._own(Module)

    def children(self) -> Iterator[Module]:
        """The direct parts, without their names."""
        return (part for _, part in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """All parts by their dotted names, each once; the module itself first, its name empty."""
        return _once(self._tree(""))

    def modules(self) -> Iterator[Module]:
        """The module itself and all parts of it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters by their dotted names, each once."""
        return _once(self._all(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """All arrays that belong to the state but are not learnt, by their dotted names."""
        return _once(self._all(np.ndarray))

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """What all parts take their random numbers from, for whoever wants to save its state."""
        return _once(self._all(np.random.Generator))

    @property
    def n_parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.size for parameter in self.parameters())

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers by name: the arrays themselves, not copies."""
        found = self._all((Parameter, np.ndarray))
        return {name: x.data if isinstance(x, Parameter) else x for name, x in found}

    def load_state_dict(
        self, state: Mapping[str, ArrayLike], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy numbers into the parameters and buffers.

        Parameters
        ----------
        state : dict of array_like
            As `state_dict` gives it, of this model or of PyTorch's model of the same names.
        strict : bool
            Whether names that are missing or unexpected are an error.

        Returns
        -------
        (missing, unexpected) : lists of str
            Both empty where ``strict``.

        Raises
        ------
        NetError
            Something does not fit; each name is listed and nothing has been changed.
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
        """Read the state from a safetensors file, of this model or of PyTorch's.

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

    # ------------------------------------------------------------------ what can be done to it

    def train(self: M, mode: bool = True) -> M:
        """Prepare all parts for training."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Prepare all parts for use."""
        return self.train(False)

    def requires_grad_(self: M, flag: bool = True) -> M:
        """Let all parameters learn, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = flag
        return self

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call a function with every part, and with this module last."""
        for part in self.children():
            part.apply(function)
        function(self)
        return self

    def register_forward_hook(self, hook: Hook) -> Callable[[], None]:
        """Call ``hook(module, inputs, result)`` after every pass; what it returns replaces it.

        Returns
        -------
        callable
            Takes the hook away again.
        """
        self._hooks = (*self._hooks, hook)

        def remove() -> None:
            self._hooks = tuple(h for h in self._hooks if h is not hook)

        return remove

    def summary(self, size: tuple[int, int] | None = None, *, example: Any = None) -> Summary:
        """What happens to one input, as a table: shapes, parameters, MACs, receptive field.

        Parameters
        ----------
        size : (rows, cols), optional
            Of the image; models that take no images need none.
        example : array, optional
            An input, where the first layer does not tell what inputs look like.

        Returns
        -------
        Summary
            Its rows, their totals; ``print`` it for the table.
        """
        return summarise(self, self.example(size) if example is None else example)

    def example(self, size: tuple[int, int] | None = None, batch: int = 1) -> Array:
        """An input of noise (or of zeros, for symbols), as the first layer wants it.

        Raises
        ------
        NetError
            No layer tells, or it works on images and ``size`` is missing.
        """
        for module in self.modules():
            shape = module.input_shape(size, batch)
            if shape is not None and module.input_dtype == np.float32:
                return np.random.default_rng(0).standard_normal(shape, np.float32)
            if shape is not None:
                return np.zeros(shape, module.input_dtype)
        raise NetError(f"{type(self).__name__}: no layer tells what inputs look like")

    input_dtype: Any = np.float32

    def input_shape(self, size: tuple[int, int] | None, batch: int) -> tuple[int, ...] | None:
        """The shape of an input, where this module by itself determines it."""
        return None

    # ------------------------------------------------------------------ how it is looked through

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
