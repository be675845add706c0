"""Static knowledge of the arrays of a graph: shapes, dtypes, constant values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.graph.ir import Node, Port


@dataclass(frozen=True, slots=True)
class Spec:
    """Static knowledge of an array.

    ``shape`` is None if it depends on data; ``value`` is the array itself if it is constant.
    """

    shape: tuple[int, ...] | None
    dtype: np.dtype[Any]
    value: Array | None = None

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape, which must be known."""
        if self.shape is None:
            raise UnknownError
        return self.shape

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.dims)

    @property
    def nbytes(self) -> int:
        """Size in bytes, in Python integers, so that absurd shapes do not overflow."""
        size = self.dtype.itemsize
        for n in self.dims:
            size *= n
        return size

    @property
    def known(self) -> Array:
        """The value, which must be constant."""
        if self.value is None:
            raise UnknownError
        return self.value


class UnknownError(Exception):
    """The shape of an output depends on a value known only at run time."""


@dataclass(frozen=True, slots=True)
class Special:
    """A graph specialised to one set of input shapes, with aliases resolved.

    ``specs`` covers every array; ``nodes`` run in order. An output may be a constant or an input.
    """

    source: str
    inputs: tuple[Port, ...]
    outputs: tuple[tuple[str, str], ...]  # (name in the graph, array that holds it)
    nodes: tuple[Node, ...]
    specs: dict[str, Spec]
