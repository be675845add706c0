"""The ONNX nodes of every op on the tape: arithmetic, shapes, activations, recurrent layers.

Those of images stand in `nets.tracing.images`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.nn.layers.record import Call
from nets.tracing.writer import Result, Writer, rule
from vj.errors import NetError

INT64 = np.iinfo(np.int64)
SAME = {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "exp": "Exp", "log": "Log",
    "absolute": "Abs", "maximum": "Max", "matmul": "MatMul", "relu": "Relu", "sigmoid": "Sigmoid",
    "tanh": "Tanh", "softplus": "Softplus", "hardswish": "HardSwish",
}  # fmt: skip


@rule(*SAME)
def same(w: Writer, call: Call) -> Result:
    """Ops that have a node of their own, with the same arguments."""
    return w.emit(SAME[call.op], *map(w.of, call.inputs))


@rule("power")
def power(w: Writer, call: Call) -> Result:
    """The exponent is an array there."""
    exponent = w.constant(np.float32(call.options["exponent"]))
    return w.emit("Pow", w.of(call.inputs[0]), exponent)


@rule("clip", "relu6")
def clip(w: Writer, call: Call) -> Result:
    """Limits are arrays there."""
    limits = (call.options.get("low", 0.0), call.options.get("high", 6.0))
    return w.emit("Clip", w.of(call.inputs[0]), *(w.constant(np.float32(v)) for v in limits))


@rule("leaky_relu")
def leaky_relu(w: Writer, call: Call) -> Result:
    """A slope."""
    return w.emit("LeakyRelu", w.of(call.inputs[0]), alpha=float(call.options.get("slope", 0.01)))


@rule("prelu")
def prelu(w: Writer, call: Call) -> Result:
    """Slopes, in the shape of channels."""
    x, slope = call.inputs
    shape = (-1, *(1,) * (x.ndim - 2))
    name = w.first.names.get(id(slope.data))
    return w.emit("PRelu", w.of(x), w.constant(slope.data.reshape(shape), name))


@rule("softmax", "log_softmax")
def softmax(w: Writer, call: Call) -> Result:
    """Along an axis."""
    op = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[call.op]
    return w.emit(op, w.of(call.inputs[0]), axis=int(call.options["axis"]))


@rule("maxout")
def maxout(w: Writer, call: Call) -> Result:
    """The channels split into pieces, and their maximum."""
    x, pieces = call.inputs[0], call.options["pieces"]
    axis = call.options.get("axis", 1) % x.ndim
    before = w.look(lambda c: c.inputs[0].shape)
    split = [tuple(n // pieces for n in before[axis]), (pieces,) * len(w.passes)]
    parts = reshaped(w, w.of(x), before, [*before[:axis], *split, *before[axis + 1 :]])
    return w.emit("ReduceMax", parts, axes=[axis + 1], keepdims=0)


@rule("linear")
def linear(w: Writer, call: Call) -> Result:
    """Of vectors, or of anything whose last axis is one."""
    x, weight = call.inputs[:2]
    bias = [w.of(call.inputs[2])] if w.given(call, 2) else []
    if x.ndim == 2:
        return w.emit("Gemm", w.of(x), w.of(weight), *bias, transB=1)
    name = w.first.names.get(id(weight.data))
    turned = w.constant(np.ascontiguousarray(weight.data.T), name and f"{name}.T")
    y = w.emit("MatMul", w.of(x), turned)
    return w.emit("Add", y, *bias) if bias else y


# ---------------------------------------------------------------------- shapes


@rule("reshape")
def reshape(w: Writer, call: Call) -> Result:
    """Flatten where all axes but the first become one."""
    before, after = w.look(lambda c: c.inputs[0].shape), w.look(lambda c: c.outputs[0].shape)
    x = w.of(call.inputs[0])
    if len(after) == 2 and len(before) > 1 and before[0] == after[0]:
        return w.emit("Flatten", x, axis=1)
    return reshaped(w, x, before, after)


Sizes = Sequence[tuple[int, ...]]  # of each axis, in each pass


def reshaped(w: Writer, x: str, before: Sizes, after: Sizes) -> str:
    """A node that says as little about sizes as it can: 0 copies one, -1 is what is left."""
    target, free = [], 0
    for axis, sizes in enumerate(after):
        if axis < len(before) and sizes == before[axis]:
            target.append(0)
        elif len(set(sizes)) == 1:
            target.append(sizes[0])
        else:
            target.append(-1)
            free += 1
    shape = w.numbers(after) if free > 1 else w.constant(np.array(target, np.int64))
    return w.emit("Reshape", x, shape)


@rule("permute")
def permute(w: Writer, call: Call) -> Result:
    """Axes in another order."""
    return w.emit("Transpose", w.of(call.inputs[0]), perm=list(call.options["axes"]))


@rule("sum", "mean")
def reduction(w: Writer, call: Call) -> Result:
    """Over some axes or all of them."""
    x, axis = call.inputs[0], call.options.get("axis")
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    numbers, kept = [int(a) % x.ndim for a in axes], int(call.options.get("keepdims", False))
    if call.op == "mean":
        return w.emit("ReduceMean", w.of(x), axes=numbers, keepdims=kept)
    return w.emit("ReduceSum", w.of(x), w.constant(np.array(numbers)), keepdims=kept)


@rule("concat")
def concat(w: Writer, call: Call) -> Result:
    """Along an existing axis."""
    axis = call.options.get("axis", 0) % call.inputs[0].ndim
    return w.emit("Concat", *map(w.of, call.inputs), axis=axis)


@rule("stack")
def stack(w: Writer, call: Call) -> Result:
    """Along a new axis."""
    axis = call.options.get("axis", 0) % call.outputs[0].ndim
    where = w.constant(np.array([axis], np.int64))
    parts = [w.emit("Unsqueeze", w.of(x), where) for x in call.inputs]
    return w.emit("Concat", *parts, axis=axis)


@rule("take")
def take(w: Writer, call: Call) -> Result:
    """Slices and single numbers, or whole numbers along one axis."""
    x, key = call.inputs[0], _full(call.options["key"], call.inputs[0].ndim)
    if any(isinstance(k, (np.ndarray, list)) for k in key):
        return _gather(w, call, key)
    calls = [p.calls[w.at] for p in w.passes]
    keys = [_full(c.options["key"], x.ndim) for c in calls]
    shapes = [c.inputs[0].shape for c in calls]
    both = list(zip(keys, shapes, strict=True))
    cut = [a for a in range(x.ndim) if not all(_all(k[a], s[a]) for k, s in both)]
    name = w.of(x)
    if cut:
        spans = [[_span(k[a], s[a]) for a in cut] for k, s in both]
        starts, ends = (
            w.numbers([tuple(each[i][end] for each in spans) for i in range(len(cut))])
            for end in (0, 1)
        )
        steps = w.constant(np.array([span[2] for span in spans[0]], np.int64))
        name = w.emit("Slice", name, starts, ends, w.constant(np.array(cut, np.int64)), steps)
    single = [a for a in cut if not isinstance(key[a], slice)]
    if single:
        name = w.emit("Squeeze", name, w.constant(np.array(single, np.int64)))
    return name


def _full(key: Any, rank: int) -> list[Any]:
    """One entry for each axis."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(k is None or (isinstance(k, np.ndarray) and k.dtype.kind == "b") for k in keys):
        raise NetError("indexing with None or masks cannot be traced: use reshape, or numbers")
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
    return keys + [slice(None)] * (rank - len(keys))


