"""The other engines, at their best settings, and the graphs they are given."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import nets
from bench.harness.timing import Call
from nets.compiler import Model
from nets.nn.layers import Module
from nets.onnx.reader import parse_graph


def available(*makers: Callable[[], dict[str, Call]]) -> dict[str, Call]:
    """The calls of those that are installed and can read the graph; says which cannot."""
    found: dict[str, Call] = {}
    for make in makers:
        try:
            found |= make()
        except Exception as exc:
            what = getattr(make, "func", make).__name__
            print(f"  left out: {what}: {type(exc).__name__} {str(exc).splitlines()[0][:80]}")
    return found


def exported(model: Module, size: int) -> onnx.ModelProto:
    """A model of ours as an ONNX graph for square images."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        nets.export_onnx(model, path, (size, size))
        return onnx.load(path)


def flops(data: bytes) -> float:
    """Floating-point operations of a graph."""
    model = Model(parse_graph(data, "net"))
    return 2.0 * sum(layer.macs() for layer in model.plan(model.shapes()).layers)


def onnxruntime(model: bytes, feeds: dict[str, Any], threads: int) -> dict[str, Call]:
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return {"onnxruntime": lambda: session.run(None, feeds)}


def opencv(model: bytes, feeds: dict[str, Any], threads: int) -> dict[str, Call]:
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    names = net.getUnconnectedOutLayersNames()
    (x,) = feeds.values()

    def run() -> object:
        net.setInput(x)
        return net.forward(names)

    return {"cv2.dnn": run}


def formats(torch) -> dict[str, Any]:
    """PyTorch's memory formats by the name of the competitor."""
    return {"torch": torch.contiguous_format, "torch NHWC": torch.channels_last}


def inference(torch, net, x) -> Call:
    def run() -> object:
        with torch.inference_mode():
            return net(x)

    return run
