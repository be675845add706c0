"""The graph IR: nodes that read and write named arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nets.arrays import Array
from vj.errors import NetError


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an operator; an absent optional input or output has the empty name."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 21

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute ``name``."""
        return self.attrs.get(name, default)

    def ints(self, name: str, default: Iterable[int]) -> list[int]:
        """Return the attribute ``name`` as a list of as many integers as ``default`` has."""
        fallback = list(default)
        given = self.attrs.get(name)
        if given is None:
            return fallback
        values = [int(v) for v in given]
        if len(values) != len(fallback):
            raise NetError(f"`{name}` must hold {len(fallback)} numbers, got {len(values)}")
        return values

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.op})" if self.name else f"a node {self.op}"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; a size of -1 is dynamic."""

    name: str
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order, constants by name; ``source`` is for messages."""

    source: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]

    def sorted(self) -> Graph:
        """Return the graph with its nodes in topological order, without unused ones.

        Raises
        ------
        NetError
            A name is read but never written, written twice, or part of a cycle.
        """
        return replace(self, nodes=_in_order(self))


def _in_order(graph: Graph) -> tuple[Node, ...]:
    given = {port.name for port in graph.inputs} | set(graph.constants)
    writer: dict[str, Node] = {}
    for node in graph.nodes:
        for name in filter(None, node.outputs):
            if name in writer or name in given:
                raise NetError(f"{graph.source}: {node}: writes {name!r}, which exists already")
            writer[name] = node
    ordered: list[Node] = []
    state: dict[int, int] = {}  # 1 while a node waits for its inputs, 2 once it is in the list
    for port in graph.outputs:
        if port.name not in given:
            _visit(graph, writer, given, state, ordered, port.name)
    return tuple(ordered)


def _visit(
    graph: Graph,
    writer: dict[str, Node],
    given: set[str],
    state: dict[int, int],
    ordered: list[Node],
    goal: str,
) -> None:
    """Visit depth first from ``goal``, iteratively: deep graphs are common."""
    if goal not in writer:
        raise NetError(f"{graph.source}: the output {goal!r} is written by no node")
    stack = [writer[goal]]
    while stack:
        node = stack[-1]
        if state.get(id(node)) == 2:
            stack.pop()
            continue
        state[id(node)] = 1
        waiting = []
        for name in node.inputs:
            if not name or name in given:
                continue
            if name not in writer:
                raise NetError(f"{graph.source}: {node}: reads {name!r}, which nothing writes")
            before = writer[name]
            if state.get(id(before)) == 1:
                raise NetError(f"{graph.source}: {node}: is part of a cycle through {name!r}")
            if state.get(id(before)) != 2:
                waiting.append(before)
        if waiting:
            stack.append(waiting[0])
        else:
            state[id(node)] = 2
            ordered.append(stack.pop())
