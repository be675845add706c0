"""The logistic function and the logarithm that goes with it.

Reference: Moshier, Methods and programs for mathematical functions (Cephes), 1989.
"""

from numba import float32, int64, void

from nets.kernels.masked import masked_load, masked_store
from nets.kernels.pointwise import vexp
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import fabs, fma, ge, gt, select, splat8


@device
def vlog1p(x):
    """Logarithm of one plus eight numbers from 0 to 1."""
    half = splat8(float32(0.5))
    far = gt(x, splat8(float32(0.41421356)))
    f = select(far, (x - splat8(float32(1))) * half, x)  # 1 + x is 1 + f, or twice that
    p = splat8(float32(7.0376836292e-2))
    p = fma(p, f, splat8(float32(-1.1514610310e-1)))
    p = fma(p, f, splat8(float32(1.1676998740e-1)))
    p = fma(p, f, splat8(float32(-1.2420140846e-1)))
    p = fma(p, f, splat8(float32(1.4249322787e-1)))
    p = fma(p, f, splat8(float32(-1.6668057665e-1)))
    p = fma(p, f, splat8(float32(2.0000714765e-1)))
    p = fma(p, f, splat8(float32(-2.4999993993e-1)))
    p = fma(p, f, splat8(float32(3.3333331174e-1)))
    z = f * f
    y = f + fma(p * f, z, splat8(float32(-0.5)) * z)
    return select(far, y + splat8(float32(0.69314718)), y)


@kernel(void(ro(float32, 1), rw(float32, 1), rw(float32, 1), int64, int64))
def logistic(x, y, rest, first, last):
    """Compute y = 1 / (1 + exp(-x)) and rest = log(1 + exp(-abs(x))).

    log(1 + exp(x)) is max(x, 0) + rest.
    """
    zero, one = splat8(float32(0)), splat8(float32(1))
    for i in range(first, last, 8):
        v = masked_load(x, i, last - i)
        small = vexp(zero - fabs(v))
        masked_store(y, i, select(ge(v, zero), one, small) / (one + small), last - i)
        masked_store(rest, i, vlog1p(small), last - i)


@kernel(void(ro(float32, 1), ro(float32, 1), float32, float32, rw(float32, 1), int64, int64))
def slope(y, g, plain, linear, out, first, last):
    """Compute out = g * (plain + linear * y - y * y): gradients of tanh (1, 0), logistic (0, 1)."""
    flat, steep = splat8(plain), splat8(linear)
    for i in range(first, last, 8):
        v = masked_load(y, i, last - i)
        masked_store(out, i, masked_load(g, i, last - i) * fma(v, steep - v, flat), last - i)
