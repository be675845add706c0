"""RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.recording import Call
from nets.graph.ir import Node
from nets.graph.spec import Spec
from nets.operators.activation import sigmoid, softplus
from nets.operators.base import need_rank, operator, text
from nets.operators.writer import Result, Writer, exports
from vj.errors import NetError

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


Function = Callable[[Array], Array]


def _functions(alpha: float | None, beta: float | None) -> dict[str, Function]:
    def a(default: float) -> float:
        return default if alpha is None else alpha

    def b(default: float) -> float:
        return default if beta is None else beta

    return {
        "Affine": lambda x: a(1.0) * x + b(0.0),
        "Elu": lambda x: np.where(x > 0, x, a(1.0) * np.expm1(np.minimum(x, 0))),
        "HardSigmoid": lambda x: np.clip(a(0.2) * x + b(0.5), 0, 1),
        "LeakyRelu": lambda x: np.where(x < 0, a(0.01) * x, x),
        "Relu": lambda x: np.maximum(x, 0),
        "ScaledTanh": lambda x: a(1.0) * np.tanh(b(1.0) * x),
        "Sigmoid": sigmoid,
        "Softplus": softplus,
        "Softsign": lambda x: x / (1 + np.abs(x)),
        "Tanh": np.tanh,
        "ThresholdedRelu": lambda x: np.where(x > a(1.0), x, 0),
    }


def _activations(node: Node, directions: int) -> list[list[Function]]:
    names = [
        n.decode(errors="replace") if isinstance(n, bytes) else str(n)
        for n in node.get("activations", DEFAULTS[node.op] * directions)
    ]
    each = len(DEFAULTS[node.op])
    if len(names) != each * directions:
        raise NetError(f"`activations` must name {each * directions} functions, got {names}")
    alphas, betas = list(node.get("activation_alpha", [])), list(node.get("activation_beta", []))
    found = []
    for i, name in enumerate(names):
        table = _functions(
            alphas[i] if i < len(alphas) else None, betas[i] if i < len(betas) else None
        )
        by_lower = {key.lower(): function for key, function in table.items()}
        if name.lower() not in by_lower:
            raise NetError(f"activation {name!r} is unknown")
        found.append(by_lower[name.lower()])
    return [found[d * each : (d + 1) * each] for d in range(directions)]


def _infer(node: Node, x: Spec, w: Spec, r: Spec, *rest: Spec | None) -> list[Spec]:
    for what, spec in (("X", x), ("W", w), ("R", r)):
        need_rank(spec, 3, 3, what)
    hidden, directions, gates = r.dims[2], w.dims[0], GATES[node.op]
    wanted = 2 if text(node, "direction", "forward") == "bidirectional" else 1
    layout = int(node.get("layout", 0))
    length, batch = x.dims[1 if layout else 0], x.dims[0 if layout else 1]
    if w.dims != (wanted, gates * hidden, x.dims[2]):
        raise NetError(f"W must have shape {(wanted, gates * hidden, x.dims[2])}, got {w.dims}")
    if r.dims != (wanted, gates * hidden, hidden):
        raise NetError(f"R must have shape {(wanted, gates * hidden, hidden)}, got {r.dims}")
    bias = rest[0] if rest else None
    if bias is not None and bias.dims != (wanted, 2 * gates * hidden):
        raise NetError(f"B must have shape {(wanted, 2 * gates * hidden)}, got {bias.dims}")
    sequence = (length, directions, batch, hidden)
    last = (directions, batch, hidden)
    if layout:
        sequence, last = (batch, length, directions, hidden), (batch, directions, hidden)
    return [Spec(sequence, x.dtype), Spec(last, x.dtype), Spec(last, x.dtype)]


class _Direction:
    """One direction of one layer: its weights, and one step of each kind of cell."""

    def __init__(
        self, node: Node, w: Array, r: Array, bias: Array, peep: Array, functions: list[Function]
    ) -> None:
        peep = np.ascontiguousarray(peep)
        self.w, self.r, self.size, self.functions = w, r, r.shape[-1], functions
        half = len(bias) // 2
        self.bias_x, self.bias_h = bias[:half], bias[half:]
        self.peep = peep.reshape(3, self.size)
        self.clip = node.get("clip")
        self.coupled = bool(node.get("input_forget", 0))
        self.late_reset = bool(node.get("linear_before_reset", 0))
        usual = functions in ([sigmoid, np.tanh, np.tanh], [sigmoid, np.tanh])
        usual = usual and self.clip is None and not self.coupled and w.dtype == np.float32
        self.compiled = usual and (node.op == "LSTM" or (node.op == "GRU" and self.late_reset))
        self.step = {"RNN": self.rnn, "GRU": self.gru, "LSTM": self.lstm}[node.op]

    def limit(self, x: Array) -> Array:
        return x if self.clip is None else np.clip(x, -self.clip, self.clip)

    def gate(self, x: Array, k: int) -> Array:
        return x[:, k * self.size : (k + 1) * self.size]

    def rnn(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        return self.functions[0](self.limit(x + h @ self.r.T + self.bias_h)), c

    def gru(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Run a GRU step (Cho et al., 2014); gates are update, reset, hidden."""
        f, g = self.functions
        size = self.size
        both = x[:, : 2 * size] + h @ self.r[: 2 * size].T + self.bias_h[: 2 * size]
        update, reset = f(self.limit(self.gate(both, 0))), f(self.limit(self.gate(both, 1)))
        matrix, bias = self.r[2 * size :].T, self.bias_h[2 * size :]
        if self.late_reset:
            inner = reset * (h @ matrix + bias)
        else:
            inner = (reset * h) @ matrix + bias
        fresh = g(self.limit(self.gate(x, 2) + inner))
        return (1 - update) * fresh + update * h, c

    def lstm(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Run a peephole LSTM step (Hochreiter & Schmidhuber, 1997); gates in order i, o, f, c."""
        f, g, out = self.functions
        gates = x + h @ self.r.T + self.bias_h
        p = self.peep
        enter = f(self.limit(self.gate(gates, 0) + p[0] * c))
        keep = 1 - enter if self.coupled else f(self.limit(self.gate(gates, 2) + p[2] * c))
        cell = keep * c + enter * g(self.limit(self.gate(gates, 3)))
        leave = f(self.limit(self.gate(gates, 1) + p[1] * cell))
        return leave * out(cell), cell

    def advance(self, rows: Array, h: Array, c: Array, lengths: Array, step: int) -> Any:
        """Run one step of the sequences that have not ended."""
        if self.compiled:
            from nets.kernels import recurrent

            products = h @ self.r.T + self.bias_h
            if len(self.functions) == 3:
                recurrent.lstm_gates(rows + products, self.peep.ravel(), lengths, step, h, c)
            else:
                recurrent.gru_gates(rows, products, lengths, step, h)
            return h, c
        alive = (step < lengths)[:, None]
        new_h, new_c = self.step(rows, h, c)
        return np.where(alive, new_h, h), np.where(alive, new_c, c)

    def run(self, x: Array, lengths: Array, h: Array, c: Array, back: bool) -> Any:
        """Run all steps; sequences that have ended keep their state and write zeros."""
        steps, batch = x.shape[:2]
        h, c = h.copy(), c.copy()
        inputs = x @ self.w.T + self.bias_x
        out = np.zeros((steps, batch, self.size), x.dtype)
        for step in range(steps):
            # In reverse each sequence starts at its own last entry.
            at = np.where(back, lengths - 1 - step, step)
            rows = inputs[np.maximum(at, 0), np.arange(batch)]
            h, c = self.advance(rows, h, c, lengths, step)
            live = np.flatnonzero(step < lengths)
            out[at[live], live] = h[live]
        return out, h, c


@operator("RNN", "GRU", infer=_infer, inputs=(3, 6), kinds="f")
@operator("LSTM", infer=_infer, inputs=(3, 8), kinds="f")
def recurrent(
    node: Node,
    x: Array,
    w: Array,
    r: Array,
    b: Array | None = None,
    lengths: Array | None = None,
    h0: Array | None = None,
    c0: Array | None = None,
    p: Array | None = None,
) -> list[Array]:
    """Run whole sequences in one or two directions."""
    layout, directions, hidden = int(node.get("layout", 0)), w.shape[0], r.shape[2]
    if layout:
        x = x.swapaxes(0, 1)
        h0, c0 = (None if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    steps, batch = x.shape[:2]
    ends = np.full(batch, steps, np.int64) if lengths is None else lengths.astype(np.int64)
    if ends.shape != (batch,) or (batch and not 0 <= ends.min() <= ends.max() <= steps):
        raise NetError(f"`sequence_lens` must be {batch} integers from 0 to {steps}")
    zeros = np.zeros((directions, batch, hidden), x.dtype)
    functions = _activations(node, directions)
    reverse = text(node, "direction", "forward") == "reverse"
    runs = []
    for d in range(directions):
        bias = np.zeros(2 * w.shape[1], x.dtype) if b is None else b[d]
        peep = np.zeros(3 * hidden, x.dtype) if p is None else p[d]
        cell = _Direction(node, w[d], r[d], bias, peep, functions[d])
        first_h, first_c = (zeros if s is None else s for s in (h0, c0))
        runs.append(cell.run(x, ends, first_h[d], first_c[d], reverse or d == 1))
    sequence, last_h, last_c = (np.stack(parts) for parts in zip(*runs, strict=True))
    sequence = sequence.transpose(1, 0, 2, 3)
    if layout:
        sequence = sequence.transpose(2, 0, 1, 3)
        last_h, last_c = last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
    outs = [a.astype(x.dtype) for a in (sequence, last_h, last_c)]
    return outs[: max(1, len(node.outputs))]


# --------------------------------------------------------------------------------------- exported


ORDER = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # in ONNX's order


@exports(*ORDER)
def export_recurrent(w: Writer, call: Call) -> Result:
    """Export a unidirectional cell; the direction axis is added and removed."""
    n = 2 if call.op == "lstm" else 1
    states, tensors = call.inputs[1 : 1 + n], call.inputs[1 + n :]
    weights = [_gates(call.op, x.data) for x in tensors[:2]]
    bias = [""]
    if w.given(call, 3 + n):
        both = [_gates(call.op, x.data) for x in tensors[2:]]
        bias = [w.constant(np.concatenate(both, axis=1))]
    first = w.constant(np.array([0], np.int64))
    begin = [_state(w, x, first) for x in states]
    attrs: dict[str, Any] = {"hidden_size": int(states[0].shape[1])}
    if call.op == "gru":
        attrs["linear_before_reset"] = 1
    if call.options.get("nonlinearity", "tanh") == "relu":
        attrs["activations"] = [b"Relu"]
    inputs = [w.of(call.inputs[0]), *map(w.constant, weights), *bias, "", *begin]
    y = w.emit(call.op.upper(), *inputs, results=1 + n, **attrs)
    axis = w.constant(np.array([1], np.int64))
    last = [w.emit("Squeeze", f"{y}/{i}", first) for i in range(1, 1 + n)]
    return [w.emit("Squeeze", y, axis), *last]


def _gates(op: str, array: Array) -> Array:
    """Return the gates in ONNX order, with a leading direction axis."""
    parts = np.split(array, len(ORDER[op]))
    return np.concatenate([parts[i] for i in ORDER[op]])[None]


def _state(w: Writer, state: Any, first: str) -> str:
    """Return the initial state; zeros are omitted, which follows the batch size."""
    if id(state.data) not in w.known and not state.data.any():
        return ""
    return w.emit("Unsqueeze", w.of(state), first)
