"""Recurrent nets: one that writes text letter by letter, and one that judges whole sequences.

References: Elman, Finding structure in time, 1990; Hochreiter & Schmidhuber, Long short-term
memory, 1997; Graves, Generating sequences with recurrent neural networks, 2013.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from nets.autograd.tensor import Tensor
from nets.nn.layers import GRU, LSTM, RNN, Embedding, Linear, Module
from nets.nn.layers.recurrent import Recurrent
from vj.errors import NetError

CELLS: dict[str, type[Recurrent]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


def _cell(name: str) -> type[Recurrent]:
    if name not in CELLS:
        raise NetError(f"`cell` must be one of {', '.join(CELLS)}, got {name!r}")
    return CELLS[name]


class CharRNN(Module):
    """Symbols to the odds of the next one.

    Parameters
    ----------
    symbols : int
        How many there are.
    hidden : int
        Numbers of the state, and of the vector of a symbol.
    num_layers : int
    cell : "rnn", "lstm" or "gru"
    dropout : float
        Between layers.
    """

    def __init__(
        self,
        symbols: int,
        hidden: int = 128,
        num_layers: int = 1,
        *,
        cell: str = "lstm",
        dropout: float = 0.0,
    ) -> None:
        self.embedding = Embedding(symbols, hidden)
        self.rnn = _cell(cell)(hidden, hidden, num_layers, dropout=dropout)
        self.fc = Linear(hidden, symbols)

    def forward(self, index: ArrayLike, state: Any = None) -> tuple[Tensor, Any]:
        """(T, N) whole numbers to (T, N, symbols) logits, and the state to go on with."""
        y, state = self.rnn(self.embedding(index), state)
        return self.fc(y), state


class SequenceRNN(Module):
    """Sequences of vectors to classes (or numbers), by the last output.

    Parameters
    ----------
    inputs : int
        Numbers of each step.
    num_classes : int
    hidden, num_layers : int
    cell : "rnn", "lstm" or "gru"
    """

    def __init__(
        self,
        inputs: int,
        num_classes: int,
        hidden: int = 64,
        num_layers: int = 1,
        *,
        cell: str = "lstm",
    ) -> None:
        self.rnn = _cell(cell)(inputs, hidden, num_layers)
        self.fc = Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, inputs) to (N, num_classes)."""
        y, _ = self.rnn(x)
        return self.fc(y[-1])
