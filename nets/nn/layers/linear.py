"""Layers of vectors: linear, embedding, and the change from maps to vectors."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from nets.autograd.ops import convolution, recurrent
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.pairs import count


class Linear(Module):
    """``x @ weight.T + bias``, as ``torch.nn.Linear``; weights from U(-b, b), b = 1 / sqrt(in).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool

    Attributes
    ----------
    weight : (out_features, in_features)
    bias : (out_features,) or None
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features = count("in_features", in_features)
        self.out_features = count("out_features", out_features)
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(init.uniform((out_features, in_features), bound))
        self.bias = Parameter(init.uniform((out_features,), bound)) if bias else None

    def input_shape(self, size: tuple[int, int] | None, batch: int) -> tuple[int, ...]:
        """Vectors."""
        return batch, self.in_features

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return convolution.linear(x, self.weight, self.bias)


class Embedding(Module):
    """A vector for each symbol, as ``torch.nn.Embedding``; from N(0, 1).

    Parameters
    ----------
    num_embeddings : int
        Symbols, which are whole numbers from 0 on.
    embedding_dim : int

    Attributes
    ----------
    weight : (num_embeddings, embedding_dim)
    """

    input_dtype = np.int64

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.num_embeddings = count("num_embeddings", num_embeddings)
        self.embedding_dim = count("embedding_dim", embedding_dim)
        self.weight = Parameter(init.normal((num_embeddings, embedding_dim), 1.0))

    def input_shape(self, size: tuple[int, int] | None, batch: int) -> tuple[int, ...]:
        """One symbol."""
        return 1, batch

    def forward(self, index: ArrayLike) -> Tensor:
        """Whole numbers of any shape to (..., embedding_dim)."""
        return recurrent.embedding(self.weight, index=index)


class Flatten(Module):
    """All axes from the second one on become one, read in (C, H, W) order."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C H W)."""
        return x.reshape(len(x), -1)


class Identity(Module):
    """What stands where nothing is to happen."""

    def forward(self, x: Tensor) -> Tensor:
        """The same tensor."""
        return x
