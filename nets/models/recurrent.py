"""Recurrent networks: a character-level language model and a sequence classifier.

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
    """Character-level language model: symbols to logits of the next symbol.

    Parameters
    ----------
    symbols : int
        Size of the vocabulary.
    hidden : int
        Size of the state and of the symbol embedding.
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
        """Return logits (T, N, symbols) of integers (T, N), and the final state."""
        y, state = self.rnn(self.embedding(index), state)
        return self.fc(y), state


class SequenceRNN(Module):
    """Sequence classification or regression from the last output.

    Parameters
    ----------
    inputs : int
        Features of each step.
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
        """Return (N, num_classes) for sequences (T, N, inputs)."""
        y, _ = self.rnn(x)
        return self.fc(y[-1])
