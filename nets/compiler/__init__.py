"""Graphs made fast: layers fused and placed in one block of memory, run without Python.

`specialise` works out all shapes for one set of input shapes, `nets.operators` turns nodes into
layers, `arena` places their arrays and `program` runs their kernels; `Plan` holds this together
for one set of shapes, `Model` for all.
"""

from nets.compiler.model import Model, compile
from nets.compiler.plan import Plan

__all__ = ["Model", "Plan", "compile"]
