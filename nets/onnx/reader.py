"""ONNX reader: files to graphs, fully validated before anything is computed.

The file is parsed by the ``onnx`` package (extra ``onnx``); nothing in it is executed, and no array
is allocated before its size has been checked against the bytes available.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nets.arrays import Array
from nets.compiler import Model
from nets.compiler.specialise import specialise
from nets.graph.ir import Graph, Node, Port
from nets.onnx.tensors import dtype_of, read_attribute, read_tensor
from nets.operators.evaluate import operator_of
from vj.errors import NetError
from vj.limits import ONNX_BYTES
from vj.records import shown

_STANDARD = ("", "ai.onnx")
_OPSETS = range(7, 29)


def load_onnx(
    path: str | os.PathLike[str],
    *,
    n_jobs: int = 1,
    algorithms: Mapping[str, str] | None = None,
) -> Model:
    """Load an ONNX file as a model that can be run and compiled.

    Parameters
    ----------
    path : str or path
        File of opset 7 or newer; external weight files must be in its folder or below.
    n_jobs : int
        Threads of each run; the result does not depend on it.
    algorithms : dict, optional
        Overrides of the convolution algorithm by layer name (as printed by `Model.describe`):
        "direct", "winograd2" or "winograd4".

    Returns
    -------
    Model
        ``model.run({name: array})`` takes and returns arrays in the graph's own layout.

    Raises
    ------
    NetError
        The file is missing, truncated or not an ONNX file, or the graph is malformed or uses
        unsupported features; the message names the file, the node and the reason.

    Examples
    --------
    >>> model = nets.load_onnx("face_detection_yunet.onnx")  # doctest: +SKIP
    >>> model.run({"input": np.zeros((1, 3, 480, 640), np.float32)})  # doctest: +SKIP
    """
    model = Model(read_graph(Path(path)), n_jobs=n_jobs, algorithms=algorithms)
    if all(port.shape is not None and min(port.shape, default=1) > 0 for port in model.inputs):
        specialise(model.graph, model.shapes())  # report errors now
    return model


def read_graph(path: Path) -> Graph:
    """Read and check an ONNX file."""
    try:
        if path.stat().st_size > ONNX_BYTES or not path.is_file():
            raise NetError(
                f"{path}: is not a file of at most {ONNX_BYTES / 1e9:.3g} GB, as ONNX files are"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: a null byte in the path
        raise NetError(f"{path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    return parse_graph(data, str(path), path.parent)


def parse_graph(data: bytes, source: str, folder: Path | None = None) -> Graph:
    """Check the bytes of an ONNX file; ``source`` names it in messages."""
    try:
        import onnx
    except ImportError as exc:
        raise NetError(
            f"{source}: reading ONNX files needs the onnx package: pip install onnx"
        ) from exc
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError, UnicodeDecodeError) as exc:
        raise NetError(f"{source}: is truncated or not an ONNX file ({exc})") from exc
    if not model.graph.node or not model.graph.output:
        raise NetError(f"{source}: holds no graph; it is empty or not an ONNX file")
    _refuse_bytes(source, model)
    return _Reader(source, folder, _opset(source, model)).graph(model.graph)


def _refuse_bytes(source: str, message: Any) -> None:
    """Refuse names that are not UTF-8: protobuf returns them as bytes, which match no string."""
    for field, value in message.ListFields():
        text = field.message_type is not None or field.type == field.TYPE_STRING
        if not text or field.name in ("doc_string", "metadata_props"):
            continue
        single = isinstance(value, str | bytes) or hasattr(value, "ListFields")
        for part in (value,) if single else value:
            if field.message_type is not None:
                _refuse_bytes(source, part)
            elif isinstance(part, bytes):
                raise NetError(f"{source}: `{field.name}` is not UTF-8: {shown(part)}")


def _opset(source: str, model: Any) -> int:
    versions = [o.version for o in model.opset_import if o.domain in _STANDARD]
    if not versions:
        raise NetError(f"{source}: declares no opset of the standard operators")
    if versions[0] not in _OPSETS:
        raise NetError(
            f"{source}: opset {versions[0]} is not supported; "
            f"{_OPSETS.start} to {_OPSETS.stop - 1} are: export it again or convert it"
        )
    return int(versions[0])


class _Reader:
    """Conversion of one file to a `Graph`."""

    def __init__(self, source: str, folder: Path | None, opset: int) -> None:
        self.source, self.folder, self.opset = source, folder, opset

    def graph(self, proto: Any) -> Graph:
        if proto.sparse_initializer:
            raise NetError(f"{self.source}: sparse weights are not supported")
        nodes = tuple(self.node(i, n) for i, n in enumerate(proto.node))
        constants: dict[str, Array] = {}
        for tensor in proto.initializer:
            if tensor.name in constants:
                raise NetError(f"{self.source}: two constants are called {tensor.name!r}")
            constants[tensor.name] = self.tensor(tensor)
        # Old exporters list the weights among the inputs.
        inputs = tuple(self.port(v) for v in proto.input if v.name not in constants)
        outputs = tuple(self.port(v) for v in proto.output)
        for what, ports in (("inputs", inputs), ("outputs", outputs)):
            if len({port.name for port in ports}) != len(ports):
                raise NetError(f"{self.source}: two {what} have the same name")
        for port in inputs:
            if port.dtype is None:
                raise NetError(f"{self.source}: the type of input {port.name!r} is missing")
        return Graph(self.source, inputs, outputs, nodes, constants).sorted()

    def node(self, index: int, proto: Any) -> Node:
        name = proto.name or f"#{index}"
        node = Node(proto.op_type, name, tuple(proto.input), tuple(proto.output), {}, self.opset)
        if proto.domain not in _STANDARD:
            raise NetError(
                f"{self.source}: {node}: operator {proto.domain}.{proto.op_type} is not supported"
            )
        operator_of(self.source, node)
        attrs = {}
        for attribute in proto.attribute:
            try:
                attrs[attribute.name] = read_attribute(attribute, self.folder)
            except NetError as exc:
                raise NetError(f"{self.source}: {node}: {exc}") from exc
        return Node(node.op, name, node.inputs, node.outputs, attrs, self.opset)

    def tensor(self, proto: Any) -> Array:
        try:
            return read_tensor(proto, self.folder)
        except NetError as exc:
            raise NetError(f"{self.source}: constant {proto.name!r}: {exc}") from exc

    def port(self, value: Any) -> Port:
        where = f"{self.source}: {value.name!r}"
        if value.type.WhichOneof("value") not in ("tensor_type", None):
            raise NetError(f"{where}: only arrays are supported, not sequences or maps")
        tensor = value.type.tensor_type
        if not tensor.elem_type:
            return Port(value.name)
        try:
            dtype = dtype_of(tensor.elem_type)
        except NetError as exc:
            raise NetError(f"{where}: {exc}") from exc
        if not tensor.HasField("shape"):
            return Port(value.name, dtype)
        dims = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
        if min(dims, default=0) < -1:
            raise NetError(f"{where}: the shape {dims} is impossible")
        return Port(value.name, dtype, tuple(n or -1 for n in dims))
