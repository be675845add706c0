"""What each operator computes and which shape comes out: NumPy, any rank, any number type.

The whole of a network can run on these; `nets.compiler` replaces what it has a faster kernel for.
"""

from nets.graph.operators import (
    boxes,
    convolve,
    elementwise,
    layout,
    linear,
    normalise,
    pieces,
    pooling,
    recurrent,
    reduce,
    resize,
)
from nets.graph.operators.base import OPERATORS, Operator, Spec, UnknownError

__all__ = [
    "OPERATORS",
    "Operator",
    "Spec",
    "UnknownError",
    "boxes",
    "convolve",
    "elementwise",
    "layout",
    "linear",
    "normalise",
    "pieces",
    "pooling",
    "recurrent",
    "reduce",
    "resize",
]
