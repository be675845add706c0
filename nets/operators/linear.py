"""Matrix products and fully connected layers."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.operators.base import FLOAT32, broadcast_shape, need_rank, operator
from nets.operators.convolution.layer import Conv
from nets.operators.layer import Image
from nets.operators.lowering import Lowering, lowers
from nets.operators.writer import Result, Writer, exports, exports_as
from vj.errors import NetError


def _infer_gemm(node: Node, a: Spec, b: Spec, c: Spec | None = None) -> Spec:
    need_rank(a, 2, 2)
    need_rank(b, 2, 2, "the second input")
    rows, inner = a.dims[::-1] if node.get("transA", 0) else a.dims
    same_inner, cols = b.dims[::-1] if node.get("transB", 0) else b.dims
    if inner != same_inner:
        raise NetError(
            f"shapes {a.dims} and {b.dims} do not multiply: {inner} against {same_inner}"
        )
    if c is not None and not _fits(c.dims, (rows, cols)):
        raise NetError(f"the bias of shape {c.dims} does not broadcast to {(rows, cols)}")
    return Spec((rows, cols), a.dtype)


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    tail = target[len(target) - len(shape) :]
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape, tail, strict=True))


@operator("Gemm", infer=_infer_gemm, inputs=(2, 3), kinds="fiu")
def gemm(node: Node, a: Array, b: Array, c: Array | None = None) -> Array:
    """Return ``alpha a' b' + beta c`` with a' and b' optionally transposed."""
    left = a.T if node.get("transA", 0) else a
    right = b.T if node.get("transB", 0) else b
    out = left @ right
    if node.get("alpha", 1.0) != 1:
        out = out * node.get("alpha", 1.0)
    if c is not None:
        out = out + c * node.get("beta", 1.0)
    return np.asarray(out, a.dtype)


def _infer_matmul(node: Node, a: Spec, b: Spec) -> Spec:
    need_rank(a, 1)
    need_rank(b, 1, what="the second input")
    inner = b.dims[-2] if b.rank > 1 else b.dims[0]
    if a.dims[-1] != inner:
        raise NetError(f"shapes {a.dims} and {b.dims} do not multiply")
    outer = broadcast_shape([a.dims[:-2], b.dims[:-2], ()])
    rows = a.dims[-2:-1] if a.rank > 1 else ()
    cols = b.dims[-1:] if b.rank > 1 else ()
    return Spec(outer + rows + cols, a.dtype)


@operator("MatMul", infer=_infer_matmul, inputs=(2, 2), kinds="fiu")
def matmul(node: Node, a: Array, b: Array) -> Array:
    """Return NumPy's matrix product."""
    return np.asarray(a @ b)


# --------------------------------------------------------------------------------------- compiled


@lowers("Gemm", "MatMul")
def lower_product(lowering: Lowering, node: Node) -> bool:
    """Lower a fully connected layer to a convolution with a kernel as large as the image."""
    if len(node.inputs) > 2 and node.inputs[2] and lowering.constant(node, 2) is None:
        return False
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    spec = lowering.spec(node.inputs[0])
    if weights is None or weights.ndim != 2 or spec.rank != 2 or node.get("transA", 0):
        return False
    if weights.dtype != FLOAT32 or weights.size == 0 or spec.dims[0] == 0:
        return False
    flat = lowering.root(node.inputs[0])
    form = lowering.forms.get(flat) or lowering.wanted(node.inputs[0])
    if not isinstance(form, Image) or form.images != spec.dims[0]:
        return False
    by_output = weights if node.get("transB", 0) else weights.T
    by_output = by_output * np.float32(node.get("alpha", 1.0))
    outputs = len(by_output)
    if bias is not None:
        if bias.size not in (1, outputs) or (bias.ndim == 2 and bias.shape[0] != 1):
            return False
        bias = np.broadcast_to(bias.ravel() * np.float32(node.get("beta", 1.0)), (outputs,))
    y = Image(form.images, outputs, 1, 1)
    kernel = np.ascontiguousarray(by_output).reshape(outputs, *form[1:])
    return lowering.add(Conv(node.name, flat, node.outputs[0], form, y, kernel, bias), y)


# --------------------------------------------------------------------------------------- exported


exports_as(matmul="MatMul")


@exports("linear")
def export_linear(w: Writer, call: Call) -> Result:
    """Export a linear layer over the last axis."""
    x, weight = call.inputs[:2]
    bias = [w.of(call.inputs[2])] if w.given(call, 2) else []
    if x.ndim == 2:
        return w.emit("Gemm", w.of(x), w.of(weight), *bias, transB=1)
    name = w.first.names.get(id(weight.data))
    turned = w.constant(np.ascontiguousarray(weight.data.T), name and f"{name}.T")
    y = w.emit("MatMul", w.of(x), turned)
    return w.emit("Add", y, *bias) if bias else y
