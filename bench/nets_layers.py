"""Single convolution layers against onnxruntime, torch and cv2.dnn.

    python -m bench.nets_layers [--threads 2] [--only 3x3] [--json bench/results/nets_layers.json]

Prints one line a layer; with ``--json`` it also writes timings for `bench.report`.

One thread is timed in CPU time of the thread, several on the wall; the least of many rounds, all
libraries taking turns in one process. Every layer has a bias, and a ReLU where it is no transposed
one. Ours reads and writes NHWC maps in an arena, as between the layers of a network; "in and out"
is the same layer as a model of its own, which takes and returns NCHW arrays as the peers do (torch
channels-last: NHWC ones). Peers at their best settings: weights as constants, as many threads as
ours, torch in inference mode, eager and compiled by ``torch.compile`` with weights frozen.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.harness.records import write
from nets.conv import packing
from nets.kernels.conv import ROWS, conv_direct
from nets.kernels.depthwise import conv_depthwise
from nets.kernels.winograd import conv_winograd2, conv_winograd3, conv_winograd4
from vj.kernels.jit import kernel
from vj.kernels.simd import WIDEST, fma, lane_sum, load16

WINOGRAD = {2: conv_winograd2, 3: conv_winograd3, 4: conv_winograd4}
INF = np.float32(np.inf)
Call = Callable[[], object]


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
    """The kernels that can compute a layer, input and output in an arena."""
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
    return {name: _call(layer, packed, x, pair, pool, threads) for name, packed in found.items()}


def _call(layer: Layer, packed: packing.Packed, x, pair, pool, threads: int) -> Call:
    if layer.transposed:
        sizes = (layer.size,) * 2, (layer.out,) * 2
        halo = packing.transposed_halo(packed, *sizes, pair["stride"])
    else:
        halo = (layer.padding,) * 2 + (layer.padding + layer.stride,) * 2
    pixel = layer.inputs if layer.inputs < 8 else None
    a = packing.Slot.packed(0, layer.size, layer.size, layer.inputs, halo=halo, pixel=pixel)
    y = packing.Slot.packed(a.image + 64, layer.out, layer.out, layer.outputs)
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


def graph(layer: Layer, w, b) -> bytes:
    """The layer as an ONNX model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    attributes = {
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
        "dilations": [layer.dilation] * 2,
        "group": layer.groups,
    }
    op, out = ("ConvTranspose", "y") if layer.transposed else ("Conv", "c")
    nodes = [helper.make_node(op, ["x", "w", "b"], [out], **attributes)]
    if not layer.transposed:
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    dims = [1, layer.inputs, layer.size, layer.size], [1, layer.outputs, layer.out, layer.out]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, d)
        for name, d in zip("xy", dims, strict=True)
    ]
    constants = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")]
    body = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def peers(layer: Layer, x, w, b, threads: int) -> dict[str, Call]:
    """The same layer in other libraries, those that are installed."""
    found: dict[str, Call] = {}
    model = graph(layer, w, b)
    try:
        import onnxruntime as ort
    except ImportError:
        pass
    else:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found["onnxruntime"] = lambda: session.run(None, {"x": x})
    try:
        import torch
    except ImportError:
        pass
    else:
        import torch._inductor.config as inductor

        torch.set_num_threads(threads)
        inductor.freezing = True
        for name, form in {
            "torch": torch.contiguous_format,
            "torch NHWC": torch.channels_last,
        }.items():
            tx, tw = (torch.from_numpy(a).to(memory_format=form) for a in (x, w))
            net = _torch_module(layer, torch, tw, torch.from_numpy(b))
            found[name] = _inference(torch, net, tx)
            found[f"{name} compiled"] = _inference(torch, torch.compile(net), tx)
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))

    def dnn() -> object:
        net.setInput(x)
        return net.forward()

    found["cv2.dnn"] = dnn
    return found


def _torch_module(layer: Layer, torch, w, b):
    sizes = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    kind = torch.nn.ConvTranspose2d if layer.transposed else torch.nn.Conv2d
    conv = kind(layer.inputs, layer.outputs, layer.kernel, groups=layer.groups, **sizes)
    conv.weight.data, conv.bias.data = w, b
    parts = [conv] if layer.transposed else [conv, torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*parts).eval()


def _inference(torch, net, x) -> Call:
    def run() -> object:
        with torch.inference_mode():
            return net(x)

    return run


def in_and_out(layer: Layer, x, w, b, threads: int) -> Call:
    """Ours as a model of one layer."""
    import nets

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.onnx"
        path.write_bytes(graph(layer, w, b))
        model = nets.load_onnx(path, n_jobs=threads)
    return lambda: model.run({"x": x})


