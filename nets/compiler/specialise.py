"""Specialise a graph to one set of input shapes: shape inference and constant folding.

Shape arithmetic of exporters (Shape, Gather, Concat, Reshape ...) is folded here, and no-op nodes
are removed. Nodes whose shapes depend on data stay in the graph and are resolved at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from nets.graph.ir import Graph, Node
from nets.graph.spec import Spec, Special
from nets.operators.evaluate import evaluate, infer, spec_of
from nets.operators.layout import permutation
from vj.errors import NetError
from vj.limits import NET_BYTES as LIMIT
from vj.limits import NET_FOLD as FOLD

Shapes = Mapping[str, tuple[int, ...]]


def specialise(graph: Graph, shapes: Shapes, limit: int = LIMIT) -> Special:
    """Infer all shapes for the given input shapes and fold constants.

    A graph exported at a fixed size is adapted where its operators allow: constant Reshape targets
    and Resize sizes follow the new input size.

    Raises
    ------
    NetError
        A shape does not match, or all arrays together need more than ``limit`` bytes.
    """
    declared = {port.name: port.shape for port in graph.inputs if port.shape is not None}
    fixed = len(declared) == len(graph.inputs) and all(
        min(shape, default=1) > 0 for shape in declared.values()
    )
    if not fixed or all(declared[name] == tuple(shape) for name, shape in shapes.items()):
        return _Pass(graph, limit, None).run(shapes)
    exported = _Pass(graph, limit, None)
    exported.run({name: shape for name, shape in declared.items()})
    try:
        return _Pass(graph, limit, exported.specs).run(shapes)
    except NetError as exc:
        was = ", ".join(f"{name} {shape}" for name, shape in declared.items())
        raise NetError(f"{exc} (the graph was exported for {was})") from exc


class _Pass:
    """One pass through the graph."""

    def __init__(self, graph: Graph, limit: int, exported: Mapping[str, Spec] | None) -> None:
        self.graph, self.limit, self.exported = graph, limit, exported
        self.specs: dict[str, Spec] = {k: spec_of(v) for k, v in graph.constants.items()}
        self.alias: dict[str, str] = {}
        self.nodes: list[Node] = []
        self.total = 0

    def run(self, shapes: Shapes) -> Special:
        for port in self.graph.inputs:
            if port.dtype is None or port.name not in shapes:
                raise NetError(f"{self.graph.source}: no shape is given for input {port.name!r}")
            self.specs[port.name] = self.counted(
                f"{self.graph.source}: input {port.name!r}",
                Spec(tuple(shapes[port.name]), port.dtype),
            )
        for node in self.graph.nodes:
            self.visit(node)
        outputs = tuple((port.name, self.name(port.name)) for port in self.graph.outputs)
        nodes = _needed(self.nodes, {name for _, name in outputs})
        return Special(self.graph.source, self.graph.inputs, outputs, nodes, self.specs)

    def name(self, name: str) -> str:
        return self.alias.get(name, name)

    def visit(self, node: Node) -> None:
        node = replace(node, inputs=tuple(map(self.name, node.inputs)))
        if self.exported is not None:
            node = self.reshaped(node)
        inputs = [self.specs[name] if name else None for name in node.inputs]
        if any(spec is not None and spec.shape is None for spec in inputs):
            self.keep(node, [Spec(None, np.dtype(np.float32)) for _ in node.outputs])
            return
        found = infer(self.graph.source, node, inputs)
        found = [self.counted(f"{self.graph.source}: {node}", spec) for spec in found]
        named = [spec for name, spec in zip(node.outputs, found, strict=False) if name]
        if all(spec.value is not None for spec in named):  # Shape, Size, Constant
            self.keep(None, found, node)
        elif _nothing_to_do(node, inputs, found):
            self.alias[node.outputs[0]] = node.inputs[0]
            self.specs[node.outputs[0]] = found[0]
        elif (
            all(spec is None or spec.value is not None for spec in inputs)
            and all(spec.shape is not None for spec in found)
            and sum(spec.nbytes for spec in found) <= FOLD
        ):
            values = [None if spec is None else spec.value for spec in inputs]
            self.keep(None, [spec_of(a) for a in evaluate(self.graph.source, node, values)], node)
        else:
            self.keep(node, found)

    def keep(self, node: Node | None, specs: list[Spec], done: Node | None = None) -> None:
        """Store the outputs; a node that must run is appended to the list."""
        if node is not None:
            self.nodes.append(node)
        for name, spec in zip((node or done or Node("", "", (), ())).outputs, specs, strict=False):
            if name:
                self.specs[name] = spec

    def counted(self, where: str, spec: Spec) -> Spec:
        """Add up the bytes and enforce the limit."""
        if spec.shape is not None:
            self.total += spec.nbytes
            if self.total > self.limit:
                raise NetError(
                    f"{where}: an array of shape {spec.shape} brings the network to "
                    f"{self.total / 1e9:.3g} GB, the limit is {self.limit / 1e9:.3g} GB"
                )
        return spec

    def reshaped(self, node: Node) -> Node:
        """Replace constants that contain the exported size."""
        if node.op not in ("Reshape", "Resize") or self.exported is None:
            return node
        now, was = self.specs[node.inputs[0]].shape, self.exported[node.inputs[0]].shape
        if now is None or was is None or now == was:
            return node
        index = 1 if node.op == "Reshape" else 3
        old = self.frozen(node, index)
        if old is None or (node.op == "Resize" and len(old) != len(now)):
            return node
        if node.op == "Reshape":
            new = _follow(was, now, old)
        else:
            new = [round(n * a / b) if b else n for n, a, b in zip(old, now, was, strict=True)]
        name = f"{node.name} for {now}"
        self.specs[name] = spec_of(np.array(new, np.int64))
        inputs = list(node.inputs)
        inputs[index] = name
        return replace(node, inputs=tuple(inputs))

    def frozen(self, node: Node, index: int) -> list[int] | None:
        """Return the value of an input that does not depend on the input size."""
        if index >= len(node.inputs) or not node.inputs[index] or self.exported is None:
            return None
        now, was = (specs[node.inputs[index]].value for specs in (self.specs, self.exported))
        if now is None or was is None or now.size == 0 or not np.array_equal(now, was):
            return None
        return [int(n) for n in now.ravel()]


def _nothing_to_do(node: Node, inputs: list[Spec | None], found: list[Spec]) -> bool:
    """Return True if the node only passes its first input through."""
    x = inputs[0] if inputs else None
    if x is None or len([name for name in node.outputs if name]) != 1 or found[0].shape != x.shape:
        return False
    if node.op in ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"):
        return True
    if node.op == "Dropout":
        return len(inputs) < 3 or inputs[2] is None
    if node.op in ("Cast", "CastLike"):
        return found[0].dtype == x.dtype
    if node.op == "Transpose":
        return permutation(node, x.rank) == list(range(x.rank))
    return False


def _follow(was: tuple[int, ...], now: tuple[int, ...], target: list[int]) -> list[int]:
    """Return the target of a Reshape for an input of shape ``now`` instead of ``was``.

    A leading batch axis and trailing axes shared with the input follow the input. If that is not
    enough, the largest size is adjusted to fit.
    """
    concrete = list(target)
    if concrete[:1] == list(was[:1]):
        concrete[0] = now[0]
    if -1 not in target and 0 not in target:
        for k in range(1, min(len(was), len(target))):
            if target[-k] != was[-k]:
                break
            concrete[-k] = now[-k]
    if -1 in concrete:
        return concrete
    total = _product(now)
    known = [now[a] if n == 0 and a < len(now) else n for a, n in enumerate(concrete)]
    if _product(known) == total:
        return concrete
    largest = max(range(len(known)), key=lambda a: (target[a], a))
    return [-1 if a == largest else n for a, n in enumerate(concrete)]


def _product(numbers: Any) -> int:
    out = 1
    for n in numbers:
        out *= int(n)
    return out


def _needed(nodes: list[Node], wanted: set[str]) -> tuple[Node, ...]:
    """Return the nodes that the outputs depend on."""
    kept: list[Node] = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return tuple(reversed(kept))
