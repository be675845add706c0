"""The tape: the recorded graph of ops, and backpropagation through it.

Every result of an op points to its `Source`, which holds the arguments of the op and its vjp. The
sources form a graph whose leaves are inputs and parameters. `walk` visits the ops in reverse order,
calls each vjp for the gradients of its arguments, and sums them where a tensor was used more than
once. Shared weights, residual branches and recurrence need nothing else.

Reference: Griewank & Walther, Evaluating Derivatives, 2008, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from nets.arrays import Array
from vj.errors import NetError

Needs = tuple[bool, ...]
Grads = tuple[Array | None, ...]
Vjp = Callable[[Any, Needs], Grads]


class Variable(Protocol):
    """The part of a tensor that the tape uses."""

    grad: Array | None
    requires_grad: bool
    source: Source | None
    index: int  # index among the results of the source

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""


class Source:
    """A computed op: its arguments and its vjp.

    Attributes
    ----------
    name : str
    inputs : tuple of tensors
    needs : tuple of bool
        Which inputs need a gradient.
    shapes : tuple of shapes
        Shapes of the results.
    vjp : callable or None
        None once the backward pass has used it.
    """

    __slots__ = ("inputs", "name", "needs", "shapes", "vjp")

    def __init__(
        self, name: str, inputs: tuple[Variable, ...], vjp: Vjp, shapes: tuple[tuple[int, ...], ...]
    ) -> None:
        self.name, self.inputs, self.shapes = name, inputs, shapes
        self.vjp: Vjp | None = vjp
        self.needs = tuple(t.requires_grad for t in inputs)

    def back(self, grads: list[Array | None]) -> Grads:
        """Return the gradients of the arguments, and release what the op kept for them."""
        if self.vjp is None:
            raise NetError(
                f"backward: the graph of `{self.name}` has already been released: run the "
                "forward pass again"
            )
        given: Any = tuple(grads) if len(grads) > 1 else grads[0]
        found = self.vjp(given, self.needs)
        self.vjp = None
        return found


def walk(end: Variable, start: Array) -> None:
    """Backpropagate from ``end``, whose gradient is ``start``, in reverse topological order.

    Gradients of leaves are added to their ``grad``; arrays kept for the backward pass are released.

    Raises
    ------
    NetError
        The backward pass has already run, or a vjp returned no gradient or a wrong shape.
    """
    waiting: dict[int, list[Array | None]] = {}
    own: set[int] = set()  # sums allocated here, safe to write into
    assert end.source is not None
    order = _order(end.source)
    waiting[id(end.source)] = [None] * len(end.source.shapes)
    waiting[id(end.source)][end.index] = start
    for source in order:
        grads = source.back(waiting.pop(id(source)))
        for tensor, grad, needed in zip(source.inputs, grads, source.needs, strict=True):
            if not needed:
                continue
            if grad is None:
                raise NetError(f"backward: `{source.name}` returned no gradient for an input")
            if grad.shape != tensor.shape:
                raise NetError(
                    f"backward: `{source.name}` returned a gradient of shape {grad.shape} for an "
                    f"input of shape {tensor.shape}"
                )
            if tensor.source is None:
                tensor.grad = grad if tensor.grad is None else tensor.grad + grad
                continue
            slots = waiting.setdefault(id(tensor.source), [None] * len(tensor.source.shapes))
            slots[tensor.index] = _plus(slots[tensor.index], grad, own)
        source.inputs = ()


def _plus(total: Array | None, grad: Array, own: set[int]) -> Array:
    """Accumulate, without writing into arrays that may be shared."""
    if total is None:
        return grad
    if id(total) in own:
        total += grad
        return total
    total = total + grad
    own.add(id(total))
    return total


def _order(end: Source) -> list[Source]:
    """Return all ops that ``end`` depends on, users first; iterative: recurrent graphs are deep."""
    done: list[Source] = []
    seen: set[int] = set()
    stack = [(end, False)]
    while stack:
        source, expanded = stack.pop()
        if expanded:
            done.append(source)
        elif id(source) not in seen:
            seen.add(id(source))
            stack.append((source, True))
            for tensor in source.inputs:
                if tensor.source is not None and tensor.requires_grad:
                    stack.append((tensor.source, False))
    return done[::-1]
