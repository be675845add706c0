"""Run a model once and write down what it did as a graph, for the compiler or an ONNX file.

`nets.nn.layers.record` records the operations of one forward pass, `writer` turns them into graph
nodes by the rules of `operators` and `images`, and `convert` returns the graph or compiles it.
"""

from nets.tracing import images, operators
from nets.tracing.convert import compile, to_graph

__all__ = ["compile", "images", "operators", "to_graph"]
