"""ONNX writer: graphs to files."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from nets.graph.ir import Graph, Port
from nets.nn.layers.module import Module
from nets.onnx.tensors import DTYPES
from nets.operators.writer import OPSET
from nets.tracing.convert import graph_of
from vj.errors import NetError
from vj.io.files import replacing

IR_VERSION = 8  # of opset 17
LIMIT = 2_000_000_000  # bytes; a protobuf message holds at most 2 GiB
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}


def export_onnx(
    model: Module,
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    *,
    batch: int = 1,
    example: Any = None,
    dynamic: Collection[str | int] = (),
) -> None:
    """Export a model to an ONNX file (opset 17).

    Parameters
    ----------
    model, size, batch, example, dynamic
        As for `nets.tracing.to_graph`.
    path : str or path
        Of the file, which is renamed into place when complete.

    Raises
    ------
    NetError
        The onnx package is missing, or the model cannot be traced or is larger than 2 GB.
    SinkError
        The file cannot be written.

    Examples
    --------
    >>> nets.export_onnx(model, "net.onnx", (224, 224), dynamic=["batch"])  # doctest: +SKIP
    """
    graph = graph_of(model, size, batch, example, dynamic, OPSET)
    total = sum(a.nbytes for a in graph.constants.values())
    if total > LIMIT:
        raise NetError(f"{path}: {total / 1e9:.1f} GB of weights exceed an ONNX file's 2 GB")
    data = to_onnx(graph).SerializeToString()
    with replacing(path) as file:
        file.write(data)


def to_onnx(graph: Graph) -> Any:
    """Return the message (``onnx.ModelProto``) of a graph of opset 17."""
    try:
        from onnx import helper, numpy_helper
    except ImportError as exc:
        raise NetError("writing ONNX files needs the onnx package: pip install onnx") from exc
    used = {name for node in graph.nodes for name in node.inputs}

    def value(port: Port) -> Any:
        assert port.dtype is not None
        shape = [None if n == -1 else n for n in port.shape or ()]
        return helper.make_tensor_value_info(port.name, NUMBERS[port.dtype], shape)

    body = helper.make_graph(
        [helper.make_node(n.op, n.inputs, n.outputs, name=n.name, **n.attrs) for n in graph.nodes],
        graph.source,
        [value(port) for port in graph.inputs],
        [value(port) for port in graph.outputs],
        [numpy_helper.from_array(a, name) for name, a in graph.constants.items() if name in used],
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(
        body, opset_imports=[opset], ir_version=IR_VERSION, producer_name="vj-detect"
    )
