"""Graphs made fast: layers fused and placed in one block of memory, run without Python.

`lower` turns nodes into layers, `merge` joins thin ones, `arena` places their arrays, `program`
runs them; `Plan` holds it together for one size, `Model` for all.
"""

from nets.plan import rules
from nets.plan.model import Model, compile
from nets.plan.plan import Plan

__all__ = ["Model", "Plan", "compile", "rules"]
