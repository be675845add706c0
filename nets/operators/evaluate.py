"""Evaluate single nodes: output specs and values. Errors name the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.spec import Spec, UnknownError
from nets.operators.base import OPERATORS, Operator
from vj.errors import NetError
from vj.records import brief

# Exceptions that NumPy and Python raise on malformed attributes and inputs.
MALFORMED = (
    TypeError, ValueError, IndexError, KeyError, AttributeError, OverflowError, ArithmeticError,
)  # fmt: skip


def operator_of(source: str, node: Node) -> Operator:
    """Return the operator of a node.

    Raises
    ------
    NetError
        There is no operator of this name.
    """
    if node.op not in OPERATORS:
        raise NetError(f"{source}: {node}: operator {node.op} is not supported")
    return OPERATORS[node.op]


def infer(source: str, node: Node, inputs: Sequence[Spec | None]) -> list[Spec]:
    """Infer the specs of a node's outputs, without large computations or allocations.

    Raises
    ------
    NetError
        The inputs or attributes do not fit the operator.
    """
    operator = operator_of(source, node)
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    try:
        most = len(given) if operator.most is None else operator.most
        if not operator.least <= len(given) <= most or None in given[: operator.least]:
            raise NetError(f"takes {operator.least} to {operator.most} inputs, got {len(given)}")
        if given and given[0] is not None and given[0].dtype.kind not in operator.kinds:
            raise NetError(f"does not take {given[0].dtype} arrays")
        found = operator.infer(node, *given)
    except UnknownError:
        return [Spec(None, np.dtype(np.float32)) for _ in node.outputs]
    except MALFORMED as exc:
        raise NetError(f"{source}: {node}: {brief(exc)}") from exc
    specs = found if isinstance(found, list) else [found]
    if len(specs) < len(node.outputs):
        raise NetError(f"{source}: {node}: has {len(specs)} outputs, {len(node.outputs)} are named")
    return specs


def evaluate(source: str, node: Node, inputs: Sequence[Array | None]) -> list[Array]:
    """Run one node whose inputs were accepted by `infer`."""
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    try:
        with np.errstate(all="ignore"):
            found: Any = OPERATORS[node.op].run(node, *given)
    except (*MALFORMED, MemoryError) as exc:
        raise NetError(f"{source}: {node}: {brief(exc)}") from exc
    return list(found) if isinstance(found, (list, tuple)) else [found]


def spec_of(array: Array) -> Spec:
    """Return the full spec of an existing array."""
    return Spec(array.shape, array.dtype, array)
