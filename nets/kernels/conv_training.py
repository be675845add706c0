"""Convolution of arrays that do not lie in one arena, as in training."""

import math

from numba import float32, int64, void

from nets.kernels.conv import conv_rows
from vj.kernels.jit import kernel, ro, rw


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), ro(float32, 1), rw(float32, 1), ro(int64, 1), int64, int64
    )
)  # fmt: skip
def conv_between(x, weights, bias, y, shape, first, last):
    """`nets.kernels.conv.conv_direct` from x to y, with neither residual nor activation."""
    free = float32(math.inf)
    conv_rows(x, weights, bias, y, shape, -free, free, first, last)
