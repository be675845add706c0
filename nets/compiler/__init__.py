"""Graph compiler: fuses layers, plans memory and runs the kernels without Python.

`specialise` infers all shapes for one set of input shapes, `nets.operators` lowers nodes to layers,
`arena` places their arrays and `program` runs their kernels; `Plan` combines these for one set of
input shapes, `Model` caches plans for all.
"""

from nets.compiler.model import Model, compile
from nets.compiler.plan import Plan

__all__ = ["Model", "Plan", "compile"]
