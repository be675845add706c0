"""LSTM and GRU cells: one step of one sequence."""

from __future__ import annotations

import math

import numpy as np

from nets.reference.activation import sigmoid
from nets.reference.arrays import Array


def lstm_step(x: Array, h: Array, c: Array, w: Array, r: Array, b: Array) -> tuple[Array, Array]:
    """Run one LSTM step of one sequence; gates in ONNX order: input, output, forget, cell.

    w (4 m, n), r (4 m, m), b (4 m,). Hochreiter & Schmidhuber, Neural Computation 9(8), 1997.
    """
    size = len(h)
    sums = w @ x + r @ h + b
    new_h, new_c = np.zeros(size), np.zeros(size)
    for k in range(size):
        enter, leave, keep = (sigmoid(sums[g * size + k]) for g in range(3))
        new_c[k] = keep * c[k] + enter * math.tanh(sums[3 * size + k])
        new_h[k] = leave * math.tanh(new_c[k])
    return new_h, new_c


def gru_step(x: Array, h: Array, w: Array, r: Array, b: Array, d: Array) -> Array:
    """Run one GRU step of one sequence; gates in ONNX order: update, reset, candidate.

    w (3 m, n), r (3 m, m), b and d (3 m,) biases of both products. The reset gate is
    applied after the product. Cho et al., EMNLP 2014.
    """
    size = len(h)
    from_x, from_h = w @ x + b, r @ h + d
    out = np.zeros(size)
    for k in range(size):
        update = sigmoid(from_x[k] + from_h[k])
        reset = sigmoid(from_x[size + k] + from_h[size + k])
        fresh = math.tanh(from_x[2 * size + k] + reset * from_h[2 * size + k])
        out[k] = (1 - update) * fresh + update * h[k]
    return out
