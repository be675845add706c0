"""Linear, embedding, flatten and identity layers."""

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
        """Return the shape of a batch of vectors."""
        return batch, self.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., out_features) for an input (..., in_features)."""
        return convolution.linear(x, self.weight, self.bias)


class Embedding(Module):
    """Vector lookup for integer symbols, as ``torch.nn.Embedding``; from N(0, 1).

    Parameters
    ----------
    num_embeddings : int
        Number of symbols, integers from 0.
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
        """Return the shape of a batch of symbols."""
        return 1, batch

    def forward(self, index: ArrayLike) -> Tensor:
        """Return (..., embedding_dim) for integers of any shape."""
        return recurrent.embedding(self.weight, index=index)


class Flatten(Module):
    """Flatten all axes from the second on, in (C, H, W) order."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C H W) for an input (N, C, H, W)."""
        return x.reshape(len(x), -1)


class Identity(Module):
    """Layer that returns its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input tensor."""
        return x
