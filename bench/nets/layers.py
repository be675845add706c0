"""Single convolution layers against onnxruntime, PyTorch and OpenCV's dnn module."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from bench.harness.timing import Call, Case, several
from bench.nets import peers
from nets.compiler import Model
from nets.conv import packing
from nets.kernels.conv import ROWS, conv_direct
from nets.kernels.depthwise import conv_depthwise
from nets.kernels.winograd import conv_winograd2, conv_winograd3, conv_winograd4
from nets.nn.layers import Conv2d, ConvTranspose2d, Module, ReLU, Sequential
from nets.onnx.reader import parse_graph

WINOGRAD = {2: conv_winograd2, 3: conv_winograd3, 4: conv_winograd4}
INF = np.float32(np.inf)
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

    @property
    def out(self) -> int:
        extent = self.dilation * (self.kernel - 1) + 1
        if self.transposed:
            return (self.size - 1) * self.stride - 2 * self.padding + extent
        return (self.size + 2 * self.padding - extent) // self.stride + 1

    @property
    def flops(self) -> int:
        pixels = self.size if self.transposed else self.out
        return 2 * self.inputs // self.groups * self.outputs * (self.kernel * pixels) ** 2


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


def ours(layer: Layer, x, w, b, pool: ThreadPoolExecutor | None, threads: int) -> dict[str, Call]:
    """Every kernel that can compute the layer, input and output in an arena."""
    pair = {name: (getattr(layer, name),) * 2 for name in ("stride", "padding", "dilation")}
    found = {}
    plain = layer.kernel == 3 and layer.stride == 1 and layer.groups == 1
    if layer.transposed:
        found["direct"] = packing.pack_transposed(w, b, **pair)
        if layer.kernel in (2 * layer.stride, 3 * layer.stride):
            found["winograd"] = packing.pack_transposed_winograd(
                w, b, stride=pair["stride"], padding=pair["padding"]
            )
    elif layer.groups == layer.inputs:
        found["depthwise"] = packing.pack_depthwise(w, b)
    else:
        pixel = layer.inputs if layer.inputs < 8 else None
        found["direct"] = packing.pack_direct(
            w, b, pixel=pixel, dilation=pair["dilation"], groups=layer.groups
        )
        for tile in (2, 4) if plain else ():
            found[f"winograd F{tile}"] = packing.pack_winograd(
                w, b, tile=tile, dilation=pair["dilation"]
            )
    return {
        f"vj/{name}": _call(layer, packed, x, pair, pool, threads) for name, packed in found.items()
    }


def _call(layer: Layer, packed: packing.Packed, x, pair, pool, threads: int) -> Call:
    if layer.transposed:
        sizes = (layer.size,) * 2, (layer.out,) * 2
        halo = packing.transposed_halo(packed, *sizes, pair["stride"])
    else:
        halo = (layer.padding,) * 2 + (layer.padding + layer.stride,) * 2
    pixel = layer.inputs if layer.inputs < 8 else None
    a = packing.TensorLayout.packed(0, layer.size, layer.size, layer.inputs, halo=halo, pixel=pixel)
    y = packing.TensorLayout.packed(a.image + 64, layer.out, layer.out, layer.outputs)
    arena = packing.aligned(a.image + y.image + 256)
    rows = np.lib.stride_tricks.as_strided(
        arena[a.offset :], x.shape[2:] + x.shape[1:2], (4 * a.row, 4 * a.pixel, 4)
    )
    rows[:] = x[0].transpose(1, 2, 0)
    scratch = 1
    if packed.tile:
        options = {"stride": pair["stride"]} if layer.transposed else {**pair}
        shape, scratch = packing.winograd_shape(packed, a, y, **options)
        run = WINOGRAD[packed.tile]
    elif layer.transposed:
        shape = packing.transposed_shape(packed, a, y, stride=pair["stride"])
        run = conv_direct
    elif layer.groups == layer.inputs:
        shape = packing.depthwise_shape(packed, a, y, kernel=(layer.kernel,) * 2, **pair)
        run = conv_depthwise
    else:
        shape = packing.direct_shape(packed, a, y, stride=pair["stride"], padding=pair["padding"])
        run = conv_direct
    total, lo = int(shape[ROWS]), -INF if layer.transposed else np.float32(0)
    rooms = [packing.aligned(scratch) for _ in range(threads)]

    def band(n: int) -> None:
        first, last = total * n // threads, total * (n + 1) // threads
        run(arena, packed.weights, packed.bias, shape, lo, INF, first, last, rooms[n])

    if pool is None:
        return lambda: band(0)
    return lambda: list(pool.map(band, range(threads)))


def model(layer: Layer) -> Module:
    """The layer as a model of ours."""
    kind = ConvTranspose2d if layer.transposed else Conv2d
    conv = kind(
        layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding,
        dilation=layer.dilation, groups=layer.groups,
    )  # fmt: skip
    return conv if layer.transposed else Sequential(conv, ReLU())


def pytorch(layer: Layer, x, w, b, threads: int) -> dict[str, Call]:
    """The layer in both memory formats, eager and compiled."""
    import torch
    import torch._inductor.config as inductor

    torch.set_num_threads(threads)
    inductor.freezing = True
    torch._dynamo.reset()  # or it gives up on compiling after eight layers
    found = {}
    for name, form in peers.formats(torch).items():
        tx, tw = (torch.from_numpy(a).to(memory_format=form) for a in (x, w))
        net = _torch_module(layer, torch, tw, torch.from_numpy(b))
        found[name] = peers.inference(torch, net, tx)
        found[f"{name} compiled"] = peers.inference(torch, torch.compile(net), tx)
    return found


def _torch_module(layer: Layer, torch, w, b):
    sizes = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    kind = torch.nn.ConvTranspose2d if layer.transposed else torch.nn.Conv2d
    conv = kind(layer.inputs, layer.outputs, layer.kernel, groups=layer.groups, **sizes)
    conv.weight.data, conv.bias.data = w, b
    parts = [conv] if layer.transposed else [conv, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*parts).eval()


def calls(layer: Layer, threads: int) -> dict[str, Call]:
    """Everything that can compute the layer."""
    net = model(layer)
    w, b = (np.array(p.data) for p in net.parameters())
    shape = (1, layer.inputs, layer.size, layer.size)
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    data = peers.exported(net, layer.size).SerializeToString()
    alone = Model(parse_graph(data, layer.name), n_jobs=threads)
    pool = ThreadPoolExecutor(threads) if threads > 1 else None
    feeds = {"input": x}
    return {
        **ours(layer, x, w, b, pool, threads),
        "vj, NCHW in and out": partial(alone.run, feeds),
        **peers.available(
            partial(peers.onnxruntime, data, feeds, threads),
            partial(pytorch, layer, x, w, b, threads),
            partial(peers.opencv, data, feeds, threads),
        ),
    }


def cases(options) -> Iterator[Case]:
    for threads in options.threads or (1,):
        table = f"Convolution layers, {threads} thread{'s' * (threads > 1)}"
        for layer in LAYERS:
            yield Case(table, ABOUT, layer.name, partial(calls, layer, threads),
                       flops=lambda layer=layer: layer.flops, **several(threads))  # fmt: skip
