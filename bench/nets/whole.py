"""Whole networks against onnxruntime, PyTorch and OpenCV's dnn module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx

import nets
from bench.detection.competitors import constant_weights
from bench.harness.timing import Call, Case, several
from bench.nets import peers
from nets.compiler import Model
from nets.compiler.specialise import specialise
from nets.detectors.facenet import read_net
from nets.models import mobilenet_v2, resnet18
from nets.nn.layers import Conv2d, Module, ReLU, Sequential
from nets.onnx.reader import parse_graph
from vj.io.files import data_folder

DATA = data_folder()
FILES = {
    "YuNet-n": "yunet/yunet_n_dynamic.onnx",
    "SCRFD-500M": "scrfd/scrfd_500m_kps.onnx",
    "SCRFD-2.5G": "scrfd/scrfd_2.5g_kps.onnx",
    "Ultra-Light RFB": "ulfg/version-RFB-320_simplified.onnx",
}
SHIPPED = ("face-cnn", "face-fast", "face-tiny")
ABOUT = (
    "All take a ready float32 NCHW array and return their outputs. Peers at their best settings: "
    "constant weights (a file that also lists them as inputs is rewritten, or onnxruntime folds "
    "nothing), as many threads as ours, PyTorch traced and frozen. The detectors are the files of "
    "their authors (VJ_DATA) and those of this package; the other networks have random weights."
)


def plain() -> Module:
    """3x3 convolutions only: the network of a detector without depthwise layers."""
    layers: list[Module] = [Conv2d(3, 16, 3, 2, 1), ReLU()]
    width = 16
    for outputs, depth in ((32, 2), (64, 2), (64, 3), (64, 2)):
        for stride in (2, *[1] * depth):
            layers += [Conv2d(width, outputs, 3, stride, 1), ReLU()]
            width = outputs
    return Sequential(*layers, Conv2d(width, 16, 3, padding=1))


def networks() -> Iterator[tuple[str, Callable[[], onnx.ModelProto]]]:
    """Name and maker of every network."""
    for name, file in FILES.items():
        if (DATA / "ref_models" / file).is_file():
            for size in (320, 640):
                yield f"{name} @{size}", partial(resized, file, size)
    folder = Path(nets.__file__).parent / "data"
    for name in SHIPPED:
        net = read_net(folder / f"{name}.safetensors")
        yield f"{name} @320", partial(peers.exported, net, 320)
    for name, make, size in (
        ("plain 3x3", plain, 320), ("ResNet-18", resnet18, 224),
        ("MobileNet v2", partial(mobilenet_v2, dropout=0.0), 224),
    ):  # fmt: skip
        yield f"{name} @{size}", lambda make=make, size=size: peers.exported(make(), size)


def resized(file: str, size: int) -> onnx.ModelProto:
    """A reference model for square images, with its weights as constants only."""
    model = constant_weights(DATA / "ref_models" / file)
    shape = model.graph.input[0].type.tensor_type.shape
    for dim, n in zip(shape.dim, (1, 3, size, size), strict=True):
        dim.dim_value = n
    return model


def pytorch(data: bytes, feeds: dict, threads: int) -> dict[str, Call]:
    """The folded graph as torch functions, traced and frozen, in both memory formats."""
    import torch

    torch.set_num_threads(threads)
    special = specialise(parse_graph(data, "net"), {k: v.shape for k, v in feeds.items()})
    ((name, x),) = feeds.items()
    found = {}
    for label, form in peers.formats(torch).items():
        net = _torch_module(torch, special, name, form).eval()
        given = torch.from_numpy(x).to(memory_format=form)
        with torch.inference_mode():
            frozen = torch.jit.freeze(torch.jit.trace(net, given, check_trace=False))
        found[label] = peers.inference(torch, frozen, given)
    return found


def _torch_module(torch, special, name: str, form):
    f = torch.nn.functional

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for key, spec in special.specs.items():
                if spec.value is not None and spec.value.dtype == np.float32:
                    tensor = torch.from_numpy(np.array(spec.value))
                    if tensor.ndim == 4:
                        tensor = tensor.to(memory_format=form)
                    self.register_buffer(key.replace(".", "_"), tensor)

        def forward(self, x):
            env = {name: x}
            for node in special.nodes:
                args = [env.get(n, getattr(self, n.replace(".", "_"), None)) for n in node.inputs]
                env[node.outputs[0]] = _torch_node(torch, f, special, node, args)
            return tuple(env[at] for _, at in special.outputs)

    return Net()


def _torch_node(torch, f, special, node, args):
    kernel, strides = node.get("kernel_shape"), node.get("strides")
    pads = node.get("pads", [0] * 4)[:2]
    shape = special.specs[node.outputs[0]].shape
    x, (weight, bias) = args[0], (*args[1:3], None, None)[:2]
    return {
        "Conv": lambda: f.conv2d(x, weight, bias, strides, pads,
                                 node.get("dilations", [1, 1]), node.get("group", 1)),
        "BatchNormalization": lambda: f.batch_norm(x, *args[3:], weight, bias,
                                                   eps=node.get("epsilon", 1e-5)),
        "Slice": lambda: sliced(x, shape, *(special.specs[n].value for n in node.inputs[1:4])),
        "Relu": lambda: f.relu(x),
        "Clip": lambda: f.relu6(x),
        "Add": lambda: x + args[1],
        "Mul": lambda: x * args[1],
        "MaxPool": lambda: f.max_pool2d(x, kernel, strides, pads),
        "AveragePool": lambda: f.avg_pool2d(x, kernel, strides),
        "GlobalAveragePool": lambda: x.mean((2, 3), keepdim=True),
        "Resize": lambda: f.interpolate(x, size=shape[2:]),
        "Concat": lambda: torch.cat(args, node.get("axis")),
        "Sigmoid": lambda: torch.sigmoid(x),
        "Softmax": lambda: torch.softmax(x, node.get("axis", -1)),
        "Transpose": lambda: x.permute(*node.get("perm")),
        "Reshape": lambda: x.reshape(shape),
        "Flatten": lambda: x.flatten(1),
        "Gemm": lambda: f.linear(*args),
    }[node.op]()  # fmt: skip


def sliced(x, shape, starts, _, axes):
    for start, axis in zip(starts.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, start, shape[axis])
    return x


def calls(data: bytes, threads: int) -> dict[str, Call]:
    """Everything that can run the network."""
    ours = Model(parse_graph(data, "net"), n_jobs=threads)
    (port,) = ours.inputs
    shape = tuple(n if n > 0 else 1 for n in port.shape)
    feeds = {port.name: np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)}
    plan = ours.plan({port.name: shape})
    return {
        "vj": partial(ours.run, feeds),
        "vj, outputs in place": lambda: plan.execute(feeds),
        **peers.available(
            *(partial(peer, data, feeds, threads)
              for peer in (peers.onnxruntime, peers.opencv, pytorch))
        ),
    }  # fmt: skip


def cases(options) -> Iterator[Case]:
    for threads in options.threads or (1,):
        table = f"Whole networks, {threads} thread{'s' * (threads > 1)}"
        for name, make in networks():
            data = cache(lambda make=make: make().SerializeToString())
            yield Case(table, ABOUT, name, lambda data=data, n=threads: calls(data(), n),
                       flops=lambda data=data: peers.flops(data()), seconds=5,
                       **several(threads))  # fmt: skip
