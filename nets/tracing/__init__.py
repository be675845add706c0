"""Trace models into graphs, for the compiler or an ONNX file.

`nets.nn.layers.record` records the ops of one forward pass, `nets.operators.writer` turns them into
graph nodes, and `convert` returns or compiles the graph.
"""

from nets.tracing.convert import compile, to_graph

__all__ = ["compile", "to_graph"]
