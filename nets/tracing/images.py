"""The ONNX nodes of ops on images: convolution, pooling, interpolation, normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nets.autograd.ops.pooling import adaptive_avg_pool2d
from nets.autograd.tensor import Tensor, no_grad
from nets.nn.layers.record import Call
from nets.tracing.operators import reshaped
from nets.tracing.writer import Result, Writer, rule
from vj.errors import NetError


@rule("conv2d", "conv_transpose2d")
def convolution(w: Writer, call: Call) -> Result:
    """Both kinds."""
    inputs = [w.of(x) for i, x in enumerate(call.inputs) if i < 2 or w.given(call, i)]
    attrs: dict[str, Any] = {
        "kernel_shape": list(call.inputs[1].shape[2:]),
        "strides": _pair(call, "stride", 1),
        "pads": _pair(call, "padding", 0) * 2,
        "dilations": _pair(call, "dilation", 1),
        "group": int(call.options.get("groups", 1)),
    }
    if call.op == "conv2d":
        return w.emit("Conv", *inputs, **attrs)
    return w.emit(
        "ConvTranspose", *inputs, output_padding=_pair(call, "output_padding", 0), **attrs
    )


@rule("max_pool2d", "avg_pool2d")
def pooling(w: Writer, call: Call) -> Result:
    """Of windows."""
    attrs = _windows(call) | {"ceil_mode": int(call.options.get("ceil_mode", False))}
    if call.op == "max_pool2d":
        dilations = _pair(call, "dilation", 1)
        return w.emit("MaxPool", w.of(call.inputs[0]), dilations=dilations, **attrs)
    include = int(call.options.get("count_include_pad", True))
    return w.emit("AveragePool", w.of(call.inputs[0]), count_include_pad=include, **attrs)


@rule("max_unpool2d")
def unpooling(w: Writer, call: Call) -> Result:
    """By the indices of the pooling whose winners stand where the switches say."""
    switches = call.options["switches"]
    pool = next((c for c in w.first.calls[: w.at] if _made(c, switches)), None)
    if pool is None:
        raise NetError("max_unpool2d: its switches come from no pooling that was traced")
    name = w.of(pool.outputs[0])
    at = next(i for i, node in enumerate(w.nodes) if node.outputs[0] == name)
    indices = f"{name}/indices"
    w.nodes[at] = replace(w.nodes[at], outputs=(name, indices))
    windows = _windows(pool)
    usual = [
        (n - 1) * s - 2 * p + k
        for n, s, p, k in zip(
            switches.shape[2:], windows["strides"], windows["pads"], windows["kernel_shape"],
            strict=False,
        )
    ]  # fmt: skip
    if usual != list(call.outputs[0].shape[2:]):  # runtimes disagree on what indices mean then
        raise NetError(
            f"max_unpool2d: only an output of the size that its windows cover, {tuple(usual)}, can "
            f"be traced, not {call.outputs[0].shape[2:]}"
        )
    return w.emit("MaxUnpool", w.of(call.inputs[0]), indices, **windows)


def _made(call: Call, switches: Any) -> bool:
    if call.op != "max_pool2d" or call.outputs[0].shape != switches.shape:
        return False
    x, y = (t.data.reshape(*t.shape[:2], -1) for t in (call.inputs[0], call.outputs[0]))
    where = switches.reshape(y.shape)
    return bool(where.max() < x.shape[2] and (np.take_along_axis(x, where, 2) == y).all())


@rule("adaptive_avg_pool2d")
def adaptive(w: Writer, call: Call) -> Result:
    """All pixels, equal windows, or (at a fixed size) two products with what averages."""
    x, (rows, cols) = call.inputs[0], call.options["size"]
    name, before = w.of(x), w.look(lambda c: c.inputs[0].shape[2:])
    if (rows, cols) == (1, 1):
        return w.emit("GlobalAveragePool", name)
    if before == w.look(lambda c: c.outputs[0].shape[2:]):
        return w.emit("Identity", name)
    if any(len(set(n)) > 1 for n in before):
        raise NetError(f"adaptive_avg_pool2d to {rows}x{cols} cannot be traced at a free size")
    height, width = x.shape[2:]
    if height % rows == 0 and width % cols == 0:
        window = [height // rows, width // cols]
        return w.emit("AveragePool", name, kernel_shape=window, strides=window)
    across = w.emit("MatMul", name, w.constant(_means(width, cols).T.copy()))
    return w.emit("MatMul", w.constant(_means(height, rows)), across)


def _means(inputs: int, outputs: int) -> Any:
    """The matrix (outputs, inputs) that the op is along one axis."""
    with no_grad():
        unit = Tensor(np.eye(inputs, dtype=np.float32)[None, None])
        return np.ascontiguousarray(adaptive_avg_pool2d(unit, size=(outputs, inputs)).data[0, 0])


@rule("upsample_nearest", "upsample_bilinear")
def upsampling(w: Writer, call: Call) -> Result:
    """By whole factors at any size, or to a size."""
    corners = call.options.get("align_corners", False)
    attrs: dict[str, Any] = {
        "mode": b"linear",
        "coordinate_transformation_mode": b"align_corners" if corners else b"pytorch_half_pixel",
    }
    if call.op == "upsample_nearest":
        attrs = {
            "mode": b"nearest",
            "coordinate_transformation_mode": b"asymmetric",
            "nearest_mode": b"floor",
        }
    before, after = w.look(lambda c: c.inputs[0].shape), w.look(lambda c: c.outputs[0].shape)
    ratios = [{b / a for a, b in zip(*n, strict=True)} for n in zip(before, after, strict=True)]
    if all(len(r) == 1 and next(iter(r)).is_integer() for r in ratios):
        scales = w.constant(np.array([r.pop() for r in ratios], np.float32))
        return w.emit("Resize", w.of(call.inputs[0]), "", scales, **attrs)
    return w.emit("Resize", w.of(call.inputs[0]), "", "", w.numbers(after), **attrs)


# ---------------------------------------------------------------------- normalisation


@rule("batch_norm")
def batch_norm(w: Writer, call: Call) -> Result:
    """With the running moments, and the activation behind it."""
    running = call.options.get("running")
    if call.options.get("training") or running is None:
        raise NetError("batch_norm: only running moments can be traced, not those of the batch")
    moments = [w.constant(a, w.first.names.get(id(a))) for a in running]
    name = w.emit(
        "BatchNormalization", w.of(call.inputs[0]), *_factor_and_shift(w, call), *moments,
        epsilon=float(call.options.get("eps", 1e-5)),
    )  # fmt: skip
    activation = call.options.get("activation")
    if activation == "relu":
        return w.emit("Relu", name)
    if activation == "relu6":
        return w.emit("Clip", name, *(w.constant(np.float32(v)) for v in (0, 6)))
    return name


@rule("group_norm")
def group_norm(w: Writer, call: Call) -> Result:
    """A node of its own, or groups as the channels of an instance normalisation."""
    x, groups = call.inputs[0], int(call.options["groups"])
    factor, shift = _factor_and_shift(w, call)
    epsilon = float(call.options.get("eps", 1e-5))
    if w.opset >= 21:
        return w.emit(
            "GroupNormalization", w.of(x), factor, shift, opset=21, num_groups=groups,
            epsilon=epsilon,
        )  # fmt: skip
    sizes = w.look(lambda c: c.inputs[0].shape)
    split = w.emit("Reshape", w.of(x), w.constant(np.array([0, groups, -1])))
    ones = w.constant(np.ones(groups, np.float32))
    zeros = w.constant(np.zeros(groups, np.float32))
    normal = w.emit("InstanceNormalization", split, ones, zeros, epsilon=epsilon)
    whole = reshaped(w, normal, [sizes[0], (groups,), (0,)], sizes)
    wide = w.constant(np.array([-1, *(1,) * (x.ndim - 2)]))
    scaled = w.emit("Mul", whole, w.emit("Reshape", factor, wide))
    return w.emit("Add", scaled, w.emit("Reshape", shift, wide))


@rule("layer_norm")
def layer_norm(w: Writer, call: Call) -> Result:
    """Over the last axes."""
    inputs = [w.of(x) for i, x in enumerate(call.inputs) if w.given(call, i)]
    epsilon = float(call.options.get("eps", 1e-5))
    return w.emit("LayerNormalization", *inputs, axis=-call.inputs[1].ndim, epsilon=epsilon)


@rule("local_response_norm")
def local_response_norm(w: Writer, call: Call) -> Result:
    """Even neighbourhoods lean to the other side there."""
    size, options = call.options["size"], call.options
    if size % 2 == 0:
        raise NetError(f"local_response_norm: only odd sizes can be traced, not {size}")
    return w.emit(
        "LRN", w.of(call.inputs[0]), size=int(size), alpha=float(options.get("alpha", 1e-4)),
        beta=float(options.get("beta", 0.75)), bias=float(options.get("k", 1.0)),
    )  # fmt: skip


def _factor_and_shift(w: Writer, call: Call) -> list[str]:
    channels = call.inputs[0].shape[1]
    return [
        w.of(call.inputs[i])
        if w.given(call, i)
        else w.constant(np.full(channels, fill, np.float32))
        for i, fill in ((1, 1.0), (2, 0.0))
    ]


def _pair(call: Call, key: str, default: int) -> list[int]:
    return [int(n) for n in call.options.get(key, (default, default))]


def _windows(call: Call) -> dict[str, Any]:
    return {
        "kernel_shape": _pair(call, "kernel", 1),
        "strides": _pair(call, "stride", 1),
        "pads": _pair(call, "padding", 0) * 2,
    }
