"""Small ONNX models for the tests."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from nets.compiler import Model
from nets.onnx.reader import parse_graph

FLOAT = TensorProto.FLOAT


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, name=f"{op}->{outputs[0]}", **attrs)


def proto(nodes, inputs, outputs, constants=None, opset=17):
    initializers = [
        numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def model(*args, n_jobs=1, algorithms=None, **kwargs):
    data = proto(*args, **kwargs).SerializeToString()
    return Model(parse_graph(data, "test.onnx"), n_jobs=n_jobs, algorithms=algorithms)


def reference(message, feeds):
    """What onnxruntime says."""
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    session = ort.InferenceSession(message.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def conv_net(rng, channels=8):
    """A convolution, batch normalisation, relu; used where any valid graph will do."""
    constants = {
        "w": rng.standard_normal((channels, 3, 3, 3)).astype("f4"),
        "b": rng.standard_normal(channels).astype("f4"),
        **{k: rng.uniform(0.5, 1.5, channels).astype("f4") for k in ("s", "o", "m", "v")},
    }
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "s", "o", "m", "v"], ["n"]),
        node("Relu", ["n"], ["y"]),
    ]
    return nodes, [value("x", ["n", 3, "h", "w"])], [value("y", None)], constants


def plain(net, feeds):
    """Run a model node by node on NumPy operators: the general tier as an oracle."""
    from nets.operators.evaluate import evaluate

    arrays = {**net.graph.constants, **feeds}
    for item in net.graph.nodes:
        inputs = [arrays[name] if name else None for name in item.inputs]
        arrays.update(zip(item.outputs, evaluate("test", item, inputs), strict=False))
    return {port.name: arrays[port.name] for port in net.outputs}
