"""How random graphs use each operator, and some patterns that plans have rules for."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto, helper

from tests.nets.graph_builder import F4, Unfit, axis, makes

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


# ---------------------------------------------------------------------- windows


def geometry(b, kernel, transposed=False):
    """Strides, dilations and pads that may fit."""
    attrs = {"kernel_shape": kernel}
    if b.chance(0.5):
        attrs["strides"] = [b.r.randint(1, 3) for _ in kernel]
    if b.chance(0.2):
        attrs["dilations"] = [b.r.randint(1, 2) for _ in kernel]
    if b.chance(0.15) and not transposed and "dilations" not in attrs:
        attrs["auto_pad"] = b.r.choice(("SAME_UPPER", "SAME_LOWER", "VALID"))
        attrs["strides"] = [b.r.randint(1, k) for k in kernel]  # onnxruntime skips no pixels here
    elif b.chance(0.4):
        attrs["pads"] = [k // 2 for k in kernel] * 2
    elif b.chance(0.5):
        attrs["pads"] = [b.r.randint(0, k - 1) for k in kernel * 2]
    return attrs


def side(b):
    return b.r.choice((1, 1, 2, 3, 3, 3, 4, 5))


def divisor(b, *numbers):
    return b.r.choice([n for n in range(1, min(numbers) + 1) if not any(m % n for m in numbers)])


@makes("Conv")
def conv(b, op, x=None, outputs=None, **given):
    x = x or b.pick(rank=4)
    c, outputs = b.values[x].shape[1], outputs or b.channels()
    groups = b.r.choice((1, 1, 1, c, "any"))
    if groups == c:
        outputs = c * b.r.choice((1, 1, 1, 2))
    if groups == "any":
        groups = divisor(b, c, outputs)
    if outputs % groups:
        groups = 1
    kernel = given.pop("kernel", None) or ([3, 3] if b.chance(0.5) else [side(b), side(b)])
    attrs = {**geometry(b, kernel), **given, "group": groups}
    names = [x, b.const(b.weights(outputs, c // groups, *kernel))]
    if b.chance(0.5):
        names.append(b.const(b.noise(outputs, scale=0.3)))
    return b.node(op, names, **attrs)[0]


@makes("ConvTranspose")
def conv_transpose(b, op):
    x = b.pick(rank=4)
    c, outputs = b.values[x].shape[1], b.channels()
    groups = 1 if b.chance(0.6) else divisor(b, c, outputs)
    kernel = [side(b), side(b)]
    if b.chance(0.4):
        strides = [b.r.randint(1, 3)] * 2
        attrs = {"strides": strides, "kernel_shape": [s * b.r.choice((2, 3)) for s in strides]}
        kernel = attrs["kernel_shape"]
        attrs["pads"] = [b.r.randint(0, 2)] * 4
    else:
        attrs = geometry(b, kernel, transposed=True)
    if b.chance(0.2):
        attrs["output_padding"] = [b.r.randrange(s) for s in attrs.get("strides", [1, 1])]
    names = [x, b.const(b.weights(c, outputs // groups, *kernel))]
    if b.chance(0.5):
        names.append(b.const(b.noise(outputs // groups * groups, scale=0.3)))
    b.node(op, names, group=groups, **attrs)


@makes("MaxPool", "AveragePool", "LpPool")
def pool(b, op):
    x = b.pick(rank=4)
    kernel = [2, 2] if b.chance(0.4) else [side(b), side(b)]
    attrs = geometry(b, kernel)
    least = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[op]
    if b.opset < least:
        attrs.pop("dilations", None)
    if b.chance(0.3) and b.opset >= (18 if op == "LpPool" else 10):
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and b.chance(0.3):
        attrs["count_include_pad"] = 1
    b.node(op, [x], **attrs)


@makes("MaxUnpool")
def unpool(b, op):
    """Down and up again."""
    x = b.pick(rank=4)
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    small, index = b.node("MaxPool", [x], 2, **attrs)
    if b.chance(0.5):
        small = b.node("Tanh", [small])[0]
    b.node(op, [small, index], **attrs)


@makes("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(b, op):
    b.node(op, [b.pick(rank=(3, 4, 5))])


@makes("Resize", "Upsample")
def resize(b, op):
    x = b.pick(rank=4)
    shape = b.values[x].shape
    scales = [1, 1, *(b.r.choice((0.5, 1, 1.5, 2, 2, 3)) for _ in range(2))]
    mode = b.r.choice(("nearest", "nearest", "linear"))
    factors = b.const(np.array(scales, np.float32))
    if b.opset < 10:
        if min(scales) < 1:
            raise Unfit  # onnxruntime only goes up
        b.node("Upsample", [x, factors], mode=mode)
        return
    if b.opset < 11:
        raise Unfit
    ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attrs = {"mode": mode, "coordinate_transformation_mode": b.r.choice(ways)}
    if mode == "nearest":
        attrs["nearest_mode"] = b.r.choice(("floor", "ceil", "round_prefer_floor"))
    region = "" if b.opset >= 13 else b.const(np.zeros(0, np.float32))
    if b.chance(0.5) or attrs["coordinate_transformation_mode"] == "align_corners":
        # by size: what a scale means that makes no whole number is not agreed upon
        sizes = [
            *shape[:2],
            *(max(1, int(n * s)) for n, s in zip(shape[2:], scales[2:], strict=True)),
        ]
        empty = "" if b.opset >= 13 else b.const(np.zeros(0, np.float32))
        b.node("Resize", [x, region, empty, b.ints(*sizes)], **attrs)
    else:
        b.node("Resize", [x, region, factors], **attrs)


# ---------------------------------------------------------------------- normalisation


@makes("BatchNormalization", "InstanceNormalization", "GroupNormalization")
def normalised(b, op):
    x = b.pick(rank=(3, 4) if op != "BatchNormalization" else (2, 3, 4))
    c = b.values[x].shape[1]
    names = [b.const(b.rng.uniform(0.5, 1.5, c).astype(F4)) for _ in range(4)]
    if op == "BatchNormalization":
        b.node(op, [x, *names])
    elif op == "InstanceNormalization":
        b.node(op, [x, *names[:2]], epsilon=1e-2)
    elif b.opset < 21:
        raise Unfit
    else:
        b.node(op, [x, *names[:2]], num_groups=divisor(b, c), epsilon=1e-2)


@makes("LayerNormalization")
def layer_norm(b, op):
    x = b.pick(rank=(2, 3, 4))
    along = axis(b, x)
    shape = b.values[x].shape[along:]
    b.node(op, [x, b.const(b.noise(*shape)), b.const(b.noise(*shape))], axis=along, epsilon=1e-2)


@makes("LRN", "MeanVarianceNormalization", "LpNormalization")
def other_norm(b, op):
    x = b.pick(rank=4, fits=lambda a: a.std((0, 2, 3)).min() > 0.01)  # else onnxruntime has NaN
    if op == "LRN":
        attrs = {"size": b.r.choice((1, 3, 5)), "alpha": 0.3, "beta": b.r.choice((0.5, 0.75))}
    else:
        attrs = {"axes": [0, 2, 3]} if op == "MeanVarianceNormalization" else {"axis": axis(b, x)}
    b.node(op, [x], **attrs)


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
    steps, _, inner = b.values[x].shape
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


# ---------------------------------------------------------------------- shapes


def factors(b, total, count):
    """So many sizes with this product."""
    sizes = []
    for _ in range(count - 1):
        sizes.append(divisor(b, total))
        total //= sizes[-1]
    return b.r.sample([*sizes, total], count)


@makes("Reshape")
def reshape(b, op):
    x = b.pick()
    shape = b.values[x].shape
    kind = b.r.choice(("batch", "any", "tail", "last"))
    if kind == "batch" and shape:
        sizes = [shape[0], *factors(b, prod(shape[1:]), b.r.randint(1, 4))]
    elif kind == "tail" and len(shape) >= 3:
        sizes = [shape[0], *factors(b, shape[1], 2), *shape[2:]]
    elif kind == "last" and len(shape) >= 2:
        sizes = [shape[0], -1, shape[-1]]
    else:
        sizes = factors(b, prod(shape), b.r.randint(1, 5))
    if b.chance(0.3) and -1 not in sizes:
        sizes[b.r.randrange(len(sizes))] = -1
    b.node(op, [x, b.ints(*sizes)])


@makes("Flatten", "Transpose")
def flat(b, op):
    x = b.pick(rank=(1, 2, 3, 4, 5))
    rank = b.values[x].ndim
    if op == "Flatten":
        b.node(
            op, [x], axis=1 if b.chance(0.5) else b.r.randint(0 if b.opset < 11 else -rank, rank)
        )
        return
    perm = [0, 2, 3, 1] if rank == 4 and b.chance(0.4) else b.r.sample(range(rank), rank)
    b.node(op, [x], perm=perm if b.chance(0.8) else None)


@makes("Squeeze", "Unsqueeze")
def squeeze(b, op):
    x = b.pick()
    shape = b.values[x].shape
    if op == "Squeeze":
        ones = [i for i, n in enumerate(shape) if n == 1]
        if not ones:
            raise Unfit
        axes = sorted(b.r.sample(ones, b.r.randint(1, len(ones))))
    else:
        axes = [b.r.randint(0, len(shape))]
    if b.opset < 13:
        b.node(op, [x], axes=axes)
    else:
        b.node(op, [x, b.ints(*axes)])


@makes("Expand", "Tile")
def spread(b, op):
    x = b.pick()
    shape = b.values[x].shape
    if op == "Tile":
        b.node(op, [x, b.ints(*(b.r.choice((1, 1, 2)) for _ in shape))])
        return
    target = [b.r.choice((1, n, n if n > 1 else 3)) for n in shape]
    b.node(op, [x, b.ints(*([2] if b.chance(0.3) else []), *target)])


@makes("Split")
def split(b, op):
    x = b.pick(rank=(1, 2, 3, 4, 5))
    along = 1 if b.values[x].ndim > 1 and b.chance(0.6) else axis(b, x)
    total = b.values[x].shape[along]
    parts = b.r.randint(1, min(3, total))
    cuts = sorted(b.r.sample(range(1, total), parts - 1))
    sizes = [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
    if total % parts == 0 and b.chance(0.4) and b.opset < 18:
        b.node(op, [x], parts, axis=along)
    elif b.opset < 13:
        b.node(op, [x], parts, axis=along, split=sizes)
    else:
        b.node(op, [x, b.ints(*sizes)], parts, axis=along)


@makes("Slice")
def cut(b, op):
    x = b.pick(rank=(1, 2, 3, 4, 5))
    shape = b.values[x].shape
    axes = sorted(b.r.sample(range(len(shape)), b.r.randint(1, len(shape))))
    starts, ends, steps = [], [], []
    for a in axes:
        first = b.r.randrange(shape[a])
        last = b.r.randint(first + 1, shape[a])
        step = 1 if b.chance(0.7) else b.r.choice((2, -1, -2))
        if step < 0:
            first, last = last - 1, first - 1 if first else -shape[a] - 1
        starts, ends, steps = [*starts, first], [*ends, last], [*steps, step]
    if b.opset < 10:
        if min(steps) != max(steps) or steps[0] != 1:
            raise Unfit
        b.node(op, [x], starts=starts, ends=ends, axes=axes)
    else:
        b.node(op, [x, *(b.ints(*v) for v in (starts, ends, axes, steps))])


@makes("Concat")
def concat(b, op):
    x = b.pick(rank=(1, 2, 3, 4, 5))
    along = 1 if b.values[x].ndim > 1 and b.chance(0.6) else axis(b, x)
    outside = np.delete(b.values[x].shape, along).tolist()

    def fits(a):
        return a.ndim == b.values[x].ndim and np.delete(a.shape, along).tolist() == outside

    names = [x]
    for _ in range(b.r.randint(1, 3)):
        if b.chance(0.15):
            shape = list(b.values[x].shape)
            shape[along] = b.r.randint(1, 8)
            names.append(b.const(b.noise(*shape)))
        else:
            names.append(b.pick(fits=fits))
    b.node(op, b.r.sample(names, len(names)), axis=along)


@makes("Pad")
def pad(b, op):
    x = b.pick(rank=(2, 3, 4))
    rank = b.values[x].ndim
    widths = [0] * (2 * rank)
    for i in range(2 * rank):
        if i % rank >= (2 if rank == 4 and b.chance(0.7) else 0):
            widths[i] = b.r.choice((0, 1, 1, 2, -1))
    mode = b.r.choice(("constant", "constant", "constant", "reflect", "edge"))
    if mode == "reflect":  # onnxruntime mirrors only once
        widths = [w if n > 3 else 0 for w, n in zip(widths, b.values[x].shape * 2, strict=True)]
    fill = b.r.choice((0.0, 0.0, 0.7))
    if b.opset < 11:
        b.node(op, [x], pads=widths, mode=mode, value=fill)
    else:
        b.node(op, [x, b.ints(*widths), b.const(np.float32(fill))], mode=mode)


@makes("Gather", "GatherElements", "GatherND", "ScatterND")
def gathered(b, op):
    x = b.pick(rank=(1, 2, 3, 4))
    shape = b.values[x].shape
    along = axis(b, x)
    if op == "Gather":
        index = b.rng.integers(0, shape[along], b.r.choice(((), (1,), (3,), (2, 2))))
        b.node(op, [x, b.const(index.astype(np.int64))], axis=along)
        return
    if b.opset < (11 if op != "ScatterND" else 13):
        raise Unfit
    if op == "GatherElements":
        index = b.rng.integers(0, shape[along], [b.r.randint(1, n) for n in shape])
        b.node(op, [x, b.const(index.astype(np.int64))], axis=along)
        return
    depth = b.r.randint(1, len(shape))
    index = np.stack([b.rng.permutation(n)[:1].repeat(2) for n in shape[:depth]], -1)
    index[1] = [(i + 1) % n for i, n in zip(index[1], shape, strict=False)]
    if op == "GatherND":
        b.node(op, [x, b.const(index)])
    elif len({tuple(i) for i in index.tolist()}) == 2:
        b.node(op, [x, b.const(index), b.const(b.noise(2, *shape[depth:]))])


@makes("DepthToSpace", "SpaceToDepth")
def blocks(b, op):
    x, attrs = b.pick(rank=4), {}
    if op == "DepthToSpace" and b.opset >= 11 and b.chance(0.5):
        attrs["mode"] = "CRD"
    b.node(op, [x], blocksize=b.r.choice((1, 2, 2, 3)), **attrs)


@makes("Dropout", "Constant", "ConstantOfShape", "Range", "Shape", "Size", "NonZero")
def shaped(b, op):
    """What exporters write about sizes."""
    x = b.pick()
    if op == "Dropout":
        b.node(op, [x], b.r.randint(1, 2) if b.opset >= 12 else 1)
    elif op == "Constant":
        value = helper.make_tensor("v", TensorProto.FLOAT, (1,), [0.5])
        b.node("Add", [x, *b.node(op, [], value=value)])
    elif op == "NonZero":
        places = b.node(op, b.node("Greater", [x, b.const(np.float32(0.2))]))
        b.node("Cast", places, to=TensorProto.FLOAT)
    else:
        dims = b.node("Shape", [x])
        if op == "ConstantOfShape":
            b.node("Add", [x, *b.node(op, dims)])
        elif op == "Size":
            count = b.node("Cast", b.node(op, [x]), to=TensorProto.FLOAT)
            b.node("Div", [x, *count])
        elif op == "Range" and b.opset >= 11:
            last = b.node("Gather", [*dims, b.const(np.int64(b.values[x].ndim - 1))])
            steps = b.node(op, [b.const(np.int64(0)), *last, b.const(np.int64(1))])
            b.node("Add", [x, *b.node("Cast", steps, to=TensorProto.FLOAT)])
        else:
            b.node("Reshape", [x, *dims])


# ---------------------------------------------------------------------- patterns of networks


SAME = {"kernel": [3, 3], "strides": [1, 1], "pads": [1] * 4, "auto_pad": None}
SINGLE = {"kernel": [1, 1], "strides": [1, 1], "pads": [0] * 4, "auto_pad": None}


@makes("pointwise")
def pointwise(b, op):
    conv(b, "Conv", **SINGLE)


@makes("block")
def block(b, op):
    """Convolution, normalisation, activation; padded beforehand at times."""
    x = b.pick(rank=4)
    if b.chance(0.3) and b.opset >= 11:
        x = b.node("Pad", [x, b.ints(0, 0, 1, 1, 0, 0, 1, b.r.randint(0, 1))])[0]
    y = conv(b, "Conv", x)
    if b.chance(0.5):
        c = b.values[y].shape[1]
        names = [b.const(b.rng.uniform(0.5, 1.5, c).astype(F4)) for _ in range(4)]
        y = b.node("BatchNormalization", [y, *names])[0]
    b.node(b.r.choice(("Relu", "LeakyRelu", "Sigmoid", "Tanh")), [y])


@makes("gate")
def gate(b, op):
    """Squeeze and excitation."""
    x = b.pick(rank=4)
    y = b.node("GlobalAveragePool", [x])[0]
    y = conv(b, "Conv", y, b.values[x].shape[1], **SINGLE)
    y = b.node(b.r.choice(("Sigmoid", "HardSigmoid")), [y])[0]
    b.node("Mul", [x, y] if b.chance(0.7) else [y, x])


@makes("head")
def head(b, op):
    """A map as rows, channels last."""
    y = b.node("Transpose", [conv(b, "Conv")], perm=[0, 2, 3, 1])[0]
    n, *_, c = b.values[y].shape
    y = b.node("Reshape", [y, b.ints(n, -1, divisor(b, c))])[0]
    if b.chance(0.5):
        b.node(b.r.choice(("Sigmoid", "Softmax", "Exp")), [y])


@makes("heads")
def heads(b, op):
    """Thin convolutions of one map, some followed by depthwise ones, and what becomes of them."""
    x = b.pick(rank=4)
    found = []
    for _ in range(b.r.randint(2, 4)):
        y = conv(b, "Conv", x, b.r.choice((1, 2, 3, 4, 8, 10)), dilations=[1, 1], **SAME)
        if b.chance(0.5):
            c = b.values[y].shape[1]
            names = [y, b.const(b.weights(c, 1, 3, 3))]
            y = b.node("Conv", names, pads=[1] * 4, group=c)[0]
        found.append(y)
    b.node("Concat", found, axis=1)


@makes("thin")
def thin(b, op):
    """A depthwise convolution, and the pooling that may become a part of it."""
    x = b.pick(rank=4)
    c = b.values[x].shape[1]
    y = b.node("Conv", [x, b.const(b.weights(c, 1, 3, 3))], group=c, **geometry(b, [3, 3]))
    if b.chance(0.5):
        y = b.node(b.r.choice(("Relu", "LeakyRelu")), y)
    if b.chance(0.5):
        b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])


@makes("swish")
def swish(b, op):
    x = b.pick()
    y = b.node(b.r.choice(("Sigmoid", "HardSigmoid")), [x])[0]
    b.node("Mul", [x, y] if b.chance(0.5) else [y, x])


@makes("shuffle")
def shuffle(b, op):
    """Channel shuffle."""
    x = b.pick(rank=4)
    n, c, h, w = b.values[x].shape
    groups = divisor(b, c)
    y = b.node("Reshape", [x, b.ints(n, groups, c // groups, h, w)])
    y = b.node("Transpose", y, perm=[0, 2, 1, 3, 4])
    b.node("Reshape", [*y, b.ints(n, c, h, w)])


@makes("maxout")
def maxout(b, op):
    """The largest of pieces of the channels."""
    x = b.pick(rank=4)
    n, c, h, w = b.values[x].shape
    pieces = divisor(b, c)
    y = b.node("Reshape", [x, b.ints(n, c // pieces, pieces, h, w)])
    if b.opset < 18:
        b.node("ReduceMax", y, axes=[2], keepdims=0)
    else:
        b.node("ReduceMax", [*y, b.ints(2)], keepdims=0)


@makes("residual")
def residual(b, op):
    """A sum with what a convolution makes of the same map, or of an older one."""
    x = b.pick(rank=4)
    c = b.values[x].shape[1]
    source = b.pick(rank=4, fits=lambda a: a.shape[2:] == b.values[x].shape[2:])
    y = conv(b, "Conv", source, c, dilations=[1, 1], **SAME)
    y = b.node("Add", [x, y] if b.chance(0.5) else [y, x])[0]
    if b.chance(0.5):
        b.node("Relu", [y])
