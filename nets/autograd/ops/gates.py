"""Gates of LSTM and GRU at one time step: by the kernels in float32, by NumPy in float64.

Arrays are as `nets.kernels.recurrent_training` has them, not flat.
"""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.activation import sigmoid_of
from nets.kernels import recurrent_training as kernels
from nets.runtime.threads import share_numbers
from vj.kernels.jit import Kernel


def lstm_step(gates: Array, more: Array, cells: Array, y: Array, t: int) -> None:
    """As the kernel, in any precision."""
    if y.dtype == np.float32:
        return _run(kernels.lstm_step, y[t].size, t, gates, more, cells, y)
    gates[t] += more
    i, f, c, o = np.split(gates[t], 4)
    i[:], f[:], c[:], o[:] = sigmoid_of(i), sigmoid_of(f), np.tanh(c), sigmoid_of(o)
    cells[t + 1] = f * cells[t] + i * c
    y[t] = o * np.tanh(cells[t + 1])


def lstm_back(
    gates: Array, cells: Array, to_h: Array, to_c: Array, to_gates: Array, t: int
) -> None:
    """As the kernel, in any precision."""
    if gates.dtype == np.float32:
        return _run(kernels.lstm_back, to_h.size, t, gates, cells, to_h, to_c, to_gates)
    i, f, c, o = np.split(gates[t], 4)
    to_i, to_f, to_n, to_o = np.split(to_gates[t], 4)
    tanh_cell = np.tanh(cells[t + 1])
    to_c += to_h * o * (1 - tanh_cell * tanh_cell)
    to_i[:] = to_c * c * i * (1 - i)
    to_f[:] = to_c * cells[t] * f * (1 - f)
    to_n[:] = to_c * i * (1 - c * c)
    to_o[:] = to_h * tanh_cell * o * (1 - o)
    to_c *= f


def gru_step(gates: Array, more: Array, before: Array, y: Array, t: int) -> None:
    """As the kernel, in any precision."""
    if y.dtype == np.float32:
        return _run(kernels.gru_step, before.size, t, gates, more, before, y)
    (r, z, n), (hr, hz, hn) = np.split(gates[t], 3), np.split(more[t], 3)
    r[:], z[:] = sigmoid_of(r + hr), sigmoid_of(z + hz)
    n[:] = np.tanh(n + r * hn)
    y[t] = (1 - z) * n + z * before


def gru_back(
    gates: Array, more: Array, before: Array, to_h: Array, to_gates: Array, to_more: Array, t: int
) -> None:
    """As the kernel, in any precision."""
    if gates.dtype == np.float32:
        return _run(kernels.gru_back, to_h.size, t, gates, more, before, to_h, to_gates, to_more)
    r, z, n = np.split(gates[t], 3)
    to_r, to_z, to_n = np.split(to_gates[t], 3)
    to_n[:] = to_h * (1 - z) * (1 - n * n)
    to_z[:] = to_h * (before - n) * z * (1 - z)
    to_r[:] = to_n * np.split(more[t], 3)[2] * r * (1 - r)
    to_more[t] = to_gates[t]
    np.split(to_more[t], 3)[2][:] *= r
    to_h *= z


def _run(kernel: Kernel, size: int, t: int, *arrays: Array) -> None:
    """A kernel on the ``size`` numbers of step t; the arrays are C-contiguous."""
    flat = [a.reshape(-1) for a in arrays]
    share_numbers(kernel, *flat, t, size, size=size)
