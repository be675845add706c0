"""Resize and Upsample in all their modes: one weight matrix for each axis.

Every mode is separable, so an axis is resized by a small (out, in) matrix whose rows are the
interpolation weights. Nearest neighbour is an index instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.conv.packing import padded
from nets.conv.tensor_layout import F32, geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.kernels import resize as kernels
from nets.operators.base import axis_of, operator, text
from nets.operators.layer import Image, Layer, Places, Step
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError

F64 = np.dtype(np.float64)


class Target:
    """Target of a Resize or Upsample node: scale and size of each axis, and the crop boxes."""

    def __init__(
        self,
        node: Node,
        dims: tuple[int, ...],
        roi: list[float] | None,
        scales: list[float] | None,
        sizes: list[int] | None,
    ) -> None:
        rank = len(dims)
        given = node.get("axes")
        self.axes = list(range(rank)) if given is None else [axis_of(a, rank) for a in given]
        self.scales, self.out = [1.0] * rank, list(dims)
        self.start, self.end = [0.0] * rank, [1.0] * rank
        if sizes:
            self._from_sizes(node, dims, sizes)
        elif scales:
            self._from_scales(node, dims, scales)
        else:
            raise NetError("neither `scales` nor `sizes` is given")
        if roi and text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
            count = len(roi) // 2
            for i, axis in enumerate(self.axes[:count]):
                self.start[axis], self.end[axis] = roi[i], roi[i + count]
                if scales and not sizes:
                    length = dims[axis] * (roi[i + count] - roi[i])
                    self.out[axis] = int(np.floor(length * self.scales[axis]))
        if min(self.out, default=0) < 0:
            raise NetError(f"asks for the shape {tuple(self.out)}")

    def _from_sizes(self, node: Node, dims: tuple[int, ...], sizes: list[int]) -> None:
        if len(sizes) != len(self.axes) or 0 in [dims[a] for a in self.axes]:
            raise NetError(f"`sizes` {sizes} do not fit the shape {dims}")
        ratios = [n / dims[a] for n, a in zip(sizes, self.axes, strict=True)]
        policy = text(node, "keep_aspect_ratio_policy", "stretch")
        if policy in ("not_larger", "not_smaller"):
            scale = min(ratios) if policy == "not_larger" else max(ratios)
            ratios = [scale] * len(ratios)
            sizes = [int(np.floor(scale * dims[a] + 0.5)) for a in self.axes]
        for ratio, size, axis in zip(ratios, sizes, self.axes, strict=True):
            self.scales[axis], self.out[axis] = ratio, size

    def _from_scales(self, node: Node, dims: tuple[int, ...], scales: list[float]) -> None:
        if len(scales) != len(self.axes) or not all(0 < s < float("inf") for s in scales):
            raise NetError(f"`scales` {scales} do not fit the shape {dims}")
        for scale, axis in zip(scales, self.axes, strict=True):
            self.scales[axis] = scale
            self.out[axis] = int(np.floor(dims[axis] * scale))


def target_of(node: Node, dims: tuple[int, ...], *rest: Array | None) -> Target:
    """Parse the inputs, whose positions changed over the opsets."""
    roi, scales, sizes = (*rest, *[None] * 3)[:3]
    if node.op == "Upsample" or node.opset < 11:  # (x, scales), or an attribute
        scales = roi if rest else np.array(node.get("scales", []), np.float32)
        roi = None
    lists = [None if a is None or a.size == 0 else a.ravel().tolist() for a in (roi, scales, sizes)]
    return Target(node, dims, *lists)


def _infer_resize(node: Node, x: Spec, *rest: Spec | None) -> Spec:
    target = target_of(node, x.dims, *(None if s is None else s.known for s in rest))
    return Spec(tuple(target.out), x.dtype)


def coordinates(node: Node, target: Target, axis: int, length: int) -> Array:
    """Return the input coordinates of each output pixel, before clipping."""
    mode = text(node, "coordinate_transformation_mode", "half_pixel")
    if node.op == "Upsample" or node.opset < 11:
        mode = "asymmetric"
    out, scale = target.out[axis], target.scales[axis]
    i = np.arange(out, dtype=F64)
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and out > 1):
        return (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return np.zeros(out)
    if mode == "half_pixel_symmetric":
        # The output size is rounded, scale * length is not: keep it centred.
        centre = length / 2 * (1 - out / (scale * length))
        return centre + (i + 0.5) / scale - 0.5
    if mode == "align_corners":
        last = scale * length - 1  # output length, possibly fractional
        return i * (length - 1) / last if out > 1 else np.zeros(out)
    if mode == "asymmetric":
        return i / scale
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "tf_crop_and_resize":
        first, last = target.start[axis], target.end[axis]
        if out == 1:
            return np.full(1, 0.5 * (first + last) * (length - 1))
        return first * (length - 1) + i * (last - first) * (length - 1) / (out - 1)
    raise NetError(f"`coordinate_transformation_mode` {mode!r} is unknown")


def nearest_index(node: Node, at: Array, length: int) -> Array:
    """Return the index of the nearest input pixel, with ties as the node specifies."""
    how = text(node, "nearest_mode", "round_prefer_floor")
    if node.op == "Upsample" or node.opset < 11:
        how = "floor"
    rounded = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }
    if how not in rounded:
        raise NetError(f"`nearest_mode` {how!r} is unknown")
    return np.clip(rounded[how](), 0, length - 1).astype(np.int64)


def _linear(distance: Array, a: float) -> Array:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: Array, a: float) -> Array:
    """Return Keys' cubic kernel."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def weight_matrix(node: Node, at: Array, length: int, scale: float) -> Array:
    """Return interpolation weights (out, length); pixels outside repeat the border.

    With ``antialias`` the kernel is stretched when the image shrinks. Borders are repeated by
    adding the weights that fall outside to the border pixel; ``exclude_outside`` drops them.
    """
    cubic = text(node, "mode", "nearest") == "cubic"
    kernel, reach = (_cubic, 2) if cubic else (_linear, 1)
    stretch = min(scale, 1.0) if node.get("antialias", 0) else 1.0
    span = int(np.ceil(reach / stretch))
    first = np.floor(at).astype(np.int64) - span + 1
    taps = first[:, None] + np.arange(2 * span)
    weights = kernel((taps - at[:, None]) * stretch, float(node.get("cubic_coeff_a", -0.75)))
    if node.get("exclude_outside", 0):
        weights = np.where((taps >= 0) & (taps < length), weights, 0)
    if node.get("exclude_outside", 0) or stretch < 1:
        weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((len(at), length))
    np.add.at(matrix, (np.arange(len(at))[:, None], np.clip(taps, 0, length - 1)), weights)
    return matrix


