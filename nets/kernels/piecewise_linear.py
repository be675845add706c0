"""Activations that are straight lines with a bend or two, and their gradients.

What eight numbers become depends on eight others: those themselves on the way forward; on the way
back, where they are gradients, the numbers that went in or came out.
"""

from numba import float32, int64, void

from nets.kernels.masked import masked_load, masked_store
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import ge, le, select, splat8


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), float32, float32, float32, rw(float32, 1), int64, int64
    )
)  # fmt: skip
def piecewise_linear(s, v, slope, end, top, out, first, last):
    """Compute out = v, but slope * v where s <= 0 (0 if slope is 0), and top where s >= end.

    NaN in s passes v; an ``end`` of NaN is none.
    """
    zero, steep = splat8(float32(0)), slope != float32(0)
    for i in range(first, last, 8):
        where, value = masked_load(s, i, last - i), masked_load(v, i, last - i)
        below = splat8(slope) * value if steep else zero
        value = select(le(where, zero), below, value)
        masked_store(out, i, select(ge(where, splat8(end)), splat8(top), value), last - i)
