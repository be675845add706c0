"""Gates of LSTM and GRU at one time step, forward and back; the products are made elsewhere.

Arrays are flat. A step has ``size`` numbers, H units of n sequences (H, n); arrays of T steps have
them one after the other, gates (T, gates, H, n) in PyTorch's order. Numbers first to last of step t
are done.
"""

from numba import float32, int64, void

from nets.kernels.masked import masked_load, masked_store
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
        i = vsigmoid(masked_load(gates, g, left) + masked_load(more, k, left))
        masked_store(gates, g, i, left)
        f = vsigmoid(masked_load(gates, g + size, left) + masked_load(more, size + k, left))
        masked_store(gates, g + size, f, left)
        c = vtanh(masked_load(gates, g + 2 * size, left) + masked_load(more, 2 * size + k, left))
        masked_store(gates, g + 2 * size, c, left)
        o = vsigmoid(masked_load(gates, g + 3 * size, left) + masked_load(more, 3 * size + k, left))
        masked_store(gates, g + 3 * size, o, left)
        cell = fma(f, masked_load(cells, s, left), i * c)
        masked_store(cells, s + size, cell, left)
        masked_store(y, s, o * vtanh(cell), left)


@kernel(void(IN, IN, IN, OUT, OUT, int64, int64, int64, int64))
def lstm_back(gates, cells, to_h, to_c, to_gates, t, size, first, last):
    """Gradients of the sums of the gates from those of the outputs and cells after the step.

    to_h, to_c (H, n); to_c becomes that of the cells before.
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g, s = last - k, 4 * t * size + k, t * size + k
        i, f = masked_load(gates, g, left), masked_load(gates, g + size, left)
        c, o = masked_load(gates, g + 2 * size, left), masked_load(gates, g + 3 * size, left)
        tanh_cell, gh = vtanh(masked_load(cells, s + size, left)), masked_load(to_h, k, left)
        gc = fma(gh * o, one - tanh_cell * tanh_cell, masked_load(to_c, k, left))
        masked_store(to_gates, g, gc * c * i * (one - i), left)
        masked_store(to_gates, g + size, gc * masked_load(cells, s, left) * f * (one - f), left)
        masked_store(to_gates, g + 2 * size, gc * i * (one - c * c), left)
        masked_store(to_gates, g + 3 * size, gh * tanh_cell * o * (one - o), left)
        masked_store(to_c, k, gc * f, left)


@kernel(void(OUT, IN, IN, OUT, int64, int64, int64, int64))
def gru_step(gates, more, before, y, t, size, first, last):
    """Gates (reset, update, new) from their sums, in place, and the next state.

    ``more`` (T, 3, H, n) is what the state contributes; before (H, n), y (T, H, n).
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g = last - k, 3 * t * size + k
        reset = vsigmoid(masked_load(gates, g, left) + masked_load(more, g, left))
        masked_store(gates, g, reset, left)
        keep = vsigmoid(masked_load(gates, g + size, left) + masked_load(more, g + size, left))
        masked_store(gates, g + size, keep, left)
        g += 2 * size
        new = vtanh(fma(reset, masked_load(more, g, left), masked_load(gates, g, left)))
        masked_store(gates, g, new, left)
        masked_store(
            y, t * size + k, fma(keep, masked_load(before, k, left), (one - keep) * new), left
        )


@kernel(void(IN, IN, IN, OUT, OUT, OUT, int64, int64, int64, int64))
def gru_back(gates, more, before, to_h, to_gates, to_more, t, size, first, last):
    """Gradients of both sums of the gates from that of the state after the step.

    to_h (H, n) becomes what reaches the state before without the gates.
    """
    one = splat8(float32(1))
    for k in range(first, last, 8):
        left, g = last - k, 3 * t * size + k
        reset, keep = masked_load(gates, g, left), masked_load(gates, g + size, left)
        new, gh = masked_load(gates, g + 2 * size, left), masked_load(to_h, k, left)
        to_new = gh * (one - keep) * (one - new * new)
        to_keep = gh * (masked_load(before, k, left) - new) * keep * (one - keep)
        to_reset = to_new * masked_load(more, g + 2 * size, left) * reset * (one - reset)
        masked_store(to_gates, g, to_reset, left)
        masked_store(to_more, g, to_reset, left)
        masked_store(to_gates, g + size, to_keep, left)
        masked_store(to_more, g + size, to_keep, left)
        masked_store(to_gates, g + 2 * size, to_new, left)
        masked_store(to_more, g + 2 * size, to_new * reset, left)
        masked_store(to_h, k, gh * keep, left)
