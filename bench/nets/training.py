"""Training steps against PyTorch: whole networks, and convolutions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

import nets
from bench.harness.timing import Call, Case, several
from bench.nets import peers, torch_models
from bench.nets.layers import LAYERS, Layer
from nets.autograd.tensor import Tensor
from nets.conv.geometry import Geometry
from nets.conv.products import outputs, to_inputs, to_weights
from nets.models import LeNet5, YuNet, mobilenet_v2, resnet18
from nets.nn.layers import Module
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD

ABOUT = (
    "A step is forward, loss, backward and an update by SGD with momentum. PyTorch runs in both "
    "memory formats, and the better one counts. Before anything is timed both libraries take steps "
    "from the same weights and must agree about the loss."
)
ABOUT_LAYERS = (
    "Forward and both gradients of a convolution (of images only the gradient of the weights)."
)


class Net(NamedTuple):
    """A network to train: ours and PyTorch's; no classes stands for a detector."""

    name: str
    ours: Callable[[], Module]
    theirs: Callable[[], torch.nn.Module]
    shape: tuple[int, int, int, int]
    classes: int


NETS = [
    Net("LeNet-5 32x32 batch 64", partial(LeNet5, activation="relu", pooling="max"),
        partial(torch_models.LeNet5, torch.relu, functional.max_pool2d), (64, 1, 32, 32), 10),
    Net("ResNet-18 64x64 batch 16", resnet18,
        partial(torch_models.ResNet, torch_models.Basic, (2, 2, 2, 2), 1, 1000),
        (16, 3, 64, 64), 1000),
    Net("MobileNet v2 64x64 batch 16", partial(mobilenet_v2, dropout=0.0),
        partial(torch_models.mobilenet_v2, 1, 1000), (16, 3, 64, 64), 1000),
    Net("YuNet-like 320x320 batch 8", YuNet, partial(torch_models.YuNet, 64),
        (8, 3, 320, 320), 0),
]  # fmt: skip
BATCH = 4  # of convolutions alone


def our_step(net: Net, model, x: np.ndarray, labels: np.ndarray) -> Call:
    """A step of ours; x is channels-last in memory, as a loader makes it."""
    optimiser = SGD(model.named_parameters(), 1e-3, momentum=0.9)
    images = Tensor(x)

    def step() -> float:
        y = model(images)
        if net.classes:
            loss = cross_entropy(y, labels)
        else:
            loss = sum(((p * p).mean() for p in y), Tensor(0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def their_step(net: Net, state: dict, x: np.ndarray, labels: np.ndarray, form) -> Call:
    """A step of PyTorch in one of the memory formats."""
    model = net.theirs()
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    for layer in model.modules():
        if isinstance(layer, torch.nn.ReLU | torch.nn.ReLU6):
            layer.inplace = True  # as fast as PyTorch can
        elif isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    model = model.to(memory_format=form)
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    images = torch.from_numpy(np.ascontiguousarray(x)).to(memory_format=form)
    wanted = torch.from_numpy(labels)

    def step() -> float:
        y = model(images)
        loss = (
            functional.cross_entropy(y, wanted) if net.classes else sum((p * p).mean() for p in y)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def steps(net: Net, threads: int) -> dict[str, Call]:
    """A step of each library, once they agree."""
    torch.set_num_threads(threads)
    nets.threads(threads)
    rng = np.random.default_rng(0)
    n, c, h, w = net.shape
    x = rng.standard_normal((n, h, w, c), dtype=np.float32).transpose(0, 3, 1, 2)
    labels = rng.integers(0, max(net.classes, 1), n)
    model = net.ours()
    state = {name: array.copy() for name, array in model.state_dict().items()}
    calls = {"vj": our_step(net, model, x, labels)}
    for name, form in peers.formats(torch).items():
        calls[name] = their_step(net, state, x, labels, form)
    losses = {name: [step() for _ in range(3)] for name, step in calls.items()}
    np.testing.assert_allclose(losses["vj"][0], losses["torch"][0], rtol=1e-5)
    # Rounding decides about rectifiers near zero, normalisation over 64 pixels amplifies that.
    np.testing.assert_allclose(losses["vj"], losses["torch"], rtol=1e-2)
    return calls


def products(layer: Layer, threads: int) -> dict[str, Call]:
    """Forward and both gradients in each library (of the weights alone for images)."""
    torch.set_num_threads(threads)
    nets.threads(threads)
    h, k, s, d, g = layer.size, layer.kernel, layer.stride, layer.dilation, layer.groups
    p, needs = layer.padding, layer.inputs > 3
    x = torch.randn(BATCH, layer.inputs, h, h)
    w = torch.randn(layer.outputs, layer.inputs // g, k, k) * 0.1
    how = Geometry((s, s), (p, p), (d, d), g)
    xs, ws = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)), w.numpy()
    out = ((h + 2 * p - d * (k - 1) - 1) // s + 1,) * 2
    gy = np.random.default_rng(0).standard_normal((BATCH, *out, layer.outputs), dtype=np.float32)

    def ours() -> None:
        outputs(xs, ws, out, None, how)
        to_weights(xs, gy, ws.shape, how)
        if needs:
            to_inputs(gy, ws, (h, h), None, how)

    calls: dict[str, Call] = {"vj": ours}
    for name, form in peers.formats(torch).items():
        xf, wf = x.to(memory_format=form), w.to(memory_format=form)
        gf = torch.from_numpy(gy.transpose(0, 3, 1, 2)).contiguous(memory_format=form)
        rest = ([s, s], [p, p], [d, d], False, [0, 0], g, [needs, True, False])

        def theirs(xf=xf, wf=wf, gf=gf, rest=rest) -> None:
            with torch.no_grad():
                functional.conv2d(xf, wf, None, s, p, d, g)
                torch.ops.aten.convolution_backward(gf, xf, wf, [layer.outputs], *rest)

        calls[name] = theirs
    return calls


def cases(options) -> Iterator[Case]:
    for threads in options.threads or (1, 2):
        how = {"seconds": 4, **several(threads)}
        count = f"{threads} thread{'s' * (threads > 1)}"
        for net in NETS:
            yield Case(f"Training steps, {count}", ABOUT, net.name, partial(steps, net, threads),
                       **how)  # fmt: skip
        for layer in (layer for layer in LAYERS if not layer.transposed):
            yield Case(f"Convolutions of training, {count}", ABOUT_LAYERS, layer.name,
                       partial(products, layer, threads), **how)  # fmt: skip
