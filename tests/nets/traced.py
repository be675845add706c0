"""What a model gives on the tape, in a plan, in onnxruntime and in OpenCV."""

import numpy as np

import nets
from nets.compiler import Model
from nets.nn.layers.record import record


def lively(model, seed=0):
    """Running moments and zero weights as after some training."""
    rng = np.random.default_rng(seed)
    for name, buffer in model.named_buffers():
        if "running" in name:
            low = 0.5 if "var" in name else -0.5
            buffer[...] = rng.uniform(low, low + 1, buffer.shape)
    for _, parameter in model.named_parameters():
        if not parameter.data.any():
            parameter.data = 0.1 * rng.standard_normal(parameter.shape, np.float32)
    return model.eval()


def by_tape(model, x):
    """All results by name."""
    return {name: y.numpy() for name, y in record(model, x).outputs.items()}


def by_plan(model, x, size=None, **options):
    plan = nets.compile(model, size, batch=len(x), **options)
    return plan.run({"input": x})


def by_graph(graph, x):
    return Model(graph).run({"input": x})


def by_onnxruntime(path, x):
    import onnx
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert not {i.name for i in proto.graph.input} & {i.name for i in proto.graph.initializer}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


def by_opencv(path, x, want):
    """Its arrays have two axes at least, so shapes are those of ``want``."""
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    found = zip(want.items(), net.forward(list(want)), strict=True)
    return {name: y.reshape(like.shape) for (name, like), y in found}


def same(got, want, tolerance=1e-4):
    """The same names, shapes, and numbers within a share of the largest."""
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].shape == array.shape, name
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(got[name], array, atol=tolerance * scale, rtol=0, err_msg=name)


def noise(*shape):
    return np.random.default_rng(9).standard_normal(shape, np.float32)