def _span(key: Any, size: int) -> tuple[int, int, int]:
    """Start, end and step as ONNX has them; an open end stays open."""
    if not isinstance(key, slice):
        return int(key), int(key) + 1 if key != -1 else INT64.max, 1
    start, end, step = key.indices(size)
    if step < 0:
        return (-1 if key.start is None else start), (INT64.min if end < 0 else end), step
    return start, (INT64.max if key.stop is None else end), step


def _all(key: Any, size: int) -> bool:
    """Whether a slice leaves nothing out."""
    return isinstance(key, slice) and key.indices(size) == (0, size, 1)


def _gather(w: Writer, call: Call, key: list[Any]) -> Result:
    given = [a for a, n in enumerate(call.inputs[0].shape) if not _all(key[a], n)]
    if len(given) != 1:
        raise NetError("indexing with arrays can be traced along one axis only")
    index = w.constant(np.asarray(key[given[0]], np.int64))
    return w.emit("Gather", w.of(call.inputs[0]), index, axis=given[0])


# ---------------------------------------------------------------------- sequences


@rule("embedding")
def embedding(w: Writer, call: Call) -> Result:
    """A row for each number."""
    index = w.known[id(call.options["index"])]
    return w.emit("Gather", w.of(call.inputs[0]), index, axis=0)


GATES = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # in ONNX's order


@rule(*GATES)
def recurrent(w: Writer, call: Call) -> Result:
    """A cell in one direction; an axis for directions comes and goes."""
    n = 2 if call.op == "lstm" else 1
    states, tensors = call.inputs[1 : 1 + n], call.inputs[1 + n :]
    weights = [_gates(call.op, x.data) for x in tensors[:2]]
    bias = [""]
    if w.given(call, 3 + n):
        both = [_gates(call.op, x.data) for x in tensors[2:]]
        bias = [w.constant(np.concatenate(both, axis=1))]
    first = w.constant(np.array([0], np.int64))
    begin = [_state(w, x, first) for x in states]
    attrs: dict[str, Any] = {"hidden_size": int(states[0].shape[1])}
    if call.op == "gru":
        attrs["linear_before_reset"] = 1
    if call.options.get("nonlinearity", "tanh") == "relu":
        attrs["activations"] = [b"Relu"]
    inputs = [w.of(call.inputs[0]), *map(w.constant, weights), *bias, "", *begin]
    y = w.emit(call.op.upper(), *inputs, results=1 + n, **attrs)
    axis = w.constant(np.array([1], np.int64))
    last = [w.emit("Squeeze", f"{y}/{i}", first) for i in range(1, 1 + n)]
    return [w.emit("Squeeze", y, axis), *last]


def _gates(op: str, array: Array) -> Array:
    """Gates in ONNX's order, below an axis for the direction."""
    parts = np.split(array, len(GATES[op]))
    return np.concatenate([parts[i] for i in GATES[op]])[None]


def _state(w: Writer, state: Any, first: str) -> str:
    """Where to begin; zeros need not be said, and follow the batch."""
    if id(state.data) not in w.known and not state.data.any():
        return ""
    return w.emit("Unsqueeze", w.of(state), first)
