"""Operators: NumPy definition, lowering to layers and ONNX export.

One file for each family of operators, in three sections. Functions marked

- `operator` (`base`) compute an ONNX operator in NumPy, for any rank and dtype, and infer the
  shapes of its outputs: whole networks can run on these alone;
- `lowers` (`lowering`) turn a node into a `Layer` (`layer`), which calls compiled kernels;
- `exports` (`writer`) write the ONNX nodes of a recorded autograd op.

The functions of a family are registered when this package is imported.
"""

from nets.operators import (
    activation,
    arithmetic,
    boxes,
    gather,
    layout,
    linear,
    normalisation,
    pieces,
    pooling,
    recurrent,
    reduction,
    resize,
    softmax,
)
from nets.operators.base import OPERATORS, Operator
from nets.operators.convolution import operator as conv
from nets.operators.convolution.merge import merge_siblings
from nets.operators.lowering import LOWERINGS
from nets.operators.writer import EXPORTS

PASSES = (merge_siblings,)  # passes over the layers once all nodes are lowered
FAMILIES = (
    activation, arithmetic, boxes, conv, gather, layout, linear, normalisation, pieces, pooling,
    recurrent, reduction, resize, softmax,
)  # fmt: skip

__all__ = ["EXPORTS", "FAMILIES", "LOWERINGS", "OPERATORS", "PASSES", "Operator"]
