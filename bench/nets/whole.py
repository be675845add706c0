"""Whole networks against onnxruntime, PyTorch and OpenCV's dnn module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.harness.timing import Call, Case, several
from bench.nets import peers
from nets.compiler import Model
from nets.compiler.specialise import specialise
from nets.onnx.reader import parse_graph
from vj.io.files import data_folder

DATA = data_folder()
FILES = {
    "YuNet-n": "yunet/yunet_n_dynamic.onnx",
    "SCRFD-500M": "scrfd/scrfd_500m_kps.onnx",
    "SCRFD-2.5G": "scrfd/scrfd_2.5g_kps.onnx",
    "RFB-320": "ulfg/version-RFB-320_simplified.onnx",
}
ABOUT = (
    "All take a ready float32 NCHW array and return their outputs. Peers at their best settings: "
    "constant weights (a file that also lists them as inputs is rewritten, or onnxruntime folds "
    "nothing), as many threads as ours, PyTorch traced and frozen. The detectors are the files of "
    "their authors (VJ_DATA); the other networks have random weights."
)


class Graph:
    """An ONNX graph of convolutions with random weights, layer by layer."""

    def __init__(self, size: int) -> None:
        self.nodes, self.constants, self.size = [], [], size
        self.rng, self.count = np.random.default_rng(0), 0

    def add(self, op: str, *inputs: str, **attributes) -> str:
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def constant(self, array) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, c: int, k: int, size: int, stride=1, groups=1, act="Relu") -> str:
        """Convolution and activation; weights that keep the variance."""
        scale = np.sqrt(2 / (c // groups * size * size))
        w = self.rng.standard_normal((k, c // groups, size, size)) * scale
        b = self.rng.standard_normal(k) * 0.1
        names = [self.constant(a.astype(np.float32)) for a in (w, b)]
        y = self.add("Conv", x, *names, strides=[stride] * 2, pads=[size // 2] * 4, group=groups)
        if act == "Relu6":
            limits = [self.constant(np.array(v, np.float32)) for v in (0, 6)]
            return self.add("Clip", y, *limits)
        return self.add(act, y) if act else y

    def classify(self, x: str, c: int, classes: int = 1000) -> str:
        x = self.add("Flatten", self.add("GlobalAveragePool", x))
        w = (self.rng.standard_normal((classes, c)) / np.sqrt(c)).astype(np.float32)
        b = np.zeros(classes, np.float32)
        return self.add("Gemm", x, self.constant(w), self.constant(b), transB=1)

    def model(self, output: str) -> onnx.ModelProto:
        ends = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, self.size, self.size]),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, None),
        ]
        body = helper.make_graph(self.nodes, "net", ends[:1], ends[1:], self.constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        return model


def plain(size: int) -> onnx.ModelProto:
    """3x3 convolutions only: the net of a detector without depthwise layers."""
    g = Graph(size)
    x, c = g.conv("x", 3, 16, 3, 2), 16
    for k, depth in ((32, 2), (64, 2), (64, 3), (64, 2)):
        x, c = g.conv(x, c, k, 3, 2), k
        for _ in range(depth):
            x = g.conv(x, c, c, 3)
    return g.model(g.conv(x, c, 16, 3, act=""))


def resnet18(size: int) -> onnx.ModelProto:
    """He et al., CVPR 2016."""
    g = Graph(size)
    x = g.conv("x", 3, 64, 7, 2)
    x, c = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for k in (64, 128, 256, 512):
        for block in range(2):
            stride = 2 if block == 0 and k > 64 else 1
            y = g.conv(g.conv(x, c, k, 3, stride), k, k, 3, act="")
            side = g.conv(x, c, k, 1, stride, act="") if (c, stride) != (k, 1) else x
            x, c = g.add("Relu", g.add("Add", y, side)), k
    return g.model(g.classify(x, c))


def mobilenet_v2(size: int) -> onnx.ModelProto:
    """Sandler et al., CVPR 2018, width 1.0."""
    g = Graph(size)
    x, c = g.conv("x", 3, 32, 3, 2, act="Relu6"), 32
    for t, k, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                       (6, 160, 3, 2), (6, 320, 1, 1)):  # fmt: skip
        for i in range(n):
            stride, wide = (s if i == 0 else 1), c * t
            y = g.conv(x, c, wide, 1, act="Relu6") if t > 1 else x
            y = g.conv(y, wide, wide, 3, stride, wide, act="Relu6")
            y = g.conv(y, wide, k, 1, act="")
            x, c = (g.add("Add", x, y) if stride == 1 and c == k else y), k
    return g.model(g.classify(g.conv(x, c, 1280, 1, act="Relu6"), 1280))


def networks() -> Iterator[tuple[str, Callable[[], onnx.ModelProto]]]:
    """Name and maker of every network."""
    for name, file in FILES.items():
        for size in (320, 640):
            if (DATA / "ref_models" / file).is_file():
                yield f"{name} @{size}", lambda f=file, s=size: resized(f, s)
    yield "plain 3x3 @320", lambda: plain(320)
    yield "ResNet-18 @224", lambda: resnet18(224)
    yield "MobileNet v2 @224", lambda: mobilenet_v2(224)


def resized(file: str, size: int) -> onnx.ModelProto:
    """A reference model for square images, with its weights as constants only."""
    model = onnx.load(DATA / "ref_models" / file)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    del model.graph.value_info[:]
    for dim, n in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (1, 3, size, size), strict=True
    ):
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
    return {
        "Conv": lambda: f.conv2d(*args, strides, pads,
                                 node.get("dilations", [1, 1]), node.get("group", 1)),
        "Relu": lambda: f.relu(args[0]),
        "Clip": lambda: f.relu6(args[0]),
        "Add": lambda: args[0] + args[1],
        "Mul": lambda: args[0] * args[1],
        "MaxPool": lambda: f.max_pool2d(args[0], kernel, strides, pads),
        "AveragePool": lambda: f.avg_pool2d(args[0], kernel, strides),
        "GlobalAveragePool": lambda: args[0].mean((2, 3), keepdim=True),
        "Resize": lambda: f.interpolate(args[0], size=shape[2:]),
        "Concat": lambda: torch.cat(args, node.get("axis")),
        "Sigmoid": lambda: torch.sigmoid(args[0]),
        "Softmax": lambda: torch.softmax(args[0], node.get("axis", -1)),
        "Transpose": lambda: args[0].permute(*node.get("perm")),
        "Reshape": lambda: args[0].reshape(shape),
        "Flatten": lambda: args[0].flatten(1),
        "Gemm": lambda: f.linear(*args),
    }[node.op]()  # fmt: skip


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with the shapes of its outputs, which cv2.dnn needs."""
    ours = Model(parse_graph(model.SerializeToString(), "net"))
    special = specialise(ours.graph, ours.shapes())
    for output, (_, at) in zip(model.graph.output, special.outputs, strict=True):
        shape = output.type.tensor_type.shape
        shape.ClearField("dim")
        for n in special.specs[at].dims:
            shape.dim.add().dim_value = n
    return model


def calls(data: bytes, threads: int) -> dict[str, Call]:
    """Everything that can run the network."""
    ours = Model(parse_graph(data, "net"), n_jobs=threads)
    (port,) = ours.inputs
    shape = tuple(n if n > 0 else 1 for n in port.shape)
    feeds = {port.name: np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)}
    plan = ours.plan({port.name: shape})
    return {
        "vj": partial(ours.run, feeds),
        "vj, outputs in place": lambda: plan.execute(feeds, ours.threads()),
        **peers.available(
            *(partial(peer, data, feeds, threads)
              for peer in (peers.onnxruntime, peers.opencv, pytorch))
        ),
    }  # fmt: skip


def cases(options) -> Iterator[Case]:
    for threads in options.threads or (1,):
        table = f"Whole networks, {threads} thread{'s' * (threads > 1)}"
        for name, make in networks():
            data = with_shapes(make()).SerializeToString()
            ours = Model(parse_graph(data, name))
            flops = 2 * sum(layer.macs() for layer in ours.plan(ours.shapes()).layers)
            yield Case(table, ABOUT, name, partial(calls, data, threads), flops=flops,
                       seconds=5, **several(threads))  # fmt: skip
