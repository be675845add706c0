"""How random graphs use sliding windows, resizing and normalisation."""

from __future__ import annotations

import numpy as np

from tests.nets.graph_builder import F4, Unfit, axis, divisor, makes


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


def windowed(b):
    """An array for a sliding window, mostly of pixels, and the window's sizes."""
    x = b.pick(rank=4 if b.chance(0.85) else (3, 5))
    axes = b.values[x].ndim - 2
    usual = b.r.choice((2, 3)) if b.chance(0.5) else 0
    return x, [usual or side(b) for _ in range(axes)]


@makes("Conv")
def conv(b, op, x=None, outputs=None, **given):
    drawn, kernel = windowed(b)
    x, kernel = x or drawn, given.pop("kernel", kernel)
    c, outputs = b.values[x].shape[1], outputs or b.channels()
    groups = b.r.choice((1, 1, 1, c, "any"))
    if groups == c:
        outputs = c * b.r.choice((1, 1, 1, 2))
    if groups == "any":
        groups = divisor(b, c, outputs)
    if outputs % groups:
        groups = 1
    attrs = {**geometry(b, kernel), **given, "group": groups}
    names = [x, b.const(b.weights(outputs, c // groups, *kernel))]
    if b.chance(0.5):
        names.append(b.const(b.noise(outputs, scale=0.3)))
    return b.node(op, names, **attrs)[0]


@makes("ConvTranspose")
def conv_transpose(b, op):
    x, kernel = windowed(b)
    c, outputs = b.values[x].shape[1], b.channels()
    groups = 1 if b.chance(0.6) else divisor(b, c, outputs)
    if b.chance(0.4):
        strides = [b.r.randint(1, 3)] * len(kernel)
        kernel = [s * b.r.choice((2, 3)) for s in strides]
        pads = [b.r.randint(0, 2)] * 2 * len(kernel)
        attrs = {"strides": strides, "kernel_shape": kernel, "pads": pads}
    else:
        attrs = geometry(b, kernel, transposed=True)
    if b.chance(0.2):
        attrs["output_padding"] = [
            b.r.randrange(s) for s in attrs.get("strides", [1] * len(kernel))
        ]
    names = [x, b.const(b.weights(c, outputs // groups, *kernel))]
    if b.chance(0.5):
        names.append(b.const(b.noise(outputs // groups * groups, scale=0.3)))
    b.node(op, names, group=groups, **attrs)


@makes("MaxPool", "AveragePool", "LpPool")
def pool(b, op):
    x, kernel = windowed(b)
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
    mode = b.r.choice(("nearest", "nearest", "linear", "linear", "cubic"))
    factors = b.const(np.array(scales, np.float32))
    if b.opset < 10:
        if min(scales) < 1 or mode == "cubic":
            raise Unfit  # onnxruntime only goes up
        b.node("Upsample", [x, factors], mode=mode)
        return
    if b.opset < 11:
        raise Unfit
    ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attrs = {"mode": mode, "coordinate_transformation_mode": b.r.choice(ways)}
    if mode == "nearest":
        attrs["nearest_mode"] = b.r.choice(("floor", "ceil", "round_prefer_floor"))
    elif b.chance(0.3):
        attrs["exclude_outside"] = int(mode == "cubic")
        attrs["antialias"] = 1 if b.opset >= 18 else None
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
