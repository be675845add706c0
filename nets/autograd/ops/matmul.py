"""Matrix products, in the configured number of threads.

NumPy would call a BLAS library, which starts its own threads.
"""

from __future__ import annotations

import math

import numpy as np

from nets.arrays import Array
from nets.kernels import matmul
from nets.runtime.memory import empty
from nets.runtime.threads import LITTLE, Caller, share

BAND = 24  # rows of a task, each over all columns


def product(a: Array, b: Array) -> Array:
    """Return a @ b of matrices, or of stacks of matrices along leading axes.

    float64 arrays, used only in gradient checks, go to NumPy.
    """
    if a.dtype != np.float32 or b.dtype != np.float32:
        return np.asarray(a @ b)
    if b.ndim == 2:
        y = empty(*a.shape[:-1], b.shape[1])
        _multiply(a, b, y)
        return y
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left = np.broadcast_to(a, (*stack, *a.shape[-2:]))
    right = np.broadcast_to(b, (*stack, *b.shape[-2:]))
    y = empty(*stack, a.shape[-2], b.shape[-1])
    for place in np.ndindex(*stack):
        _multiply(left[place], right[place], y[place])
    return y


def _multiply(a: Array, b: Array, y: Array) -> None:
    """Fill y, which is C-contiguous, with a (..., inner) @ b (inner, columns)."""
    rows, (inner, columns) = math.prod(a.shape[:-1]), b.shape
    left, right = (np.ascontiguousarray(m).reshape(-1) for m in (a, b))
    out = y.reshape(-1)

    def task(call: Caller, first: int, last: int) -> None:
        work = call.scratch("matrix", 16 * (inner + 6))
        ends = first * BAND, min(last * BAND, rows)
        call(matmul.product, left, right, out, inner, columns, *ends, work)

    share(-(-rows // BAND), task, small=rows * inner * columns < LITTLE)
