"""Models that were trained, as graphs: for our own plans, and as ONNX files for others.

A model is run once (`nets.layers.record`), what it did is written down as a graph (`writer`, with
the rules of `operators` and `images`), and the graph is compiled or written to a file (`export`).
"""

from nets.trace import images, operators
from nets.trace.convert import compile, to_graph
from nets.trace.export import export_onnx

__all__ = ["compile", "export_onnx", "images", "operators", "to_graph"]
