"""Write recorded passes as a graph.

Every op that depends on an input becomes one or more ONNX nodes, by the function its family of
operators registered with `exports`; all others are constants. Sizes that differ between passes
with different inputs are computed in the graph, from the shapes of other arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call, Recording
from nets.autograd.tensor import Tensor
from nets.graph.ir import Graph, Node, Port
from vj.errors import NetError

OPSET = 17
Result = str | Sequence[str]
Sizes = Sequence[tuple[int, ...]]  # of each axis, in each pass
Export = Callable[["Writer", Call], Result]
EXPORTS: dict[str, Export] = {}


def exports(*ops: str) -> Callable[[Export], Export]:
    """Register a function that writes the nodes of autograd ops and returns their outputs."""

    def register(function: Export) -> Export:
        EXPORTS.update(dict.fromkeys(ops, function))
        return function

    return register


def exports_as(**operators: str) -> None:
    """Register autograd ops with an ONNX operator of the same arguments."""

    def write(w: Writer, call: Call) -> Result:
        return w.emit(operators[call.op], *map(w.of, call.inputs))

    exports(*operators)(write)


class Writer:
    """A graph under construction.

    Parameters
    ----------
    passes : sequence of Recording
        The pass to write, and for dynamic sizes further passes at other sizes.
    opset : int
        Opset of the nodes; from 21 on only GroupNormalization differs from 17.
    """

    def __init__(self, source: str, passes: Sequence[Recording], opset: int = OPSET) -> None:
        self.source, self.passes, self.first, self.opset = source, passes, passes[0], opset
        if any([c.op for c in p.calls] != [c.op for c in self.first.calls] for p in passes):
            raise NetError(f"{source}: runs different ops at other sizes: trace it at a fixed size")
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.known: dict[int, str] = {}  # arrays that depend on an input
        self.taken: set[str] = set(self.first.outputs)
        self.final: dict[str, str] = {}  # output arrays and their names
        self.inputs = tuple(self._input(i) for i in range(len(self.first.inputs)))
        self.base, self.at = "", 0  # name and number of the current call

    def graph(self) -> Graph:
        """Write all nodes, and name the outputs."""
        for at, call in enumerate(self.first.calls):
            if not any(id(array) in self.known for array in _arrays(call)):
                continue
            if call.op not in EXPORTS:
                raise NetError(f"{self.source}: `{call.op}` has no ONNX operator")
            self.base, self.at = self.first.layer(call) or call.op, at
            results = EXPORTS[call.op](self, call)
            results = [results] if isinstance(results, str) else results
            for tensor, name in zip(call.outputs, results, strict=True):
                self.known[id(tensor.data)] = name
        outputs = tuple(map(self._output, self.first.outputs))
        nodes = tuple(
            replace(
                node,
                inputs=tuple(self.final.get(n, n) for n in node.inputs),
                outputs=tuple(self.final.get(n, n) for n in node.outputs),
            )
            for node in self.nodes
        )
        return Graph(self.source, self.inputs, outputs, nodes, self.constants).sorted()

    # ------------------------------------------------------------------ for the export functions

    def of(self, tensor: Tensor) -> str:
        """Return the name of an array; one that depends on no input becomes a constant."""
        if id(tensor.data) not in self.known:
            return self.constant(tensor.data, self.first.names.get(id(tensor.data)))
        return self.known[id(tensor.data)]

    def given(self, call: Call, index: int) -> bool:
        """Return True if an optional input is present (the tape stores a scalar 0 for None)."""
        return index < len(call.inputs) and call.inputs[index].ndim > 0

    def constant(self, value: Any, name: str | None = None) -> str:
        """Add a constant, under its name in the state or a new one."""
        array = np.asarray(value)
        if name is not None and self.constants.get(name) is array:
            return name
        name = self.free(name or f"{self.base}.constant")
        self.constants[name] = array
        return name

    def emit(
        self, op: str, *inputs: str, results: int = 1, opset: int = OPSET, **attrs: Any
    ) -> str:
        """Append a node; return the name of its first output, the others are `name/1` and so on."""
        name = self.free(self.base)
        outputs = (name, *(f"{name}/{i}" for i in range(1, results)))
        self.nodes.append(Node(op, name, tuple(inputs), outputs, attrs, opset))
        return name

    def free(self, name: str) -> str:
        """Return the name, with a numeric suffix if it is taken."""
        found, number = name, 1
        while found in self.taken:
            found, number = f"{name}_{number}", number + 1
        self.taken.add(found)
        return found

    def look(self, read: Callable[[Call], Sequence[int]]) -> list[tuple[int, ...]]:
        """Return the sizes that a call reads, each as a tuple with its value in each pass."""
        return list(zip(*(read(p.calls[self.at]) for p in self.passes), strict=True))

    def numbers(self, wanted: Sequence[tuple[int, ...]]) -> str:
        """Return a vector of integers that may differ between passes."""
        if all(len(set(each)) == 1 for each in wanted):
            return self.constant(np.array([each[0] for each in wanted], np.int64))
        parts = [self._number(each) for each in wanted]
        return self.emit("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def reshape(self, x: str, before: Sizes, after: Sizes) -> str:
        """Add a Reshape that fixes as few sizes as possible: 0 copies one, -1 is inferred."""
        target, free = [], 0
        for axis, sizes in enumerate(after):
            if axis < len(before) and sizes == before[axis]:
                target.append(0)
            elif len(set(sizes)) == 1:
                target.append(sizes[0])
            else:
                target.append(-1)
                free += 1
        shape = self.numbers(after) if free > 1 else self.constant(np.array(target, np.int64))
        return self.emit("Reshape", x, shape)

    # ------------------------------------------------------------------ internals

    def _number(self, wanted: tuple[int, ...]) -> str:
        """Return a size as a one-element vector: of an array, or affine in that of an input."""
        if len(set(wanted)) == 1:
            return self.constant(np.array(wanted[:1], np.int64))
        read = [p.calls[self.at].inputs for p in self.passes], [p.inputs for p in self.passes]
        made = [[c.outputs for c in p.calls[: self.at]] for p in self.passes]
        before = [[x for outputs in each[::-1] for x in outputs] for each in made]
        for name, axis, sizes in self._sizes(*read, before):
            if sizes == wanted:
                return self.emit("Shape", name, start=axis, end=axis + 1)
        for name, axis, sizes in self._sizes(*read):
            factor, shift = _line(sizes, wanted)
            if factor is not None:
                found = self.emit("Shape", name, start=axis, end=axis + 1)
                for op, number in (("Mul", factor), ("Add", shift)):
                    found = self.emit(op, found, self.constant(np.array([number], np.int64)))
                return found
        raise NetError(
            f"{self.source}: {self.base}: the sizes {wanted} do not depend on any known size"
        )

    def _sizes(self, *groups: Sequence[Sequence[Any]]) -> Iterator[tuple[str, int, Any]]:
        """Iterate over (name, axis, its size in each pass) of corresponding arrays."""
        for group in groups:
            for same in zip(*group, strict=True):
                arrays = [_array(x) for x in same]
                name = self.known.get(id(arrays[0]))
                for axis in range(arrays[0].ndim if name else 0):
                    yield str(name), axis, tuple(a.shape[axis] for a in arrays)

    def _input(self, index: int) -> Port:
        arrays = [_array(p.inputs[index]) for p in self.passes]
        name = self.free("input" if len(self.first.inputs) == 1 else f"input{index}")
        self.known[id(arrays[0])] = name
        return Port(name, arrays[0].dtype, _free_sizes(arrays))

    def _output(self, name: str) -> Port:
        """Return an output under its own name."""
        tensors = [p.outputs[name] for p in self.passes]
        found, self.base = self.of(tensors[0]), f"to {name}"
        made = any(found in node.outputs for node in self.nodes)
        if found in self.final or not made:  # an input, or a duplicate
            found = self.emit("Identity", found)
        self.final[found] = name
        return Port(name, tensors[0].dtype, _free_sizes([t.data for t in tensors]))


def _arrays(call: Call) -> list[Array]:
    """Return the arrays that a call reads; integer arrays are among its options."""
    options = [value for value in call.options.values() if isinstance(value, np.ndarray)]
    return [*(x.data for x in call.inputs), *options]


def _array(x: Any) -> Array:
    found: Array = x.data if isinstance(x, Tensor) else x
    return found


def _free_sizes(arrays: Sequence[Array]) -> tuple[int, ...]:
    """Return the common shape, -1 where it differs."""
    shapes = zip(*(a.shape for a in arrays), strict=True)
    return tuple(n[0] if len(set(n)) == 1 else -1 for n in shapes)


def _line(sizes: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int | None, int]:
    """Return integers a and b with wanted = a * sizes + b; a is None if there are none."""
    pairs = list(zip(sizes, wanted, strict=True))
    (s, w), others = pairs[0], [(s, w) for s, w in pairs if s != pairs[0][0]]
    if not others or (others[0][1] - w) % (others[0][0] - s):
        return None, 0
    factor = (others[0][1] - w) // (others[0][0] - s)
    shift = w - factor * s
    return (factor, shift) if all(factor * a + shift == b for a, b in pairs) else (None, 0)
