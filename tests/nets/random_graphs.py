"""Random graphs on the engine, on onnxruntime and on plain NumPy, which must agree.

By hand, for as many as patience allows::

    python -m tests.nets.random_graphs --count 20000 --seed 0

What is wrong is made as small as it stays wrong, printed, and saved if there is a ``--folder``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from nets.compiler import Model, program
from nets.kernels import layout
from nets.onnx.reader import parse_graph
from nets.operators import OPERATORS
from nets.operators.convolution.layer import Conv
from nets.operators.evaluate import evaluate, infer, spec_of
from tests.nets.graph_builder import Made, build
from vj.errors import NetError

TOLERANCE = 1e-3  # of the largest number
# No kernel; shapes that contradict the kernels (pooling with ceil_mode and pads); buffers that do.
UNABLE = ("NOT_IMPLEMENTED", "NotImplemented", "ShapeInferenceError", "OutputMLValue")
BAND_NS = (program.BAND_NS, 40)  # as it is, and so that all steps are split


class Wrong(AssertionError):
    """The engine has said something else."""


def plain(graph, feeds):
    """Node by node on NumPy operators."""
    arrays = {**graph.constants, **feeds}
    for item in graph.nodes:
        inputs = [arrays[name] if name else None for name in item.inputs]
        infer("plain", item, [None if a is None else spec_of(a) for a in inputs])
        arrays.update(zip(item.outputs, evaluate("plain", item, inputs), strict=False))
    return {port.name: arrays[port.name] for port in graph.outputs}


def runtime(proto, feeds):
    """By onnxruntime; None where it has no kernel."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, feeds), strict=True))
    except Exception as exc:
        if any(word in f"{type(exc).__name__} {exc}" for word in UNABLE):
            return None
        raise Wrong(f"onnxruntime refuses it: {str(exc)[:300]}") from exc


def compare(what, got, want, tolerance=TOLERANCE):
    for name, array in want.items():
        found = got[name]
        if (found.shape, found.dtype) != (array.shape, array.dtype):
            raise Wrong(f"{what}: {name} is {found.dtype} {found.shape}, "
                        f"not {array.dtype} {array.shape}")  # fmt: skip
        if array.dtype.kind != "f":
            error, scale = np.sum(found != array), 0
        else:
            error, scale = np.abs(found - array).max(initial=0), np.abs(array).max(initial=0.01)
        if not error <= tolerance * scale:
            raise Wrong(f"{what}: {name} is {error:.3g} off at {scale:.3g}")


def shuffled(plan, feeds, r):
    """Run a plan for several threads in an order that these may come to, drawn by chance."""

    def run(stage, arena, pool=None):
        """One task at a time, of any thread whose next one may run."""
        done = [0] * stage.n_jobs
        queues = [
            np.flatnonzero(stage.table[:, layout.OWNER] == n).tolist() for n in range(stage.n_jobs)
        ]
        favourite = r.randrange(stage.n_jobs)
        while any(queues):
            ready = [
                n
                for n, queue in enumerate(queues)
                if queue and (stage.table[queue[0], layout.NEEDS :] <= done).all()
            ]
            n = favourite if favourite in ready and r.random() < 0.8 else r.choice(ready)
            task = stage.table[queues[n].pop(0)][None].copy()
            task[:, layout.NEEDS :] = 0
            layout.run_tasks(arena, task, stage.limits, stage.progress, 0, -1, stage.scratch[n])
            done[n] += 1

    before, program.Program.run = program.Program.run, run
    try:
        return plan.run(feeds)
    finally:
        program.Program.run = before


def chosen(plan, r):
    """Other kernels for some convolutions than the cost model would take."""
    layers = [layer for layer in plan.layers if isinstance(layer, Conv) and "+" not in layer.name]
    return {layer.name: r.choice(layer.algorithms()) for layer in layers if r.random() < 0.5}


def check(made, r):
    """All engines agree, for any number of threads, once and again."""
    graph = parse_graph(made.proto.SerializeToString(), "random")
    want = plain(graph, made.feeds)
    theirs = runtime(made.proto, made.feeds)
    if theirs is not None:
        compare("our NumPy against onnxruntime", want, theirs)
    shapes = {name: a.shape for name, a in made.feeds.items()}
    model = Model(graph)
    kernels = chosen(model.plan(shapes), r)
    got = model.run(made.feeds)
    compare("engine against NumPy", got, want)
    compare(f"with {kernels}", Model(graph, algorithms=kernels).run(made.feeds), want)
    if any(-1 in (port.shape or ()) for port in graph.inputs):
        check_sizes(graph, model, made.feeds, r)
    program.BAND_NS = r.choice(BAND_NS)
    try:
        threads = r.choice((2, 2, 3))
        model = Model(graph, n_jobs=threads)
        plan = model.plan(shapes)
        with contextlib.suppress(NetError):  # of data that sizes hang on
            number = np.float32(r.choice((np.nan, 3)))
            plan.run({n: np.full_like(a, number) for n, a in made.feeds.items()})
        pool, plan.pool = plan.pool, None
        compare("one thread after other numbers", plan.run(made.feeds), got, 0)
        plan.pool = pool
        compare(f"{threads} threads", model.run(made.feeds), got, 0)
        compare(f"{threads} threads in another order", shuffled(plan, made.feeds, r), got, 0)
    finally:
        program.BAND_NS = BAND_NS[0]
    return theirs is not None


