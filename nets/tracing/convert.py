"""Models to graphs and plans."""

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
# What is added to the axes in two further passes: in four proportions, so that every size tells
# whom it follows, and to odd sizes, so that rounding shows. The second set is for models that take
# multiples of 32 only.
CHANGES = ((1, 2, 39, 70), (3, 3, 70, 39)), ((1, 2, 64, 32), (3, 3, 32, 64))


def to_graph(
    model: Module,
    size: Size | None = None,
    *,
    batch: int = 1,
    example: Any = None,
    dynamic: Collection[str | int] = (),
) -> Graph:
    """Run a model once, in evaluation mode, and write down what it does as a graph.

    What depends on no input is a constant of the graph, a copy: training does not change it.

    Parameters
    ----------
    model : Module
    size : (rows, cols), optional
        Of the images; models of vectors and sequences need none.
    batch : int
    example : array or tuple of arrays, optional
        Inputs, where the model's first layer does not tell what they look like.
    dynamic : collection of "batch", "height", "width" or int
        Axes of the inputs (images for the names) whose sizes stay free. The model is run twice
        more, at other sizes, to see what follows them; if it takes multiples of 32 only, so does
        the graph.

    Returns
    -------
    Graph
        ``nets.Model(graph)`` runs it, at any size that was left free.

    Raises
    ------
    NetError
        The model does not run, does something that ONNX has not, or cannot have free sizes.
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
    """As `to_graph`; the constants are the model's own arrays."""
    free = [AXES.get(axis, -1) if isinstance(axis, str) else axis for axis in dynamic]
    if any(axis not in range(4) for axis in free):
        raise NetError(f"`dynamic` is made of {', '.join(AXES)} and axes 0 to 3, got {dynamic}")
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
    """The graph of a pass, and of two more where sizes are to be free."""
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
    raise NetError(f"{name} cannot have free sizes (axes {free}): {reason}") from reason


def _other(x: Array, free: Collection[int], changes: tuple[int, ...]) -> Array:
    """An input of another size."""
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
    """Make a model fast at one size: layers fused, weights packed, memory laid out.

    Parameters
    ----------
    model : Module or Model
        Of layers (its weights are taken as they are now), or read from an ONNX file.
    size : (rows, cols), optional
        Of the images, where the model works on images of any size.
    batch : int
    example : array or tuple of arrays, optional
        As of `to_graph`.
    n_jobs : int
        Threads of each run of a Module's plan; the answer does not depend on it.

    Returns
    -------
    Plan
        ``plan.run({"input": images})["output"]``, NCHW, gives what the model in evaluation mode
        gives, within rounding.

    Raises
    ------
    NetError
        As of `to_graph`.
    """
    if isinstance(model, Model):
        return compiler.compile(model, size, batch=batch)
    if not isinstance(model, Module):
        raise NetError(f"`model` must be a Module or a Model, got {type(model).__name__}")
    graph = to_graph(model, size, batch=batch, example=example)
    return compiler.compile(Model(graph, n_jobs=n_jobs))
