"""Graphs made fast: layers fused and placed in one block of memory, run without Python.

`lower` turns nodes into layers, `merge` joins thin ones, `arena` places their arrays, `program`
runs them; `Plan` holds it together for one size, `Model` for all.
"""

from nets.compiler import rules
from nets.compiler.model import Model, compile
from nets.compiler.plan import Plan

__all__ = ["Model", "Plan", "compile", "rules"]
