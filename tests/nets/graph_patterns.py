"""Patterns of networks, for which plans have rules."""

from __future__ import annotations

from tests.nets.graph_builder import F4, divisor, makes
from tests.nets.graph_pixels import conv, geometry

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
