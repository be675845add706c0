"""A graph compiled for one set of input shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.compiler.arena import Allocation, Arena
from nets.compiler.program import Program
from nets.conv.tensor_layout import F32, I64, TensorLayout, aligned, geometry
from nets.graph.ir import Node
from nets.graph.spec import Special
from nets.kernels import layout
from nets.operators import OPERATORS, PASSES
from nets.operators.evaluate import evaluate, infer, spec_of
from nets.operators.layer import Image, Layer, Step
from nets.operators.lowering import Import, Lowering, Numpy
from nets.runtime.thread_pool import ThreadPool
from vj.errors import NetError
from vj.limits import NET_BYTES as LIMIT

# An array, or a function that returns the step importing an input into the arena.
Feed = Array | Callable[["Plan"], Step]
Feeds = Mapping[str, Feed]


class Plan:
    """A graph compiled for one set of input shapes: layers, memory and execution order.

    A plan owns its arena: two threads must not use it at the same time.
    """

    def __init__(
        self,
        special: Special,
        *,
        n_jobs: int = 1,
        algorithms: Mapping[str, str] | None = None,
        known: dict[str, Layer] | None = None,
        pool: ThreadPool | None = None,
    ) -> None:
        self.special, self.n_jobs, self.algorithms = special, n_jobs, dict(algorithms or {})
        self.pool = ThreadPool(n_jobs - 1) if pool is None and n_jobs > 1 else pool
        lowering = Lowering(special)
        _overrule(lowering, self.algorithms)
        for improve in PASSES:
            improve(lowering)
        self.lowering, self.layers = lowering, lowering.layers
        if known is not None:
            for layer in self.layers:
                layer.share_weights(known)
        self.arena = Arena(lowering, self.layers)
        self.memory: F32 = aligned(self.arena.size)
        self.views: dict[str, Array] = {}
        self.geometry: dict[str, I64] = {}
        self.stages = self._stages()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.special, self.n_jobs, self.algorithms)

    def _stages(self) -> list[Numpy | Program]:
        """Group consecutive layers in the arena into programs; all else runs separately."""
        stages: list[Numpy | Program] = []
        steps: list[Step] = []
        overlaps = self.arena.overlaps() if self.n_jobs > 1 else {}

        def close() -> None:
            if steps:
                stages.append(Program(steps, self.n_jobs, overlaps))
                steps.clear()

        for at, layer in enumerate(self.layers):
            for allocation in self.arena.allocations:
                clear = self._clearing(allocation) if allocation.first == at else None
                if clear is not None:
                    clear.writes = (allocation.names[0],)
                    steps.append(clear)
            if isinstance(layer, Numpy):
                close()
                stages.append(layer)
                continue
            for step in layer.steps(self.arena.place):
                step.cost = layer.estimate(step)
                step.reads = tuple(self.arena.reads(layer))
                step.writes = tuple(self.lowering.base(name)[0] for name in layer.outputs)
                step.imports = layer.output if isinstance(layer, Import) else ""
                steps.append(step)
        close()
        return stages

    def _clearing(self, allocation: Allocation) -> Step | None:
        """Return a step that clears frames overwritten by other arrays."""
        buffer, form = allocation.buffers[0], allocation.buffers[0].form
        if not isinstance(form, Image) or not allocation.shares:
            return None
        partly = buffer.pixel > form.channels and not buffer.lanes
        if not any(buffer.halo) and not partly:
            return None
        frame = TensorLayout(buffer.offset, buffer.row, 0, buffer.image, 0, 0, 0)
        inside = TensorLayout(
            buffer.halo.left * buffer.pixel, buffer.halo.top, form.height, 0, 0, 0, 0
        )
        if partly:
            inside = TensorLayout(0, 0, 0, 0, 0, 0, 0)
        rows = buffer.halo.top + form.height + buffer.halo.bottom
        shape = geometry(frame, inside, rows, form.width * buffer.pixel, 0)
        return Step(layout.clear_halo, shape, form.images)

    # ----------------------------------------------------------------- running

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run the plan and return all outputs as new arrays."""
        env = self.execute(feeds)
        return {name: self._output(source, env) for name, source in self.special.outputs}

    def execute(self, feeds: Feeds) -> dict[str, Array]:
        """Run the plan and return the arrays outside the arena; `view` shows the others."""
        env: dict[str, Array] = {k: v for k, v in feeds.items() if isinstance(v, np.ndarray)}
        for stage in self.stages:
            if isinstance(stage, Program):
                for name in stage.imports:
                    stage.feed(name, self._feed(name, env.get(name, feeds.get(name))))
                stage.run(self.memory, self.pool)
            else:
                self._evaluate(stage.node, env)
        return env

    def _feed(self, name: str, feed: Any) -> Step:
        """Return the step that copies an input, or a node's result, into the arena."""
        if callable(feed):
            step: Step = feed(self)
            return step
        planes = np.ascontiguousarray(feed).reshape(-1)
        return Step(layout.planes_in, self.pixels(name), 0, planes)

    def view(self, name: str) -> Array:
        """Return an array of the arena in the graph's layout; valid until the next run."""
        if name in self.views:
            return self.views[name]
        view = self.arena.view(self.memory, name)
        if np.may_share_memory(view, self.memory):  # False if the shape required a copy
            self.views[name] = view
        return view

    def pixels(self, name: str) -> I64:
        """Return the geometry of a map for the kernels that copy planes."""
        if name not in self.geometry:
            tensor = self.arena.place(name).layout
            shape = geometry(tensor, tensor, tensor.height, tensor.width, tensor.channels)
            shape[layout.IMAGES] = tensor.images
            self.geometry[name] = shape
        return self.geometry[name]

    def fetch(self, name: str, env: Mapping[str, Array]) -> Array:
        """Return an array, in the arena or outside."""
        if name in env:
            return env[name]
        value = self.special.specs[name].value
        return value if value is not None else self.view(name)

    def _evaluate(self, node: Node, env: dict[str, Array]) -> None:
        source = self.special.source
        inputs = [self.fetch(name, env) if name else None for name in node.inputs]
        if not self.lowering.known(node):
            for spec in infer(source, node, [None if a is None else spec_of(a) for a in inputs]):
                if spec.shape is not None and spec.nbytes > LIMIT:
                    raise NetError(f"{source}: {node}: asks for {spec.nbytes / 1e9:.3g} GB")
        outputs = evaluate(source, node, inputs)
        if not OPERATORS[node.op].view:  # the arena does not track views made elsewhere
            outputs = [a.copy() if np.may_share_memory(a, self.memory) else a for a in outputs]
        env.update(zip(node.outputs, outputs, strict=False))

    def _output(self, name: str, env: Mapping[str, Array]) -> Array:
        """Return a copy owned by the caller."""
        form = self.lowering.forms.get(name)
        if isinstance(form, Image) and name not in env and form.height * form.width > 1:
            out: F32 = np.empty(int(np.prod(form)), np.float32)
            layout.planes_out(self.memory, self.pixels(name), out)
            return out.reshape(self.special.specs[name].dims)
        return np.array(self.fetch(name, env), order="C")

    # ----------------------------------------------------------------- reports

    def report(self, feeds: Feeds | None = None) -> str:
        """Return a table of the layers; with ``feeds`` the network is run and timed."""
        times = {} if feeds is None else self.profile(feeds)
        lines = [
            f"{'layer':32} {'algorithm':30} {'output':>20} {'MMACs':>9} {'kB':>8} {'us':>8} "
            f"{'GF/s':>7}"
        ]
        for at, layer in enumerate(self.layers):
            shapes = [self.special.specs[n].shape for n in layer.outputs if n in self.special.specs]
            form = self.lowering.forms.get(layer.output)
            shape: Any = shapes[0] if shapes else tuple(form or ())
            size = 4 * int(np.prod(shape)) / 1e3 if shape is not None else 0
            seconds, macs = times.get(at, 0.0), layer.macs()
            rate = 2 * macs / seconds / 1e9 if seconds and macs else 0
            lines.append(
                f"{layer.name[-32:]:32} {layer.description[:30]:30} {str(shape)[:20]:>20} "
                f"{macs / 1e6:9.2f} {size:8.1f} {seconds * 1e6:8.1f} {rate:7.1f}"
            )
        total = sum(layer.macs() for layer in self.layers) / 1e6
        lines.append(
            f"{'total':32} {'':30} {'':>20} {total:9.2f} {4 * self.arena.size / 1e3:8.1f} "
            f"{sum(times.values()) * 1e6:8.1f}"
        )
        return "\n".join(lines)

    def profile(self, feeds: Feeds, repeats: int = 5) -> dict[int, float]:
        """Return the minimum time of each layer in seconds, by its position."""
        best: dict[int, float] = {}
        for _ in range(repeats):
            env: dict[str, Array] = {k: v for k, v in feeds.items() if isinstance(v, np.ndarray)}
            for at, layer in enumerate(self.layers):
                start = perf_counter()
                if isinstance(layer, Numpy):
                    self._evaluate(layer.node, env)
                else:
                    program = self._alone(layer)
                    if isinstance(layer, Import):
                        program.feed(layer.output, self._feed(layer.output, env[layer.output]))
                    start = perf_counter()
                    program.run(self.memory)
                best[at] = min(best.get(at, 1e9), perf_counter() - start)
        return best

    def _alone(self, layer: Layer) -> Program:
        steps = layer.steps(self.arena.place)
        steps[0].imports = layer.output if isinstance(layer, Import) else ""
        return Program(steps)


def _rebuild(special: Special, n_jobs: int, algorithms: Mapping[str, str]) -> Plan:
    """Rebuild a pickled or copied plan, with its own memory."""
    return Plan(special, n_jobs=n_jobs, algorithms=algorithms)


def _overrule(lowering: Lowering, algorithms: Mapping[str, str]) -> None:
    """Apply the caller's choice of kernels for single layers."""
    layers = {layer.name: layer for layer in lowering.layers if layer.algorithms()}
    for name, how in algorithms.items():
        found = layers[name].algorithms() if name in layers else []
        if how not in found:
            can = f"; it can be {', '.join(found)}" if found else ": there is no such layer"
            raise NetError(f"{lowering.special.source}: layer {name!r} cannot be {how!r}{can}")
        layers[name].algorithm = how
