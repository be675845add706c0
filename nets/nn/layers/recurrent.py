"""Recurrent layers: stacked cells, in one direction or both."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nets.autograd.ops import activation, arithmetic, recurrent
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.pairs import Pair, count, share
from vj.errors import NetError


class Recurrent(Module):
    """Base class of `RNN`, `LSTM` and `GRU`; weights from U(-b, b), b = 1 / sqrt(hidden).

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Each layer takes the outputs of the one below.
    bias : bool
    batch_first : bool
        If True, sequences are (N, T, ...) instead of (T, N, ...); states are not affected.
    dropout : float
        Probability, between layers.
    bidirectional : bool
        If True, a second cell in each layer reads backwards; outputs are concatenated.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, ... : Parameter
        Gates are stacked in PyTorch's order; the suffix ``_reverse`` marks backward cells.
    """

    gates = 1
    n_states = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        self.input_size = count("input_size", input_size)
        self.hidden_size = count("hidden_size", hidden_size)
        self.num_layers = count("num_layers", num_layers)
        self.batch_first, self.bidirectional = batch_first, bidirectional
        self._ends = ("", "_reverse") if bidirectional else ("",)
        self.dropout, self.generator = share("dropout", dropout), init.child()
        rows, bound = self.gates * hidden_size, 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size * len(self._ends)
            for end in self._ends:
                self._draw(f"_l{layer}{end}", (rows, inputs), (rows, hidden_size), bound, bias)

    def _draw(self, end: str, of_input: Pair, of_hidden: Pair, bound: float, bias: bool) -> None:
        for name, shape in (("ih", of_input), ("hh", of_hidden)):
            setattr(self, f"weight_{name}{end}", Parameter(init.uniform(shape, bound)))
        for name in ("ih", "hh"):
            learnt = Parameter(init.uniform(of_hidden[:1], bound)) if bias else None
            setattr(self, f"bias_{name}{end}", learnt)

    def input_shape(self, size: tuple[int, int] | None, batch: int) -> tuple[int, ...]:
        """Return the shape of a sequence of one step."""
        return (batch, 1, self.input_size) if self.batch_first else (1, batch, self.input_size)

    def cell(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Run one cell over a sequence; return the outputs of all steps and the final states."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run the layer over sequences.

        Parameters
        ----------
        x : (T, N, input_size)
            Or (N, T, input_size) with ``batch_first``, or (T, input_size) for a single sequence.
        state : (layers * directions, N, hidden_size), optional
            Initial state, a pair for `LSTM`; zeros by default.

        Returns
        -------
        (outputs, state)
            Outputs of the last layer for all steps, and the final states of all layers.
        """
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            raise NetError(
                f"{type(self).__name__} of {self.input_size} inputs does not take an input of "
                f"shape {x.shape}"
            )
        single = x.ndim == 2
        given = () if state is None else state if self.n_states > 1 else (state,)
        if single:
            x = x.reshape(len(x), 1, self.input_size)
            given = tuple(s.reshape(len(s), 1, self.hidden_size) for s in given)
        elif self.batch_first:
            x = x.permute(1, 0, 2)
        y, states = self._layers(x, given or self._zeros(x.shape[1]))
        if single:
            y = y.reshape(len(y), -1)
            states = [s.reshape(len(s), self.hidden_size) for s in states]
        elif self.batch_first:
            y = y.permute(1, 0, 2)
        return y, tuple(states) if self.n_states > 1 else states[0]

    def _layers(self, x: Tensor, states: Any) -> tuple[Tensor, list[Tensor]]:
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            sides = []
            for end in self._ends:
                begin = [state[len(last)] for state in states]
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                weights = [getattr(self, f"{name}_l{layer}{end}") for name in names]
                y, *final = self.cell(x[::-1] if end else x, *begin, *weights)
                sides.append(y[::-1] if end else y)
                last.append(tuple(final))
            x = arithmetic.concat(*sides, axis=2) if len(sides) > 1 else sides[0]
            if layer < self.num_layers - 1 and self.dropout and self.training:
                x = activation.dropout(x, p=self.dropout, rng=self.generator)
        return x, [arithmetic.stack(*each) for each in zip(*last, strict=True)]

    def _zeros(self, batch: int) -> tuple[Any, ...]:
        zeros = np.zeros((self.num_layers * len(self._ends), batch, self.hidden_size), np.float32)
        return (zeros,) * self.n_states


class RNN(Recurrent):
    """Elman's network, as ``torch.nn.RNN``: `Recurrent` and a nonlinearity, "tanh" or "relu"."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        )
        self.nonlinearity = nonlinearity

    def cell(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return (y, h)."""
        return recurrent.rnn(*arguments, nonlinearity=self.nonlinearity)


class LSTM(Recurrent):
    """Long short-term memory, as ``torch.nn.LSTM``; its state is the pair (h, c)."""

    gates, n_states = 4, 2

    def cell(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return (y, h, c)."""
        return recurrent.lstm(*arguments)


class GRU(Recurrent):
    """Gated recurrent units, as ``torch.nn.GRU``."""

    gates = 3

    def cell(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Return (y, h)."""
        return recurrent.gru(*arguments)
