"""Matrix products."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node
from nets.graph.operators.base import Spec, broadcast_shape, need_rank, operator
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
    """``alpha a' b' + beta c`` with a' and b' transposed on demand."""
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
    """NumPy's matrix product."""
    return np.asarray(a @ b)
