"""Single convolution layers against onnxruntime, PyTorch and OpenCV's dnn module."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch._inductor.config as inductor

from bench.harness.timing import Call, Case, several
from bench.nets import peers
from nets.compiler import Model
from nets.compiler.program import Program
from nets.nn.layers import Conv2d, ConvTranspose2d, Module, ReLU, Sequential
from nets.onnx.reader import parse_graph

ABOUT = (
    "Every layer has a bias, and a ReLU unless it is transposed. Ours reads and writes NHWC maps "
    'in an arena, as between the layers of a network; "NCHW in and out" is the same layer as a '
    "model of its own, which takes and returns NCHW arrays as the peers do (torch NHWC: "
    "channels-last ones). Peers at their best settings: constant weights, as many threads as ours, "
    "PyTorch in inference mode, eager and through torch.compile with frozen weights."
)


class Layer(NamedTuple):
    """One row of the table."""

    name: str
    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    def model(self) -> Module:
        """The layer as a model of ours."""
        kind = ConvTranspose2d if self.transposed else Conv2d
        conv = kind(**self.settings())
        return conv if self.transposed else Sequential(conv, ReLU())

    def settings(self) -> dict[str, int]:
        """Arguments of the layer, the same in our library and in PyTorch."""
        return {
            "in_channels": self.inputs, "out_channels": self.outputs, "kernel_size": self.kernel,
            "stride": self.stride, "padding": self.padding, "dilation": self.dilation,
            "groups": self.groups,
        }  # fmt: skip


LAYERS = [
    Layer("3x3 64-64 @56", 64, 64, 56, 3, padding=1),
    Layer("3x3 32-32 @160", 32, 32, 160, 3, padding=1),
    Layer("3x3 128-128 @28", 128, 128, 28, 3, padding=1),
    Layer("3x3 256-256 @14", 256, 256, 14, 3, padding=1),
    Layer("3x3 512-512 @7", 512, 512, 7, 3, padding=1),
    Layer("3x3 64-64 @40", 64, 64, 40, 3, padding=1),
    Layer("3x3 32-32 @80", 32, 32, 80, 3, padding=1),
    Layer("3x3 16-16 @160", 16, 16, 160, 3, padding=1),
    Layer("3x3 16-16 @10", 16, 16, 10, 3, padding=1),
    Layer("3x3 s2 3-16 @320", 3, 16, 320, 3, 2, 1),
    Layer("3x3 s2 32-64 @80", 32, 64, 80, 3, 2, 1),
    Layer("5x5 32-32 @80", 32, 32, 80, 5, padding=2),
    Layer("7x7 s2 3-64 @224", 3, 64, 224, 7, 2, 3),
    Layer("11x11 s4 3-96 @227", 3, 96, 227, 11, 4),
    Layer("3x3 d2 64-64 @56", 64, 64, 56, 3, padding=2, dilation=2),
    Layer("3x3 g4 64-64 @56", 64, 64, 56, 3, padding=1, groups=4),
    Layer("3x3 20-36 @40", 20, 36, 40, 3, padding=1),
    Layer("1x1 64-64 @80", 64, 64, 80, 1),
    Layer("1x1 960-160 @7", 960, 160, 7, 1),
    Layer("dw3x3 64 @80", 64, 64, 80, 3, padding=1, groups=64),
    Layer("dw3x3 16 @160", 16, 16, 160, 3, padding=1, groups=16),
    Layer("dw3x3 s2 144 @56", 144, 144, 56, 3, 2, 1, groups=144),
    Layer("dw5x5 64 @40", 64, 64, 40, 5, padding=2, groups=64),
    Layer("deconv 4x4 s2 64-64 @40", 64, 64, 40, 4, 2, 1, transposed=True),
    Layer("deconv 4x4 s2 32-16 @80", 32, 16, 80, 4, 2, 1, transposed=True),
    Layer("deconv 32x32 s16 21-21 @20", 21, 21, 20, 32, 16, 8, transposed=True),
    Layer("deconv 3x3 s2 64-64 @40", 64, 64, 40, 3, 2, 1, transposed=True),
    Layer("deconv 2x2 s2 64-32 @40", 64, 32, 40, 2, 2, transposed=True),
]


def ours(data: bytes, feeds: dict, threads: int) -> dict[str, Call]:
    """Every algorithm that can compute the layer, input and output in an arena."""
    graph = parse_graph(data, "layer")
    model = Model(graph)
    name, algorithms = next((layer.name, layer.algorithms())
                            for layer in model.plan(model.shapes()).layers
                            if layer.algorithms())  # fmt: skip
    found = {}
    for how in algorithms:
        model = Model(graph, n_jobs=threads, algorithms={name: how})
        plan = model.plan(model.shapes())
        plan.execute(feeds)  # brings the input into the arena
        (layer,) = (layer for layer in plan.layers if layer.name == name)
        program = Program(layer.steps(plan.arena.place), threads)
        found[f"vj/{how}"] = partial(program.run, plan.memory, model.pool)
    return found


def pytorch(layer: Layer, net: Module, x: np.ndarray, threads: int) -> dict[str, Call]:
    """The layer in both memory formats, eager and compiled."""
    torch.set_num_threads(threads)
    inductor.freezing = True
    torch._dynamo.reset()  # or it gives up on compiling after eight layers
    found = {}
    for name, form in peers.formats(torch).items():
        kind = torch.nn.ConvTranspose2d if layer.transposed else torch.nn.Conv2d
        conv = kind(**layer.settings())
        for theirs, mine in zip(conv.parameters(), net.parameters(), strict=True):
            theirs.data = torch.tensor(mine.data)
        last = [] if layer.transposed else [torch.nn.ReLU(inplace=True)]
        copy = torch.nn.Sequential(conv, *last).eval().to(memory_format=form)
        given = torch.from_numpy(x).to(memory_format=form)
        found[name] = peers.inference(torch, copy, given)
        found[f"{name} compiled"] = peers.inference(torch, torch.compile(copy), given)
    return found


def calls(layer: Layer, net: Module, data: bytes, threads: int) -> dict[str, Call]:
    """Everything that can compute the layer."""
    shape = (1, layer.inputs, layer.size, layer.size)
    feeds = {"input": np.random.default_rng(0).standard_normal(shape, dtype=np.float32)}
    return {
        **ours(data, feeds, threads),
        "vj, NCHW in and out": partial(
            Model(parse_graph(data, layer.name), n_jobs=threads).run, feeds
        ),
        **peers.available(
            partial(peers.onnxruntime, data, feeds, threads),
            partial(pytorch, layer, net, feeds["input"], threads),
            partial(peers.opencv, data, feeds, threads),
        ),
    }


def cases(options) -> Iterator[Case]:
    for threads in options.threads or (1,):
        table = f"Convolution layers, {threads} thread{'s' * (threads > 1)}"
        for layer in LAYERS:
            net = layer.model()
            data = peers.exported(net, layer.size).SerializeToString()
            yield Case(table, ABOUT, layer.name, partial(calls, layer, net, data, threads),
                       flops=partial(peers.flops, data), **several(threads))  # fmt: skip
