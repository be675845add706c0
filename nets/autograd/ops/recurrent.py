"""Embedding and recurrent layers: one layer, one direction, a whole sequence at a time.

The input projection is one matrix product for all steps; only the products with the previous state
are computed step by step. The backward pass is the same in reverse (backpropagation through time):
gradients of the gates step by step, those of the weights in one product.

Internally the layout is (T, H, N): each gate is one contiguous block, and the products with the
state read the weights in memory order.

Gates are in PyTorch's order: input, forget, cell, output for LSTM; reset, update, new for GRU.

References: Elman, Finding structure in time, 1990; Hochreiter & Schmidhuber, Long short-term
memory, 1997; Gers et al., Learning to forget, 2000; Cho et al., Learning phrase representations
using RNN encoder-decoder, 2014 (with the reset gate applied after the product, as in cuDNN).
"""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.activation import sigmoid_of
from nets.autograd.ops.matmul import product
from nets.autograd.tensor import Grads, Needs, Vjp, op
from nets.kernels import recurrent_training as kernels
from nets.runtime.memory import empty
from nets.runtime.threads import share_numbers
from vj.errors import NetError
from vj.kernels.jit import Kernel


@op
def embedding(weight: Array, *, index: Array) -> tuple[Array, Vjp]:
    """Look up row ``index[...]`` of ``weight`` for every entry.

    Parameters
    ----------
    weight : (words, size)
    index : int array of any shape

    Returns
    -------
    (*index.shape, size)

    Raises
    ------
    NetError
        An index is not an integer or is out of range.
    """
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise NetError(f"embedding: `index` must hold integers, got {index.dtype}")
    if index.size and not 0 <= index.min() <= index.max() < len(weight):
        bad = index.max() if index.max() >= len(weight) else index.min()
        raise NetError(f"embedding: `index` {bad} is out of range: weight has {len(weight)} rows")

    def vjp(g: Array, needs: Needs) -> Grads:
        back = np.zeros_like(weight)
        np.add.at(back, index.reshape(-1), g.reshape(-1, weight.shape[1]))
        return (back,)

    return weight[index], vjp