@kernel("float32(int64, Array(float32, 1, 'C', readonly=True))")
def fma_chains(rounds, z):
    """Eight chains of multiply-adds in registers: 256 flops a round with vectors of sixteen."""
    a = load16(z, 0)
    c, d, e, f = load16(z, 16), load16(z, 17), load16(z, 18), load16(z, 19)
    g, h, i, j = load16(z, 20), load16(z, 21), load16(z, 22), load16(z, 23)
    for _ in range(rounds):
        c, d, e, f = fma(a, c, a), fma(a, d, a), fma(a, e, a), fma(a, f, a)
        g, h, i, j = fma(a, g, a), fma(a, h, a), fma(a, i, a), fma(a, j, a)
    return lane_sum(((c + d) + (e + f)) + ((g + h) + (i + j)))


def least(calls: dict[str, Call], timer: Callable[[], float], seconds: float = 1.0) -> dict:
    """Least time of each call, all taking turns."""
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, call in calls.items():
            for _ in range(3):
                start = timer()
                call()
                best[name] = min(best[name], timer() - start)
    return best


def peak_rate(timer: Callable[[], float]) -> float:
    """Floating-point operations a second that one core can do."""
    z = np.random.default_rng(0).uniform(-0.9, 0.9, 64).astype(np.float32)
    seconds = least({"peak": lambda: fma_chains(300_000, z)}, timer)["peak"]
    return 300_000 * 256 / seconds


def measure(layer: Layer, threads: int, timer: Callable[[], float]) -> dict[str, float]:
    """Seconds of everything that can compute a layer."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, layer.inputs, layer.size, layer.size), dtype=np.float32)
    rows = (layer.inputs, layer.outputs) if layer.transposed else (layer.outputs, layer.inputs)
    side = (layer.kernel,) * 2
    w = rng.standard_normal((rows[0], rows[1] // layer.groups, *side), dtype=np.float32)
    b = rng.standard_normal(layer.outputs, dtype=np.float32)
    with ThreadPoolExecutor(threads) as pool:
        mine = ours(layer, x, w, b, pool if threads > 1 else None, threads)
        calls = {f"vj {name}": call for name, call in mine.items()}
        calls["vj in and out"] = in_and_out(layer, x, w, b, threads)
        return least(calls | peers(layer, x, w, b, threads), timer)


def entries(layer: Layer, times: dict[str, float], threads: int, peak: float) -> list[dict]:
    """Timings of one layer as `bench.report` reads them."""
    kernels = {name: t for name, t in times.items() if name not in ("vj in and out",)}
    best = min((t, name) for name, t in kernels.items() if name.startswith("vj "))[0]
    shown = {"vj": best} | {n: t for n, t in times.items() if not n.startswith("vj ")}
    shown["vj, NCHW in and out"] = times["vj in and out"]
    about = (__doc__ or "").split("\n\n")[3].replace("\n", " ")
    share = layer.flops / best / peak
    return [
        {
            "group": f"Convolution layers, {threads} thread{'s' * (threads > 1)}",
            "timer": "thread_time" if threads == 1 else "perf_counter",
            "extra_info": {"case": layer.name, "lib": lib, "about": about, "share": share},
            "stats": {"min": seconds},
        }
        for lib, seconds in shown.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="part of the names of the layers to time")
    parser.add_argument("--json", help="file for bench.report")
    args = parser.parse_args()
    timer = time.thread_time if args.threads == 1 else time.perf_counter
    peak = args.threads * peak_rate(timer) / 1e9
    lanes = f"{WIDEST} lanes"
    print(f"peak {peak:.0f} GF/s ({lanes}), load {os.getloadavg()[0]:.1f}\n")
    print("| layer | vj us | by | GF/s | of peak | in and out | peers | times the best peer |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    for layer in LAYERS:
        if args.only not in layer.name:
            continue
        times = measure(layer, args.threads, timer)
        own = {n: t for n, t in times.items() if n.startswith("vj ") and n != "vj in and out"}
        theirs = {n: t for n, t in times.items() if not n.startswith("vj ")}
        name, best = min(own.items(), key=lambda item: item[1])
        rate = layer.flops / best / 1e9
        others = ", ".join(f"{n} {t * 1e6:.0f}" for n, t in theirs.items())
        print(
            f"| {layer.name} | {best * 1e6:.0f} | {name[3:]} | {rate:.0f} | {rate / peak:.0%} "
            f"| {times['vj in and out'] * 1e6:.0f} | {others} "
            f"| {min(theirs.values()) / best:.2f} |",
            flush=True,
        )
        found += entries(layer, times, args.threads, peak * 1e9)
    if args.json:
        write(args.json, found)


if __name__ == "__main__":
    main()
