"""How random graphs use operators on numbers, along axes, and of sequences."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto

from tests.nets.graph_builder import Unfit, axis, makes

UNARY = """
Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus
Softsign Sqrt Tan Tanh ThresholdedRelu Identity Swish""".split()  # noqa: SIM905
ALPHA = {"Elu", "HardSigmoid", "LeakyRelu", "Selu", "Celu", "ThresholdedRelu"}


@makes(*UNARY)
def unary(b, op):
    attrs = {"alpha": b.r.uniform(0.1, 1.5)} if op in ALPHA and b.chance(0.5) else {}
    b.node(op, [b.pick()], **attrs)


@makes("Softmax", "LogSoftmax", "Hardmax")
def along_axis(b, op):
    x = b.pick()
    b.node(op, [x], axis=axis(b, x) if b.chance(0.8) else None)


@makes("PRelu")
def prelu(b, op):
    x = b.pick()
    b.node(op, [x, b.const(b.noise(*narrowed(b, b.values[x].shape, unidirectional=True)))])


@makes("Clip")
def clip(b, op):
    x, low = b.pick(), b.r.uniform(-1, 0.2)
    high = low + b.r.uniform(0, 1.5)
    low, high = (v if b.chance(0.8) else None for v in (low, high))
    if b.opset < 11:
        b.node(op, [x], min=low, max=high)
    else:
        limits = ["" if v is None else b.const(np.float32(v)) for v in (low, high)]
        b.node(op, [x, *limits])


# ---------------------------------------------------------------------- two inputs and more


def narrowed(b, shape, unidirectional=False):
    """A shape that broadcasts to another one: one number, channels, or some axes of it."""
    kind = b.r.choice(("one", "channels", "some", "whole", "tail"))
    if kind == "one":
        return (1,) * b.r.randint(0, len(shape))
    if kind == "channels" and len(shape) >= 2:
        out = (1, shape[1], *(1,) * (len(shape) - 2))
        return out[b.r.randint(0, 1) :]
    if kind == "some":
        return tuple(n if b.chance(0.5) else 1 for n in shape)
    if kind == "tail" and shape:
        return shape[b.r.randrange(len(shape)) :]
    return shape


def broadcasts(shape, other):
    pairs = zip(reversed(shape), reversed(other), strict=False)
    return all(n == m or 1 in (n, m) for n, m in pairs)


@makes("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "Mod")
def pair(b, op):
    x = b.pick()
    if b.chance(0.4):
        y = b.const(b.noise(*narrowed(b, b.values[x].shape)))
    else:
        y = b.pick(fits=lambda a: broadcasts(a.shape, b.values[x].shape))
    names = [x, y] if b.chance(0.7) else [y, x]
    if op in ("Max", "Min", "Sum", "Mean") and b.chance(0.3):
        names = names[:1] if b.chance(0.5) else [*names, x]
    if op == "Pow":
        names = [x, b.const(np.float32(b.r.choice((2, 3, 1, 0))))]
    b.node(op, names, fmod=1 if op == "Mod" else None)


@makes(
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "And", "Or", "Xor", "Not"
)
def chosen(b, op):
    """A mask, what can be done with masks, and a choice by it."""
    x = b.pick()
    y = b.pick(fits=lambda a: broadcasts(a.shape, b.values[x].shape))
    compare = op if op in ("Greater", "Less") or ("OrEqual" in op and b.opset >= 16) else "Greater"
    masks = b.node(compare, [x, y])
    if op in ("And", "Or", "Xor"):
        masks = b.node(op, [*masks, *b.node("Less", [x, b.const(np.float32(0.3))])])
    elif op == "Not":
        masks = b.node(op, masks)
    elif op == "Equal" and b.opset >= 11:
        masks = b.node(op, [*masks, *b.node("Less", [x, b.const(np.float32(0.1))])])
    b.node("Where", [*masks, x, b.const(np.float32(0.5)) if b.chance(0.4) else y])


@makes("IsNaN", "IsInf", "Cast", "CastLike")
def cast(b, op):
    x = b.pick()
    if op in ("IsNaN", "IsInf"):
        y = b.node(op, [x])
        b.node("Cast", y, to=TensorProto.FLOAT)
    elif op == "CastLike":
        b.node(op, [x, b.const(np.zeros(1, b.r.choice((np.float32, np.float64))))])
    else:
        kind = b.r.choice((TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64))
        b.node("Cast", b.node("Cast", [x], to=kind), to=TensorProto.FLOAT)


# ---------------------------------------------------------------------- products, sequences


@makes("Gemm", "MatMul")
def product(b, op):
    if op == "MatMul" and b.chance(0.5):
        x = b.pick(rank=(1, 2, 3, 4))
        shape = b.values[x].shape
        if b.chance(0.5):
            y = b.const(b.weights(b.size(), shape[-1]).T.copy())
        else:
            y = b.pick(rank=(2, 3, 4), fits=lambda a: a.shape[-2] == shape[-1])
        b.node(op, [x, y])
        return
    x = b.pick(rank=2)
    rows, inner = b.values[x].shape
    out = b.channels()
    if op == "MatMul":
        b.node(op, [x, b.const(b.weights(out, inner).T.copy())])
        return
    turned, attrs = b.chance(0.5), {}
    names = [x, b.const(b.weights(out, inner) if turned else b.weights(out, inner).T.copy())]
    if b.chance(0.7):
        names.append(b.const(b.noise(*b.r.choice(((out,), (1, out), (1,), (), (rows, 1))))))
        attrs["beta"] = b.r.choice((1.0, 0.5))
    b.node(op, names, transB=int(turned), alpha=b.r.choice((1.0, 0.5)), **attrs)


@makes("RNN", "GRU", "LSTM")
def sequence(b, op):
    x = b.pick(rank=3)
    steps, batch, inner = b.values[x].shape
    if steps > 12 or inner > 64:
        raise Unfit
    hidden, gates = b.size(7), {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    way = b.r.choice(("forward", "reverse", "bidirectional"))
    d = 1 + (way == "bidirectional")
    names = [
        x, b.const(b.noise(d, gates * hidden, inner, scale=0.3)),
        b.const(b.noise(d, gates * hidden, hidden, scale=0.3)),
    ]  # fmt: skip
    if b.chance(0.5):
        names.append(b.const(b.noise(d, 2 * gates * hidden, scale=0.3)))
        if b.chance(0.5):
            lengths = b.rng.integers(1, steps + 1, batch).astype(np.int32)
            names += [b.const(lengths), b.const(b.noise(d, batch, hidden))]
    extra = {"linear_before_reset": b.r.randint(0, 1)} if op == "GRU" else {}
    b.node(op, names, b.r.randint(1, 3 if op == "LSTM" else 2), hidden_size=hidden,
           direction=way, **extra)  # fmt: skip


# ---------------------------------------------------------------------- reductions, order


@makes(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
def reduced(b, op):
    x = b.pick(rank=(1, 2, 3, 4, 5))
    rank = b.values[x].ndim
    axes = sorted(b.r.sample(range(rank), b.r.randint(1, rank)))
    if rank == 4 and b.chance(0.4):
        axes = [2, 3]
    if op == "ReduceProd" and prod(b.values[x].shape[a] for a in axes) > 50:
        raise Unfit  # whether such a product overflows on its way is a matter of order
    keep = b.r.randint(0, 1)
    if b.opset >= (13 if op == "ReduceSum" else 18):
        b.node(op, [x, b.ints(*axes)], keepdims=keep)
    else:
        b.node(op, [x], keepdims=keep, axes=axes)


@makes("ArgMax", "ArgMin", "TopK", "CumSum")
def ordered(b, op):
    x = b.pick(rank=(1, 2, 3, 4))
    along = axis(b, x)
    if b.opset < 11:
        raise Unfit
    if op == "CumSum":
        b.node(
            op,
            [x, b.const(np.int64(along))],
            exclusive=b.r.randint(0, 1),
            reverse=b.r.randint(0, 1),
        )
    elif op == "TopK":
        b.node(op, [x, b.ints(b.r.randint(1, b.values[x].shape[along]))], 2, axis=along,
               largest=b.r.randint(0, 1))  # fmt: skip
    else:
        y = b.node(op, [x], axis=along, keepdims=b.r.randint(0, 1))
        b.node("Cast", y, to=TensorProto.FLOAT)


@makes("NonMaxSuppression")
def suppressed(b, op):
    flat = b.pick(fits=lambda a: a.size % 4 == 0 and a.size < 400)
    x = b.node("Reshape", [flat, b.ints(1, -1, 4)])[0]
    count, boxes = b.values[x].shape[:2]
    if b.opset < 11:
        raise Unfit
    scores = b.const(b.noise(count, b.r.randint(1, 2), boxes))
    limits = [b.ints(3), b.const(np.float32([0.3])), b.const(np.float32([0.1]))]
    kept = b.node(op, [x, scores, *limits])
    b.node("Cast", kept, to=TensorProto.FLOAT)