@op
def rnn(
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
    *,
    nonlinearity: str = "tanh",
) -> tuple[tuple[Array, Array], Vjp]:
    """Elman network, ``h = f(w_ih x + b_ih + w_hh h + b_hh)`` at every step.

    Parameters
    ----------
    x : (T, N, I)
    h0 : (N, H)
    w_ih, w_hh : (H, I), (H, H)
    b_ih, b_hh : (H,), optional
    nonlinearity : "tanh" or "relu"

    Returns
    -------
    y, h : (T, N, H), (N, H)
        States after every step, and the final one.

    Raises
    ------
    NetError
        Shapes do not match, or the nonlinearity is neither.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise NetError(f'rnn: `nonlinearity` must be "tanh" or "relu", not {nonlinearity!r}')
    _check("rnn", 1, x, h0, w_ih, w_hh, b_ih, b_hh)
    sums, y = _inputs(x, w_ih, b_ih, b_hh), _empty(x, len(x), *h0.T.shape)
    h = h0.T
    for t in range(len(x)):
        total = sums[t] + product(w_hh, h)
        h = y[t] = np.tanh(total) if nonlinearity == "tanh" else np.maximum(total, 0)

    def vjp(g: tuple[Array | None, Array | None], needs: Needs) -> Grads:
        to_sums, to_h, turned = _empty(sums, *sums.shape), _start(g[1], h0), _turned(w_hh)
        for t in reversed(range(len(x))):
            if g[0] is not None:
                to_h += g[0][t].T
            to_sums[t] = to_h * (1 - y[t] ** 2) if nonlinearity == "tanh" else to_h * ~(y[t] <= 0)
            to_h = product(turned, to_sums[t])
        return _to_arguments(x, h0, y, w_ih, to_sums, to_sums, to_h, needs)

    return _results(y), vjp


@op
def lstm(
    x: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
) -> tuple[tuple[Array, Array, Array], Vjp]:
    """Long short-term memory.

    Parameters
    ----------
    x : (T, N, I)
    h0, c0 : (N, H)
    w_ih, w_hh : (4 H, I), (4 H, H)
    b_ih, b_hh : (4 H,), optional

    Returns
    -------
    y, h, c : (T, N, H), (N, H), (N, H)
        Outputs of every step; final output and cell state.

    Raises
    ------
    NetError
        Shapes do not match.
    """
    _check("lstm", 4, x, h0, w_ih, w_hh, b_ih, b_hh)
    if c0.shape != h0.shape:
        raise NetError(f"lstm: c0 of shape {c0.shape} does not fit h0 of shape {h0.shape}")
    gates, y = _inputs(x, w_ih, b_ih, b_hh), _empty(x, len(x), *h0.T.shape)
    cells = _empty(x, len(x) + 1, *h0.T.shape)
    h, cells[0] = h0.T, c0.T
    for t in range(len(x)):
        _lstm_step(gates, product(w_hh, h), cells, y, t)
        h = y[t]

    def vjp(g: tuple[Array | None, Array | None, Array | None], needs: Needs) -> Grads:
        to_gates, turned = _empty(gates, *gates.shape), _turned(w_hh)
        to_h, to_c = _start(g[1], h0), _start(g[2], h0)
        for t in reversed(range(len(x))):
            if g[0] is not None:
                to_h += g[0][t].T
            _lstm_back(gates, cells, to_h, to_c, to_gates, t)
            to_h = product(turned, to_gates[t])
        found = _to_arguments(x, h0, y, w_ih, to_gates, to_gates, to_h, (*needs[:2], *needs[3:]))
        return (*found[:2], to_c.T, *found[2:])

    return (*_results(y), cells[-1].T.copy()), vjp


@op
def gru(
    x: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None = None,
    b_hh: Array | None = None,
) -> tuple[tuple[Array, Array], Vjp]:
    """Gated recurrent unit.

    Parameters
    ----------
    x : (T, N, I)
    h0 : (N, H)
    w_ih, w_hh : (3 H, I), (3 H, H)
    b_ih, b_hh : (3 H,), optional

    Returns
    -------
    y, h : (T, N, H), (N, H)
        States after every step, and the final one.

    Raises
    ------
    NetError
        Shapes do not match.
    """
    _check("gru", 3, x, h0, w_ih, w_hh, b_ih, b_hh)
    gates, y = _inputs(x, w_ih, b_ih, None), _empty(x, len(x), *h0.T.shape)
    more, first = _empty(gates, *gates.shape), np.ascontiguousarray(h0.T)
    h = first
    for t in range(len(x)):
        more[t] = product(w_hh, h)
        if b_hh is not None:
            more[t] += b_hh[:, None]
        _gru_step(gates, more, h, y, t)
        h = y[t]

    def vjp(g: tuple[Array | None, Array | None], needs: Needs) -> Grads:
        to_gates, to_more = _empty(gates, *gates.shape), _empty(gates, *gates.shape)
        to_h, turned = _start(g[1], h0), _turned(w_hh)
        for t in reversed(range(len(x))):
            if g[0] is not None:
                to_h += g[0][t].T
            _gru_back(gates, more, y[t - 1] if t else first, to_h, to_gates, to_more, t)
            to_h += product(turned, to_more[t])
        return _to_arguments(x, h0, y, w_ih, to_gates, to_more, to_h, needs)

    return _results(y), vjp


def _empty(like: Array, *shape: int) -> Array:
    """Allocate an array with the dtype of another."""
    return empty(*shape) if like.dtype == np.float32 else np.empty(shape, like.dtype)


def _results(y: Array) -> tuple[Array, Array]:
    """Return all states (T, N, H) and the final one (N, H)."""
    return y.transpose(0, 2, 1), y[-1].T.copy()


def _turned(w_hh: Array) -> Array:
    return np.ascontiguousarray(w_hh.T)


def _start(grad: Array | None, like: Array) -> Array:
    """Return a gradient (H, N) to accumulate into."""
    turned = like.T
    return np.zeros(turned.shape, like.dtype) if grad is None else np.array(grad.T, order="C")


def _inputs(x: Array, w_ih: Array, b_ih: Array | None, b_hh: Array | None) -> Array:
    """Return the contribution of the inputs of all steps to the gates (T, gates, N)."""
    steps, n, size = x.shape
    found = product(w_ih, x.reshape(-1, size).T).reshape(-1, steps, n)
    gates = _empty(x, steps, len(w_ih), n)
    gates[:] = found.transpose(1, 0, 2)
    biases = [b for b in (b_ih, b_hh) if b is not None]
    if biases:
        gates += sum(biases[1:], biases[0])[:, None]
    return gates


def _to_arguments(
    x: Array, h0: Array, y: Array, w_ih: Array, to_inputs: Array, to_hidden: Array, to_h0: Array,
    needs: Needs,
) -> Grads:  # fmt: skip
    """Return the gradients of x, h0, w_ih, w_hh, b_ih, b_hh from those of the gates."""
    of_input = _steps_inside(to_inputs)
    of_hidden = of_input if to_hidden is to_inputs else _steps_inside(to_hidden)
    before = np.concatenate([h0[None], y[:-1].transpose(0, 2, 1)]).reshape(-1, h0.shape[1])
    return (
        product(w_ih.T, of_input).T.reshape(x.shape) if needs[0] else None,
        to_h0.T if needs[1] else None,
        product(of_input, x.reshape(-1, x.shape[2])) if needs[2] else None,
        product(of_hidden, before) if needs[3] else None,
        *(a.sum(1) for a in (of_input, of_hidden)[: len(needs) - 4]),
    )


def _steps_inside(x: Array) -> Array:
    """Rearrange (T, K, N) to (K, T N)."""
    turned = _empty(x, x.shape[1], x.shape[0], x.shape[2])
    turned[:] = x.transpose(1, 0, 2)
    return turned.reshape(x.shape[1], -1)


def _check(
    name: str, gates: int, x: Array, h0: Array, w_ih: Array, w_hh: Array,
    b_ih: Array | None, b_hh: Array | None,
) -> None:  # fmt: skip
    if x.ndim != 3 or len(x) == 0:
        raise NetError(f"{name}: x must have shape (T, N, I) with T of at least 1, got {x.shape}")
    if h0.ndim != 2 or len(h0) != x.shape[1]:
        raise NetError(f"{name}: h0 must have shape ({x.shape[1]}, H), got {h0.shape}")
    rows, size = gates * h0.shape[1], h0.shape[1]
    wanted = {"w_ih": (rows, x.shape[2]), "w_hh": (rows, size), "b_ih": (rows,), "b_hh": (rows,)}
    for (key, shape), array in zip(wanted.items(), (w_ih, w_hh, b_ih, b_hh), strict=True):
        if array is not None and array.shape != shape:
            raise NetError(f"{name}: {key} must have shape {shape}, got {array.shape}")


# ---------------------------------------------------------- gates of one step
# Arrays as in `nets.kernels.recurrent_training`, but not flat: by its kernels in float32, by
# NumPy in float64, for gradient checks.


def _lstm_step(gates: Array, more: Array, cells: Array, y: Array, t: int) -> None:
    """Do the same as the kernel, for any precision."""
    if y.dtype == np.float32:
        return _run(kernels.lstm_step, y[t].size, t, gates, more, cells, y)
    gates[t] += more
    i, f, c, o = np.split(gates[t], 4)
    i[:], f[:], c[:], o[:] = sigmoid_of(i), sigmoid_of(f), np.tanh(c), sigmoid_of(o)
    cells[t + 1] = f * cells[t] + i * c
    y[t] = o * np.tanh(cells[t + 1])


def _lstm_back(
    gates: Array, cells: Array, to_h: Array, to_c: Array, to_gates: Array, t: int
) -> None:
    """Do the same as the kernel, for any precision."""
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


def _gru_step(gates: Array, more: Array, before: Array, y: Array, t: int) -> None:
    """Do the same as the kernel, for any precision."""
    if y.dtype == np.float32:
        return _run(kernels.gru_step, before.size, t, gates, more, before, y)
    (r, z, n), (hr, hz, hn) = np.split(gates[t], 3), np.split(more[t], 3)
    r[:], z[:] = sigmoid_of(r + hr), sigmoid_of(z + hz)
    n[:] = np.tanh(n + r * hn)
    y[t] = (1 - z) * n + z * before


def _gru_back(
    gates: Array, more: Array, before: Array, to_h: Array, to_gates: Array, to_more: Array, t: int
) -> None:
    """Do the same as the kernel, for any precision."""
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
    """Run a kernel on the ``size`` elements of step t; the arrays are C-contiguous."""
    flat = [a.reshape(-1) for a in arrays]
    share_numbers(kernel, *flat, t, size, size=size)
