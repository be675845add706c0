"""The part of LSTM and GRU that is no matrix product: gates of one time step.

The products come as ready sums: ``gates[b, k]`` for batch entry b. Gates lie side by side as ONNX
has them. References: Hochreiter & Schmidhuber, 1997; Cho et al., 2014.
"""

import math

import numpy as np
from numba import float32, int64, void

from vj.kernels.jit import device, kernel, ro, rw


@device
def _sigmoid(x):
    return float32(1) / (float32(1) + np.exp(-x))


@kernel(void(ro(float32, 2), ro(float32, 1), ro(int64, 1), int64, rw(float32, 2), rw(float32, 2)))
def lstm_gates(gates, peepholes, ends, step, h, c):
    """One step in place. gates (n, 4 m): input, output, forget, cell; h, c (n, m).

    peepholes: 3 m numbers for input, output, forget. Entries b with step >= ends[b] stay.
    """
    size = h.shape[1]
    for b in range(h.shape[0]):
        if step >= ends[b]:
            continue
        for k in range(size):
            old = c[b, k]
            enter = _sigmoid(gates[b, k] + peepholes[k] * old)
            keep = _sigmoid(gates[b, 2 * size + k] + peepholes[2 * size + k] * old)
            cell = keep * old + enter * math.tanh(gates[b, 3 * size + k])
            leave = _sigmoid(gates[b, size + k] + peepholes[size + k] * cell)
            c[b, k] = cell
            h[b, k] = leave * math.tanh(cell)


@kernel(void(ro(float32, 2), ro(float32, 2), ro(int64, 1), int64, rw(float32, 2)))
def gru_gates(inputs, hidden, ends, step, h):
    """One step in place, the reset applied to the finished product (as cuDNN and Keras do).

    inputs and hidden (n, 3 m): what x and h contribute to update, reset and candidate.
    """
    size = h.shape[1]
    for b in range(h.shape[0]):
        if step >= ends[b]:
            continue
        for k in range(size):
            update = _sigmoid(inputs[b, k] + hidden[b, k])
            reset = _sigmoid(inputs[b, size + k] + hidden[b, size + k])
            fresh = math.tanh(inputs[b, 2 * size + k] + reset * hidden[b, 2 * size + k])
            h[b, k] = (float32(1) - update) * fresh + update * h[b, k]