def check_sizes(graph, model, feeds, r):
    """The same model at another size and batch, where the graph allows it, and then as before."""
    before = model.run(feeds)
    images, rows, cols = r.choice((1, 2, 4)), r.randint(2, 14), r.randint(2, 14)
    others = {n: np.resize(a, (images, a.shape[1], rows, cols)) for n, a in feeds.items()}
    try:
        want = plain(graph, others)
    except (NetError, RuntimeWarning):  # the graph holds a size of the first feeds, or nothing
        return  # is left of these
    if all(np.isfinite(a).all() for a in want.values()):
        compare("at another size", model.run(others), want)
        compare("at the first size again", model.run(feeds), before, 0)


# ---------------------------------------------------------------------- smaller


def smaller(made):
    """Graphs with a node or an output less."""
    graph = made.proto.graph
    for output in range(len(graph.output)):
        if len(graph.output) > 1:
            yield without(made, lambda g, k=output: g.output.pop(k))
    for index in reversed(range(len(graph.node))):
        outputs = set(graph.node[index].output)
        if outputs & {o.name for o in graph.output}:
            continue
        # its results come from outside instead
        yield fed(made, index, outputs)


def without(made, change):
    proto = onnx.ModelProto()
    proto.CopyFrom(made.proto)
    change(proto.graph)
    return pruned(proto, made)


def fed(made, index, outputs):
    def change(graph):
        del graph.node[index]
        for name in sorted(outputs):
            value = made.values[name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, value.shape))

    return without(made, change)


def pruned(proto, made):
    """Only what the outputs hang on."""
    graph, wanted, kept = proto.graph, {o.name for o in proto.graph.output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    kept = [type(n).FromString(n.SerializeToString()) for n in reversed(kept)]
    inputs = [i for i in graph.input if i.name in wanted]
    constants = [c for c in graph.initializer if c.name in wanted]
    found = onnx.helper.make_graph(kept, graph.name, inputs, list(graph.output), constants)
    model = onnx.helper.make_model(found, opset_imports=proto.opset_import, ir_version=10)
    return Made(model, {i.name: made.values[i.name] for i in inputs}, made.values)


def fault(made, seed):
    """What is wrong with a graph, or None."""
    try:
        check(made, random.Random(seed))
    except Exception as exc:
        return exc
    return None


def reduced(made, seed, exc):
    """The smallest graph that is wrong in the same way."""
    key = str(exc).split(":")[0]
    while True:
        for found in smaller(made):
            other = fault(found, seed)
            if other is not None and str(other).split(":")[0] == key:
                made, exc = found, other
                break
        else:
            return made, exc


def verdict(seed):
    """What is wrong with the graph of this seed, made as small as can be; "" where nothing is."""
    made = build(random.Random(seed))
    exc = fault(made, seed)
    return "" if exc is None else complaint(*reduced(made, seed, exc), seed)


def complaint(made, exc, seed):
    """The fault and the graph that shows it."""
    return f"seed {seed}: {type(exc).__name__}: {exc}\n{text(made)}"


def text(made):
    """A graph in lines."""
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in made.proto.graph.initializer}

    def named(name):
        if name in constants and constants[name].size < 9:
            return f"{name}={constants[name].tolist()}"
        return f"{name}{list(made.values[name].shape)}" if name else "-"

    lines = [f"opset {made.proto.opset_import[0].version}"]
    for node in made.proto.graph.node:
        attrs = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs, outputs = (", ".join(map(named, n)) for n in (node.input, node.output))
        lines.append(f"  {outputs} = {node.op_type}({inputs}) {attrs}")
    return "\n".join([*lines, "  -> " + ", ".join(o.name for o in made.proto.graph.output)])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first graph; others follow")
    parser.add_argument("--folder", type=Path, help="for graphs that are wrong")
    options = parser.parse_args(argv)
    wrong, seen, compared, start = 0, Counter(), 0, time.monotonic()
    for seed in range(options.seed, options.seed + options.count):
        made = build(random.Random(seed))
        seen.update(node.op_type for node in made.proto.graph.node)
        try:
            compared += check(made, random.Random(seed))
        except Exception as exc:
            wrong += 1
            made, exc = reduced(made, seed, exc)
            print(complaint(made, exc, seed), flush=True)
            if options.folder:
                onnx.save(made.proto, options.folder / f"{seed}.onnx")
        if (seed + 1 - options.seed) % 1000 == 0:
            minutes = (time.monotonic() - start) / 60
            print(f"{seed + 1 - options.seed} graphs, {wrong} wrong, {minutes:.1f} min", flush=True)
    print(f"{options.count} graphs, {compared} of them against onnxruntime, {wrong} wrong")
    rare = {op: seen[op] for op in OPERATORS if seen[op] < options.count / 1000}
    print(f"operators seen: {len(set(seen) & set(OPERATORS))} of {len(OPERATORS)}; rare: {rare}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
