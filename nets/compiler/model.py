"""A network that runs at any input size: a graph and its compiled plans."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.compiler.plan import Plan
from nets.compiler.specialise import specialise
from nets.graph.ir import Graph, Port
from nets.operators.layer import Layer
from nets.runtime.thread_pool import ThreadPool
from vj.errors import NetError
from vj.limits import NET_BYTES as LIMIT

PLANS = 8  # plans kept in the cache
_models: WeakSet[Model] = WeakSet()


def _after_fork() -> None:
    """Make locks anew in a forked process: a thread that is not there may hold them."""
    for model in _models:
        model.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Model:
    """A network read from a file or built by hand.

    Attributes
    ----------
    inputs, outputs : tuple of Port
        Name, dtype and shape of the inputs and outputs; a size of -1 is dynamic.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        n_jobs: int = 1,
        algorithms: Mapping[str, str] | None = None,
        max_bytes: int = LIMIT,
    ) -> None:
        if n_jobs < 1:
            raise NetError(f"`n_jobs` must be at least 1, got {n_jobs}")
        self.graph, self.inputs, self.outputs = graph, graph.inputs, graph.outputs
        self.n_jobs, self.max_bytes = n_jobs, max_bytes
        self._algorithms = dict(algorithms or {})
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._known: dict[str, Layer] = {}  # packed weights of layers, shared by all plans
        self.lock = threading.RLock()
        self.pool = ThreadPool(n_jobs - 1) if n_jobs > 1 else None
        _models.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.graph, self.n_jobs, self._algorithms, self.max_bytes)

    def run(self, feeds: Mapping[str, ArrayLike]) -> dict[str, Array]:
        """Compute the outputs.

        Parameters
        ----------
        feeds : dict of arrays
            One array for each input, in the layout and dtype of the graph (images NCHW).

        Returns
        -------
        dict of arrays
            One for each output, in the layout of the graph, owned by the caller.

        Raises
        ------
        NetError
            An input is missing or does not fit.
        """
        arrays = self._checked(feeds)
        with self.lock:
            plan = self.plan({name: array.shape for name, array in arrays.items()})
            return plan.run(arrays)

    def plan(self, shapes: Mapping[str, tuple[int, ...]]) -> Plan:
        """Return the plan for input shapes, compiled on first use; the last few are cached."""
        key = tuple(sorted((name, tuple(shape)) for name, shape in shapes.items()))
        with self.lock:
            if key not in self._plans:
                special = specialise(self.graph, dict(key), self.max_bytes)
                self._plans[key] = Plan(
                    special,
                    n_jobs=self.n_jobs,
                    algorithms=self._algorithms,
                    known=self._known,
                    pool=self.pool,
                )
                while len(self._plans) > PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return self._plans[key]

    def shapes(
        self, size: tuple[int, int] | None = None, batch: int = 1
    ) -> dict[str, tuple[int, ...]]:
        """Return the input shapes for images of ``size`` (rows, cols), or those of the graph."""
        found = {}
        for port in self.inputs:
            shape = _sized(port, size, batch)
            if min(shape, default=1) < 1:
                raise NetError(f"input {port.name!r} of shape {port.shape} needs a `size`")
            found[port.name] = shape
        return found

    def describe(self, size: tuple[int, int] | None = None, *, profile: bool = False) -> str:
        """Return a table of the layers: shape, algorithm, MACs, bytes, time.

        Parameters
        ----------
        size : (rows, cols), optional
            Of the images; by default the fixed size of the graph.
        profile : bool
            If True, run the network and add the measured time of each layer.
        """
        plan = self.plan(self.shapes(size))
        return plan.report(_noise(self, plan) if profile else None)

    def _checked(self, feeds: Mapping[str, ArrayLike]) -> dict[str, Array]:
        source = self.graph.source
        names = {port.name for port in self.inputs}
        if set(feeds) != names:
            raise NetError(f"{source}: inputs are {sorted(names)}, got {sorted(feeds)}")
        arrays = {}
        for port in self.inputs:
            array = np.asarray(feeds[port.name])
            if array.dtype != port.dtype:
                raise NetError(
                    f"{source}: input {port.name!r} must be {port.dtype}, got {array.dtype}: "
                    f"use .astype({str(port.dtype)!r})"
                )
            if port.shape is not None and array.ndim != len(port.shape):
                raise NetError(
                    f"{source}: input {port.name!r} must have {len(port.shape)} dimensions "
                    f"{port.shape}, got shape {array.shape}"
                )
            arrays[port.name] = array
        return arrays


def _rebuild(graph: Graph, n_jobs: int, algorithms: Mapping[str, str], max_bytes: int) -> Model:
    """Make the model of a pickle or a copy; plans and threads are its own."""
    return Model(graph, n_jobs=n_jobs, algorithms=algorithms, max_bytes=max_bytes)


def _sized(port: Port, size: tuple[int, int] | None, batch: int) -> tuple[int, ...]:
    shape = port.shape or ()
    if len(shape) != 4 or size is None:
        return tuple(batch if i == 0 and n == -1 else n for i, n in enumerate(shape))
    return (batch if batch > 1 or shape[0] == -1 else shape[0], shape[1], *size)


def _noise(model: Model, plan: Plan) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    feeds = {}
    for port in model.inputs:
        shape = plan.special.specs[port.name].dims
        assert port.dtype is not None
        feeds[port.name] = rng.standard_normal(shape).astype(port.dtype)
    return feeds


def compile(model: Model, size: tuple[int, int] | None = None, *, batch: int = 1) -> Plan:
    """Return the plan of a model for images of ``size`` (rows, cols), compiled or cached."""
    return model.plan(model.shapes(size, batch))
