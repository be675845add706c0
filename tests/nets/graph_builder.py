"""Random ONNX graphs: the builder, and how each operator is put to use.

A node is evaluated twice as soon as it is made, the second time on inputs that are off by as much
as rounding may be. What cannot be computed, is not finite or blows rounding up is taken back, so
that two engines must agree on whatever is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import defs, helper, numpy_helper

from nets.graph.ir import Node
from nets.onnx.tensors import read_attribute
from nets.operators.evaluate import evaluate, infer, spec_of
from vj.errors import NetError

F4 = np.dtype(np.float32)
OPSETS = (8, 9, 11, 13, 17, 20, 21, 24)
LARGEST = 20_000  # numbers of an array
NOISE = 3e-6  # of the largest number: what rounding may do to each array
SPREAD = 1e-4  # of the largest number: what may have become of that
JUMPS = {"Ceil", "Floor", "Hardmax", "Mod", "Round", "Shrink", "Sign", "ThresholdedRelu"}


class Unfit(Exception):
    """An operator that cannot follow here."""


@dataclass
class Made:
    """A graph and something to feed it with."""

    proto: object
    feeds: dict
    values: dict  # all arrays by name


class Builder:
    """A graph that grows by a node at a time; ``r`` draws (`random.Random`)."""

    def __init__(self, r):
        self.r, self.opset = r, r.choice(OPSETS)
        self.rng = np.random.default_rng(r.getrandbits(32))
        self.nodes, self.constants, self.ports = [], {}, []
        self.values, self.twins, self.made = {}, {}, []
        self.batch, self.free = r.choice((1, 1, 3)), r.random() < 0.4

    # ------------------------------------------------------------------ drawing

    def chance(self, share):
        return self.r.random() < share

    def size(self, most=13):
        return self.r.randint(1, most)

    def channels(self):
        return self.r.choice((1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 12, 15, 16, 16, 17, 20, 24, 32))

    def pick(self, rank=None, kind="f", fits=None):
        """The name of an array, often the last one."""
        found = [
            name
            for name in self.made
            if (rank is None or self.values[name].ndim in np.atleast_1d(rank))
            and (
                self.values[name].dtype == F4
                if kind == "f"
                else self.values[name].dtype.kind in kind
            )
            and (fits is None or fits(self.values[name]))
        ]
        if not found:
            raise Unfit
        return found[-1] if self.chance(0.5) else self.r.choice(found)

    def noise(self, *shape, scale=1.0):
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def weights(self, *shape):
        return self.noise(*shape, scale=1 / np.sqrt(max(1, prod(shape[1:]))))

    # ------------------------------------------------------------------ making

    def const(self, array):
        """A constant; one of the same shape and dtype may be shared."""
        array = np.asarray(array)
        alike = [
            name
            for name, other in self.constants.items()
            if other.shape == array.shape and other.dtype == array.dtype == F4 and array.ndim > 1
        ]
        if alike and self.chance(0.3):
            return self.r.choice(alike)
        name = f"k{len(self.constants)}"
        self.constants[name] = self.values[name] = self.twins[name] = array
        return name

    def ints(self, *numbers):
        return self.const(np.array(numbers, np.int64))

    def feed(self, array):
        name = f"x{len(self.ports)}"
        self.ports.append(name)
        self.values[name] = array
        self.twins[name] = self.blurred(array)
        self.made.append(name)
        return name

    def blurred(self, array, noise=NOISE):
        if array.dtype != F4:
            return array
        scale = noise * np.abs(array).max(initial=0)
        return (array + scale * self.rng.uniform(-1, 1, array.shape)).astype(np.float32)

    def node(self, op, inputs, outputs=1, **attrs):
        """Append a node; the names of its outputs."""
        names = [f"t{len(self.values)}_{i}" for i in range(outputs)]
        attrs = {key: value for key, value in attrs.items() if value is not None}
        self.standard(op, inputs, attrs)
        message = helper.make_node(op, inputs, names, name=f"{op}->{names[0]}", **attrs)
        read = {a.name: read_attribute(a, None) for a in message.attribute}
        item = Node(op, message.name, tuple(inputs), tuple(names), read, self.opset)
        found, twins = self.tried(item, self.values), self.tried(item, self.twins)
        for value, twin in zip(found, twins, strict=True):
            self.check(value, twin)
        if item.op in JUMPS or any(value.dtype != F4 for value in found):
            self.check_choices(item, found)
        self.nodes.append(message)
        for name, value, twin in zip(names, found, twins, strict=True):
            self.values[name], self.twins[name] = value, self.blurred(twin)
            self.made.append(name)
        return names

    def standard(self, op, inputs, attrs):
        """Refuse what the opset does not know."""
        try:
            schema = defs.get_schema(op, self.opset, "")
        except defs.SchemaError as exc:
            raise Unfit from exc
        fits = schema.min_input <= len(inputs) <= schema.max_input
        if not fits or not attrs.keys() <= schema.attributes.keys():
            raise Unfit

    def tried(self, item, arrays):
        inputs = [arrays[name] if name else None for name in item.inputs]
        try:
            specs = infer("random", item, [None if a is None else spec_of(a) for a in inputs])
            if any(s.shape is not None and prod(s.shape) > LARGEST for s in specs):
                raise Unfit
            return evaluate("random", item, inputs)[: len(item.outputs)]
        except NetError as exc:
            raise Unfit from exc

    def check_choices(self, item, found):
        """Refuse indices, masks and steps that more noise, or a shift of an input, would change."""
        inputs = {n: self.values[n] for n in item.inputs if n}
        changed = [{n: self.blurred(a, 30 * NOISE) for n, a in inputs.items()} for _ in range(4)]
        for name, array in inputs.items():
            if array.dtype == F4:
                step = np.float32(30 * NOISE * np.abs(array).max(initial=0))
                changed += [{**inputs, name: array + step}, {**inputs, name: array - step}]
        for arrays in changed:
            for value, other in zip(found, self.tried(item, arrays), strict=True):
                self.check(value, other, 30 * SPREAD)

    def check(self, value, twin, spread=SPREAD):
        if value.shape != twin.shape or value.size == 0 or value.size > LARGEST or value.ndim > 6:
            raise Unfit
        if value.dtype.kind != "f":
            if not np.array_equal(value, twin):
                raise Unfit
            return
        largest = np.abs(value).max()
        if not np.isfinite(value).all() or not np.isfinite(twin).all() or largest > 1e4:
            raise Unfit
        if np.abs(value - twin).max() > spread * max(largest, 1e-2):
            raise Unfit

    def finish(self):
        """The graph; the last array and some others are its outputs."""
        inner = [name for name in self.made if name not in self.ports]
        if not inner:
            raise Unfit
        chosen = {inner[-1], *(n for n in inner if self.chance(0.15))}
        outputs = self.r.sample(sorted(chosen), len(chosen))
        graph = helper.make_graph(
            self.nodes, "random", [self.port(n) for n in self.ports],
            [self.port(n) for n in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )  # fmt: skip
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10
        )
        return Made(proto, {n: self.values[n] for n in self.ports}, self.values)

    def port(self, name):
        """Its shape is known or, of a graph for any size, free but for the channels."""
        value = self.values[name]
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        shape = value.shape
        if self.free:
            shape = ("n", shape[1], "h", "w") if name in self.ports else None
        return helper.make_tensor_value_info(name, kind, shape)


MAKERS = {}  # operator -> how it is put to use


def makes(*ops):
    """Register ``function(builder, op)`` for operators."""

    def register(function):
        MAKERS.update(dict.fromkeys(ops, function))
        return function

    return register


def build(r):
    """A random graph, a large one now and then."""
    most = r.choice((6, 14, 14, 40))
    while True:
        b = Builder(r)
        b.feed(b.noise(b.batch, b.channels(), b.size(), b.size()))
        if b.chance(0.3):
            b.feed(b.noise(*b.values["x0"].shape))
        ops, usual = sorted(MAKERS), sorted(USUAL)
        for _ in range(r.randint(2, most)):
            op = r.choice(usual if b.chance(0.7) else ops)
            try:
                MAKERS[op](b, op)
            except Unfit:
                continue
        try:
            return b.finish()
        except Unfit:
            continue


def axis(b, name):
    """An axis of an array, counted from either end."""
    rank = b.values[name].ndim
    if rank == 0:
        raise Unfit
    return b.r.randrange(-rank, rank)


def divisor(b, *numbers):
    return b.r.choice([n for n in range(1, min(numbers) + 1) if not any(m % n for m in numbers)])


# What networks are made of, drawn more often.
USUAL = set(
    """Conv Conv Relu Clip Add Mul Concat Reshape Transpose Split Slice MaxPool Resize Sigmoid
    BatchNormalization GlobalAveragePool Pad Flatten Squeeze Unsqueeze Softmax Gemm AveragePool
    ConvTranspose Identity PRelu LeakyRelu Expand pointwise block gate head swish shuffle
    residual heads maxout thin""".split()  # noqa: SIM905
)

from tests.nets import (  # noqa: E402, F401  (they fill MAKERS)
    graph_arithmetic,
    graph_patterns,
    graph_pixels,
    graph_shapes,
)
