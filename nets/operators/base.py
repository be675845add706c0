"""Operator definitions, and shape rules shared by many operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nets.graph.ir import Node
from nets.graph.spec import Spec
from vj.errors import NetError
from vj.limits import NET_WORKSPACE as WORKSPACE

FLOAT32 = np.dtype(np.float32)
INT64 = np.dtype(np.int64)


def need_workspace(*sizes: int) -> None:
    """Raise if a scratch array of so many float64 exceeds the limit."""
    total = 8
    for n in sizes:
        total *= n
    if total > WORKSPACE:
        limit = WORKSPACE / 1e9
        raise NetError(f"needs {total / 1e9:.3g} GB of workspace, the limit is {limit:.3g}")


Run = Callable[..., Any]
Infer = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Operator:
    """``run(node, *arrays)`` and ``infer(node, *specs)``; an absent optional input is None.

    ``least`` and ``most`` bound the number of inputs (None: any), ``kinds`` are the NumPy dtype
    kinds allowed for the first input, and ``view`` is True if outputs may be views of it.
    """

    run: Run
    infer: Infer
    least: int
    most: int | None
    kinds: str
    view: bool = False


OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str,
    infer: Infer,
    inputs: tuple[int, int | None] = (1, 1),
    kinds: str = "fiub",
    view: bool = False,
) -> Callable[[Run], Run]:
    """Register a function as operator ``names``.

    ``inputs`` are the least and the greatest number of inputs (None: any); ``kinds`` the NumPy
    dtype kinds that the first input may have; ``view`` as in `Operator`.
    """

    def register(run: Run) -> Run:
        for name in names:
            OPERATORS[name] = Operator(run, infer, *inputs, kinds, view)
        return run

    return register


# -------------------------------------------------------------------------- shape rules in common


def same(node: Node, x: Spec, *rest: Spec | None) -> Spec:
    """Return a spec of the first input's shape and dtype."""
    return Spec(x.dims, x.dtype)


def broadcast_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Broadcast shapes by NumPy's rule, without allocating an array."""
    rank = max(len(shape) for shape in shapes)
    out = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            raise NetError("shapes " + " and ".join(map(str, shapes)) + " do not broadcast")
        out.append(sizes.pop() if sizes else 1)
    return tuple(out)


def broadcast(node: Node, *specs: Spec) -> Spec:
    """Return the spec of inputs of equal dtype, broadcast together."""
    for spec in specs[1:]:
        if spec.dtype != specs[0].dtype and node.op != "Pow":
            raise NetError(f"inputs have dtypes {specs[0].dtype} and {spec.dtype}; cast one")
    return Spec(broadcast_shape([spec.dims for spec in specs]), specs[0].dtype)


def compare(node: Node, *specs: Spec) -> Spec:
    """Return the same as `broadcast`, with a boolean dtype."""
    return Spec(broadcast(node, *specs).shape, np.dtype(bool))


def axis_of(axis: Any, rank: int) -> int:
    """Normalise a possibly negative axis to 0 to rank - 1."""
    number = int(axis)
    if not -rank <= number < rank:
        raise NetError(f"axis {number} does not exist in {rank} dimensions")
    return number % rank


def axes_of(axes: Any, rank: int) -> tuple[int, ...]:
    """Normalise several distinct axes, sorted."""
    numbers = [axis_of(a, rank) for a in np.asarray(axes).ravel().tolist()]
    if len(set(numbers)) != len(numbers):
        raise NetError(f"axes {numbers} contain a duplicate")
    return tuple(sorted(numbers))


def as_ints(spec: Spec | None) -> list[int] | None:
    """Return a constant integer input as a list; None if the input is absent."""
    if spec is None:
        return None
    return [int(v) for v in spec.known.ravel().tolist()]


def need_rank(spec: Spec, least: int, most: int | None = None, what: str = "the input") -> None:
    """Raise if an input has another rank."""
    if spec.rank < least or (most is not None and spec.rank > most):
        wanted = str(least) if least == most else f"at least {least}"
        raise NetError(f"{what} must have {wanted} dimensions, got shape {spec.dims}")


def text(node: Node, name: str, default: str) -> str:
    """Return a string attribute."""
    value = node.get(name, default)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
