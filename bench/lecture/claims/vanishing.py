"""Gradients vanish through layers of sigmoids, but not through ReLU."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.lecture import data
from bench.lecture.figures import panels
from bench.lecture.findings import Finding
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import Flatten, Linear, ReLU, Sequential, Sigmoid, Tanh
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD
from nets.training import Loader, accuracy, evaluate, fit

CLAIM = (
    "The derivative of the sigmoid is at most 1/4, so the gradient shrinks with every layer of the "
    "backward pass, and the layers near the input of a deep sigmoid network do not learn. ReLU has "
    "derivative 1 wherever it is active, and its gradients do not vanish."
)
DEPTH, WIDTH, SIDE = 12, 64, 16
KINDS = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}
EPOCHS, RATES = 6, (0.1, 0.02)
METHOD = (
    f"Networks of {DEPTH} hidden layers of {WIDTH} units that differ only in their activation tell "
    f"{SIDE}x{SIDE} faces from backgrounds, with the initialisation that suits each (Xavier for "
    "sigmoid and tanh, He for ReLU). The gradient norm (root mean square over a layer's weights) "
    "is taken before training; then each is trained by SGD with momentum 0.9 at the better of two "
    "learning rates. The sigmoid is also tried with 2 hidden layers."
)


def build(kind: str, depth: int) -> Sequential:
    """A classifier of flattened pictures."""
    init.seed(0)
    draw: Callable[..., NDArray[np.float32]]
    draw = init.he_normal if kind == "relu" else init.xavier_normal
    sizes = [SIDE * SIDE] + [WIDTH] * depth
    layers = [Flatten()]
    for size in pairwise(sizes):
        linear = Linear(*size)
        linear.weight.data, linear.bias.data[...] = draw(linear.weight.shape), 0
        layers += [linear, KINDS[kind]()]
    return Sequential(*layers, Linear(WIDTH, 2))


def gradients(net: Sequential, loader: Loader) -> NDArray[np.float64]:
    """Size of the gradient of each hidden layer's weights, first layer first."""
    pictures, labels = next(loader.epoch())
    cross_entropy(net(Tensor(pictures)), labels).backward()
    weights = [layer.weight for layer in net if isinstance(layer, Linear)][:-1]
    sizes = np.array([np.sqrt(np.mean(weight.grad**2.0)) for weight in weights])
    net.zero_grad()
    return sizes


def experiment(quick: bool = False) -> Finding:
    train, validation = data.two_sides(quick, SIDE, windows=2, limit=3000)
    mean, std = train.parts[0].mean() / 255, train.parts[0].std() / 255
    learning = Loader(train, 64, shuffle=True, mean=mean, std=std)
    first = Loader(train, 512, shuffle=True, mean=mean, std=std)
    checking = Loader(validation, 512, mean=mean, std=std)
    sizes = {kind: gradients(build(kind, DEPTH), first) for kind in KINDS}
    ratio = {kind: float(size[0] / size[-1]) for kind, size in sizes.items()}
    nets = {"sigmoid, 2 layers": ("sigmoid", 2), **{kind: (kind, DEPTH) for kind in KINDS}}
    losses, shares = {}, {}
    for name, (kind, depth) in nets.items():
        tried = []
        for rate in RATES[: 1 if quick else None]:
            net = build(kind, depth)
            optimiser = SGD(net.named_parameters(), rate, momentum=0.9)
            record = fit(net, cross_entropy, learning, optimiser, 1 if quick else EPOCHS, clip=5.0)
            right = evaluate(net, checking, {"accuracy": accuracy})["accuracy"]
            tried.append((right, [row["loss"] for row in record.rows]))
        shares[name], losses[name] = max(tried)
    most = max(np.mean(validation.parts[1] == c) for c in (0, 1))
    gone = ratio["sigmoid"] < 1e-4 and ratio["relu"] > 0.1
    stuck = shares["sigmoid"] < most + 0.01 and shares["relu"] > most + 0.1
    measured = (
        f"Gradient of the first layer over that of the last: sigmoid {ratio['sigmoid']:.0e}, tanh "
        f"{ratio['tanh']:.2g}, ReLU {ratio['relu']:.2g}. Accuracy on unseen people: sigmoid "
        f"{shares['sigmoid']:.1%} (the majority class alone gives {most:.1%}), tanh "
        f"{shares['tanh']:.1%}, ReLU {shares['relu']:.1%}; with 2 layers the sigmoid learns: "
        f"{shares['sigmoid, 2 layers']:.1%}."
    )
    figure, ((left, right_one),) = panels(1, 2, 4, 3)
    for kind, size in sizes.items():
        left.semilogy(np.arange(1, DEPTH + 1), size, "o-", markersize=3, label=kind)
    left.set(xlabel="layer, input first", ylabel="size of the gradient", title="before training")
    for name, values in losses.items():
        right_one.plot(np.arange(1, len(values) + 1), values, label=name)
    right_one.set(xlabel="epoch", ylabel="training loss", title="training")
    for axes in (left, right_one):
        axes.legend(fontsize=8)
    numbers = {"gradients": sizes, "first_to_last": ratio, "accuracy": shares, "loss": losses}
    holds = "yes" if gone and stuck else "in part"
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure)
