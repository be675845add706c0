"""Gates of LSTM and GRU at one time step, forward and back; the products are made elsewhere.

Arrays are flat. T steps of n sequences with H units: gates are (T, n, gates * H), in PyTorch's
order; what belongs to one step has no T. Sequences first to last of step t are done.
"""

from numba import float32, int64, void

from nets.kernels.parts import put, take
from nets.kernels.pointwise import vsigmoid, vtanh
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import fma, splat8

IN, OUT = ro(float32, 1), rw(float32, 1)


@kernel(void(OUT, IN, OUT, OUT, int64, int64, int64, int64, int64))
def lstm_step(gates, more, cells, y, t, n, size, first, last):
    """Gates (input, forget, cell, output) from their sums, in place; next cells and outputs.

    ``more`` (n, 4 H) is what the outputs before contribute; cells (T + 1, n, H), y (T, n, H).
    """
    for b in range(first, last):
        g, m, old = (t * n + b) * 4 * size, b * 4 * size, (t * n + b) * size
        for k in range(0, size, 8):
            left = size - k
            i = vsigmoid(take(gates, g + k, left) + take(more, m + k, left))
            at = size + k
            f = vsigmoid(take(gates, g + at, left) + take(more, m + at, left))
            at += size
            c = vtanh(take(gates, g + at, left) + take(more, m + at, left))
            at += size
            o = vsigmoid(take(gates, g + at, left) + take(more, m + at, left))
            cell = fma(f, take(cells, old + k, left), i * c)
            put(gates, g + k, i, left)
            put(gates, g + size + k, f, left)
            put(gates, g + 2 * size + k, c, left)
            put(gates, g + at, o, left)
            put(cells, old + n * size + k, cell, left)
            put(y, old + k, o * vtanh(cell), left)


@kernel(void(IN, IN, IN, OUT, OUT, int64, int64, int64, int64, int64))
def lstm_back(gates, cells, to_h, to_c, to_gates, t, n, size, first, last):
    """Gradients of the sums of the gates from those of the outputs and cells after the step.

    to_h, to_c (n, H); to_c becomes that of the cells before.
    """
    one = splat8(float32(1))
    for b in range(first, last):
        g, old, s = (t * n + b) * 4 * size, (t * n + b) * size, b * size
        for k in range(0, size, 8):
            left = size - k
            i, f = take(gates, g + k, left), take(gates, g + size + k, left)
            c, o = take(gates, g + 2 * size + k, left), take(gates, g + 3 * size + k, left)
            bent, gh = vtanh(take(cells, old + n * size + k, left)), take(to_h, s + k, left)
            gc = fma(gh * o, one - bent * bent, take(to_c, s + k, left))
            put(to_gates, g + k, gc * c * i * (one - i), left)
            put(to_gates, g + size + k, gc * take(cells, old + k, left) * f * (one - f), left)
            put(to_gates, g + 2 * size + k, gc * i * (one - c * c), left)
            put(to_gates, g + 3 * size + k, gh * bent * o * (one - o), left)
            put(to_c, s + k, gc * f, left)


@kernel(void(OUT, IN, IN, OUT, int64, int64, int64, int64, int64))
def gru_step(gates, more, before, y, t, n, size, first, last):
    """Gates (reset, update, new) from their sums, in place, and the next state.

    ``more`` (T, n, 3 H) is what the state contributes; before (n, H), y (T, n, H).
    """
    one = splat8(float32(1))
    for b in range(first, last):
        g, s = (t * n + b) * 3 * size, b * size
        for k in range(0, size, 8):
            left = size - k
            at = g + size + k
            reset = vsigmoid(take(gates, g + k, left) + take(more, g + k, left))
            keep = vsigmoid(take(gates, at, left) + take(more, at, left))
            at += size
            new = vtanh(fma(reset, take(more, at, left), take(gates, at, left)))
            put(gates, g + k, reset, left)
            put(gates, g + size + k, keep, left)
            put(gates, at, new, left)
            state = fma(keep, take(before, s + k, left), (one - keep) * new)
            put(y, (t * n + b) * size + k, state, left)


@kernel(void(IN, IN, IN, OUT, OUT, OUT, int64, int64, int64, int64))
def gru_back(gates, more, before, to_h, to_gates, to_more, t, n, first, last):
    """Gradients of both sums of the gates from that of the state after the step.

    to_h (n, H) becomes what reaches the state before without the gates.
    """
    one, size = splat8(float32(1)), before.size // n
    for b in range(first, last):
        g, s = (t * n + b) * 3 * size, b * size
        for k in range(0, size, 8):
            left = size - k
            reset, keep = take(gates, g + k, left), take(gates, g + size + k, left)
            at = g + 2 * size + k
            new, gh = take(gates, at, left), take(to_h, s + k, left)
            to_new = gh * (one - keep) * (one - new * new)
            to_keep = gh * (take(before, s + k, left) - new) * keep * (one - keep)
            to_reset = to_new * take(more, at, left) * reset * (one - reset)
            put(to_gates, g + k, to_reset, left)
            put(to_more, g + k, to_reset, left)
            put(to_gates, g + size + k, to_keep, left)
            put(to_more, g + size + k, to_keep, left)
            put(to_gates, at, to_new, left)
            put(to_more, at, to_new * reset, left)
            put(to_h, s + k, gh * keep, left)
