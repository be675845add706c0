"""Gates of LSTM and GRU at one time step, forward and back; the products are made elsewhere.

Arrays are flat. A step has ``size`` numbers, H units of n sequences (H, n); arrays of T steps have
them one after the other, gates (T, gates, H, n) in PyTorch's order. Numbers first to last of step t
are done.
"""

from numba import float32, int64, void

from nets.kernels.masked import put, take
from nets.kernels.pointwise import vsigmoid, vtanh
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import fma, splat8

IN, OUT = ro(float32, 1), rw(float32, 1)


@kernel(void(OUT, IN, OUT, OUT, int64, int64, int64, int64))
def lstm_step(gates, more, cells, y, t, size, first, last):
    """Gates (input, forget, cell, output) from their sums, in place; next cells and outputs.

    ``more`` (4, H, n) is what the outputs before contribute; cells (T + 1, H, n), y (T, H, n).
    """
    for k in range(first, last, 8):
        left, g, s = last - k, 4 * t * size + k, t * size + k
        i = vsigmoid(take(gates, g, left) + take(more, k, left))
        put(gates, g, i, left)
        f = vsigmoid(take(gates, g + size, left) + take(more, size + k, left))
        put(gates, g + size, f, left)
        c = vtanh(take(gates, g + 2 * size, left) + take(more, 2 * size + k, left))
        put(gates, g + 2 * size, c, left)
        o = vsigmoid(take(gates, g + 3 * size, left) + take(more, 3 * size + k, left))
        put(gates, g + 3 * size, o, left)
        cell = fma(f, take(cells, s, left), i * c)
        put(cells, s + size, cell, left)
        put(y, s, o * vtanh(cell), left)


@kernel(void(IN, IN, IN, OUT, OUT, int64, int64, int64, int64))
def lstm_back(gates, cells, to_h, to_c, to_gates, t, size, first, last):
    """Gradients of the sums of the gates from those of the outputs and cells after the step.

    to_h, to_c (H, n); to_c becomes that of the cells before.
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g, s = last - k, 4 * t * size + k, t * size + k
        i, f = take(gates, g, left), take(gates, g + size, left)
        c, o = take(gates, g + 2 * size, left), take(gates, g + 3 * size, left)
        bent, gh = vtanh(take(cells, s + size, left)), take(to_h, k, left)
        gc = fma(gh * o, one - bent * bent, take(to_c, k, left))
        put(to_gates, g, gc * c * i * (one - i), left)
        put(to_gates, g + size, gc * take(cells, s, left) * f * (one - f), left)
        put(to_gates, g + 2 * size, gc * i * (one - c * c), left)
        put(to_gates, g + 3 * size, gh * bent * o * (one - o), left)
        put(to_c, k, gc * f, left)


@kernel(void(OUT, IN, IN, OUT, int64, int64, int64, int64))
def gru_step(gates, more, before, y, t, size, first, last):
    """Gates (reset, update, new) from their sums, in place, and the next state.

    ``more`` (T, 3, H, n) is what the state contributes; before (H, n), y (T, H, n).
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g = last - k, 3 * t * size + k
        reset = vsigmoid(take(gates, g, left) + take(more, g, left))
        put(gates, g, reset, left)
        keep = vsigmoid(take(gates, g + size, left) + take(more, g + size, left))
        put(gates, g + size, keep, left)
        g += 2 * size
        new = vtanh(fma(reset, take(more, g, left), take(gates, g, left)))
        put(gates, g, new, left)
        put(y, t * size + k, fma(keep, take(before, k, left), (one - keep) * new), left)


@kernel(void(IN, IN, IN, OUT, OUT, OUT, int64, int64, int64, int64))
def gru_back(gates, more, before, to_h, to_gates, to_more, t, size, first, last):
    """Gradients of both sums of the gates from that of the state after the step.

    to_h (H, n) becomes what reaches the state before without the gates.
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g = last - k, 3 * t * size + k
        reset, keep = take(gates, g, left), take(gates, g + size, left)
        new, gh = take(gates, g + 2 * size, left), take(to_h, k, left)
        to_new = gh * (one - keep) * (one - new * new)
        to_keep = gh * (take(before, k, left) - new) * keep * (one - keep)
        to_reset = to_new * take(more, g + 2 * size, left) * reset * (one - reset)
        put(to_gates, g, to_reset, left)
        put(to_more, g, to_reset, left)
        put(to_gates, g + size, to_keep, left)
        put(to_more, g + size, to_keep, left)
        put(to_gates, g + 2 * size, to_new, left)
        put(to_more, g + 2 * size, to_new * reset, left)
        put(to_h, k, gh * keep, left)
