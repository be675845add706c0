"""How random graphs cut arrays up, put them together and give them other shapes."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import TensorProto, helper

from tests.nets.graph_builder import Unfit, axis, divisor, makes


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
