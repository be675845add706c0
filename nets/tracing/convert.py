"""Conversion of models to graphs and plans."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nets import compiler
from nets.arrays import Array
from nets.compiler import Model, Plan
from nets.graph.ir import Graph
from nets.nn.layers.module import Module
from nets.nn.layers.record import record
from nets.operators.writer import Writer
from vj.errors import NetError

Size = tuple[int, int]
AXES = {"batch": 0, "height": 2, "width": 3}
# Increments of the axes in two further passes: their ratios differ, so that every size reveals the
# axis it depends on, and sizes become odd, so that rounding shows. The second set is for models
# that accept multiples of 32 only.
CHANGES = ((1, 2, 39, 70), (3, 3, 70, 39)), ((1, 2, 64, 32), (3, 3, 32, 64))


def to_graph(
    model: Module,
    size: Size | None = None,
    *,
    batch: int = 1,
    example: Any = None,
    dynamic: Collection[str | int] = (),
) -> Graph:
    """Trace one forward pass of a model, in evaluation mode, into a graph.

    Values that depend on no input become constants, copied so that training does not change them.

    Parameters
    ----------
    model : Module
    size : (rows, cols), optional
        Of the images; not needed by models of vectors or sequences.
    batch : int
    example : array or tuple of arrays, optional
        Inputs, needed if the model's first layer does not determine the input shape.
    dynamic : collection of "batch", "height", "width" or int
        Dynamic axes of the inputs (names apply to images). The model is run twice more at other
        sizes to find the sizes that depend on them; if it accepts multiples of 32 only, so does
        the graph.

    Returns
    -------
    Graph
        ``nets.Model(graph)`` runs it, at any size of the dynamic axes.

    Raises
    ------
    NetError
        The model fails, uses an op without an ONNX equivalent, or cannot have dynamic axes.
    """
    graph = graph_of(model, size, batch, example, dynamic, opset=21)
    return replace(graph, constants={name: np.array(a) for name, a in graph.constants.items()})


def graph_of(
    model: Module,
    size: Size | None,
    batch: int,
    example: Any,
    dynamic: Collection[str | int],
    opset: int,
) -> Graph:
    """Do the same as `to_graph`, without copying the constants."""
    free = [AXES.get(axis, -1) if isinstance(axis, str) else axis for axis in dynamic]
    if any(axis not in range(4) for axis in free):
        raise NetError(f"`dynamic` takes {', '.join(AXES)} and axes 0 to 3, got {dynamic}")
    inputs = model.example(size, batch) if example is None else example
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    name = type(model).__name__
    graph = _written(model, inputs, free, opset)
    read = {given for node in graph.nodes for given in node.inputs}
    unread = [port.name for port in graph.inputs if port.name not in read]
    if unread:
        raise NetError(f"{name}: nothing that comes out was made of {unread} by ops of tensors")
    return graph


def _written(model: Module, inputs: Sequence[Any], free: Collection[int], opset: int) -> Graph:
    """Return the graph of a pass, or of three passes if axes are dynamic."""
    name, first = type(model).__name__, record(model, *inputs)
    if not free:
        return Writer(name, [first], opset).graph()
    reason: NetError | None = None
    for changes in CHANGES:
        try:
            more = [
                record(model, *(_other(np.asarray(x), free, c) for x in inputs)) for c in changes
            ]
            return Writer(name, [first, *more], opset).graph()
        except NetError as exc:
            reason = exc
    raise NetError(f"{name} cannot have dynamic sizes (axes {free}): {reason}") from reason


def _other(x: Array, free: Collection[int], changes: tuple[int, ...]) -> Array:
    """Return an input of another size."""
    shape = [n + changes[axis] if axis in free else n for axis, n in enumerate(x.shape)]
    if x.dtype.kind != "f":
        return np.zeros(shape, x.dtype)
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def compile(
    model: Model | Module,
    size: Size | None = None,
    *,
    batch: int = 1,
    example: Any = None,
    n_jobs: int = 1,
) -> Plan:
    """Compile a model for one input size: fuse layers, pack weights, plan memory.

    Parameters
    ----------
    model : Module or Model
        A model of layers (with its current weights), or one read from an ONNX file.
    size : (rows, cols), optional
        Of the images, if the model accepts images of any size.
    batch : int
    example : array or tuple of arrays, optional
        As for `to_graph`.
    n_jobs : int
        Threads of each run of a Module's plan; the result does not depend on it.

    Returns
    -------
    Plan
        ``plan.run({"input": images})["output"]``, NCHW, equals the output of the model in
        evaluation mode up to rounding.

    Raises
    ------
    NetError
        As for `to_graph`.
    """
    if isinstance(model, Model):
        return compiler.compile(model, size, batch=batch)
    if not isinstance(model, Module):
        raise NetError(f"`model` must be a Module or a Model, got {type(model).__name__}")
    graph = to_graph(model, size, batch=batch, example=example)
    return compiler.compile(Model(graph, n_jobs=n_jobs))