@operator("Resize", "Upsample", infer=_infer_resize, inputs=(1, 4), kinds="fiu")
def resize(node: Node, x: Array, *rest: Array | None) -> Array:
    """Interpolate (nearest, linear or cubic) along every axis whose size changes."""
    target = target_of(node, x.shape, *rest)
    mode = text(node, "mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise NetError(f"`mode` {mode!r} is unknown")
    crop = text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    out: Any = x if mode == "nearest" else x.astype(np.result_type(x.dtype, np.float32))
    outside = np.zeros(target.out, bool) if crop else None
    for axis in target.axes:
        length = x.shape[axis]
        if target.out[axis] == length and target.scales[axis] == 1 and not crop:
            continue
        at = coordinates(node, target, axis, length)
        if outside is not None:
            lost = (at < 0) | (at > length - 1)
            outside |= lost.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        if mode == "nearest":
            out = np.take(out, nearest_index(node, at, length), axis)
        else:
            matrix = weight_matrix(node, at, length, target.scales[axis])
            out = np.moveaxis(np.tensordot(matrix, out, (1, axis)), 0, axis)
    if outside is not None:
        out = np.where(outside, node.get("extrapolation_value", 0.0), out)
    if x.dtype.kind in "iu" and mode != "nearest":
        out = np.rint(out)
    return np.asarray(out).astype(x.dtype)


# --------------------------------------------------------------------------------------- compiled


class Resize(Layer):
    """Nearest or bilinear interpolation, optionally fused with adding another array."""

    kind = "resize"
    can_clamp = True

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        y: Image,
        index: tuple[np.ndarray, np.ndarray],
        weights: F32 | None,
    ) -> None:
        super().__init__(name, [source], output)
        self.y, self.index, self.weights = y, index, weights
        self.residual: str | None = None

    def can_add(self) -> bool:
        return self.linear and self.residual is None

    def add(self, name: str) -> None:
        self.residual = name
        self.inputs.append(name)

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        r = place(self.residual).layout if self.residual else None
        assert [len(i) for i in self.index] == [*self.y[2:]]
        tables = [*(self.index[0] * x.row).ravel(), *(self.index[1] * x.pixel).ravel()]
        shape = geometry(
            x, y, self.y.height, self.y.width, padded(self.y.channels), tables, residual=r
        )
        rows = self.y.images * self.y.height
        if self.weights is None:
            return [Step(kernels.resize_nearest, shape, rows, lo=self.lo, hi=self.hi)]
        kernel = kernels.resize_linear
        return [Step(kernel, shape, rows, self.weights, lo=self.lo, hi=self.hi)]


@lowers("Resize", "Upsample")
def lower_resize(lowering: Lowering, node: Node) -> bool:
    """Lower nearest and bilinear interpolation of pixels."""
    spec = lowering.spec(node.inputs[0])
    mode = text(node, "mode", "nearest")
    crop = text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
    rest = [lowering.constant(node, i) for i in range(1, len(node.inputs))]
    out = lowering.spec(node.outputs[0]).dims
    if spec.rank != 4 or mode == "cubic" or crop or node.get("antialias", 0):
        return False
    if node.get("exclude_outside", 0) or out[:2] != spec.dims[:2] or 0 in out:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    target = target_of(node, spec.dims, *rest)
    places = [coordinates(node, target, axis, spec.dims[axis]) for axis in (2, 3)]
    weights = None
    if mode == "nearest":
        index = [nearest_index(node, at, n) for at, n in zip(places, x[2:], strict=True)]
    else:
        floors = [np.floor(at).astype(np.int64) for at in places]
        shares = [at - low for at, low in zip(places, floors, strict=True)]
        weights = np.concatenate(shares).astype(np.float32)
        index = [
            np.clip(np.stack([low, low + 1], 1), 0, n - 1)
            for low, n in zip(floors, x[2:], strict=True)
        ]
    y = x._replace(height=out[2], width=out[3])
    layer = Resize(node.name, node.inputs[0], node.outputs[0], y, (index[0], index[1]), weights)
    return lowering.add(layer, y)


# --------------------------------------------------------------------------------------- exported


@exports("upsample_nearest", "upsample_bilinear")
def export_upsampling(w: Writer, call: Call) -> Result:
    """Export upsampling by integer factors at any size, or to a fixed size."""
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
