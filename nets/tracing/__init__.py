"""Run a model once and write down what it did as a graph, for the compiler or an ONNX file.

`nets.nn.layers.record` records the operations of one forward pass and `nets.operators.writer`
turns them into graph nodes; `convert` returns the graph or compiles it.
"""

from nets.tracing.convert import compile, to_graph

__all__ = ["compile", "to_graph"]
