"""Batch normalisation needs large batches, group normalisation does not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from bench.lecture import data
from bench.lecture.figures import panels
from bench.lecture.findings import Finding, answers, verdict
from nets.autograd.ops.pooling import adaptive_avg_pool2d
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import BatchNorm2d, Conv2d, GroupNorm, Linear, Module, ReLU, Sequential
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD, Cosine
from nets.training import Loader, accuracy, evaluate, fit

CLAIM = (
    "Batch normalisation takes mean and variance from the batch; with two or four images they are "
    "too noisy and the error rises. Group normalisation takes them from groups of channels of one "
    "image: its error is the same at any batch size, and that of batch normalisation is slightly "
    "lower with large batches."
)
SIDE, EPOCHS, LIMIT, SIZES, SEEDS = 16, 2, 900, (32, 16, 8, 4, 2), 2
METHOD = (
    f"A network of six convolutions on faces and backgrounds of {SIDE}x{SIDE}, {EPOCHS} epochs of "
    "SGD with momentum 0.9 and a learning rate proportional to the batch size (0.05 at 32, cosine "
    f"decay), with either normalisation (groups of 4 channels); mean of {SEEDS} seeds."
)


class Net(Module):
    """Pictures (N, 1, H, W) to logits (N, 2)."""

    def __init__(self, norm: Callable[[int], Module]) -> None:
        widths, layers = [1, 8, 8, 16, 16, 32, 32], []
        for i, (a, b) in enumerate(pairwise(widths)):
            step = 2 if i in (2, 4) else 1
            layers += [Conv2d(a, b, 3, step, 1, bias=False), norm(b), ReLU()]
        self.body, self.head = Sequential(*layers), Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(adaptive_avg_pool2d(self.body(x), size=(1, 1)).reshape(len(x), -1))


NORMS: dict[str, Callable[[int], Module]] = {
    "batch": BatchNorm2d,
    "group": lambda channels: GroupNorm(channels // 4, channels),
}


def experiment(quick: bool = False) -> Finding:
    train, test = data.two_sides(quick, SIDE, "test", windows=1, limit=LIMIT)
    scale = {"mean": 0.5, "std": 0.25}
    sizes, epochs, seeds = (SIZES[:1], 1, 1) if quick else (SIZES, EPOCHS, SEEDS)
    wrong: dict[str, list[float]] = {name: [] for name in NORMS}
    for size in sizes:
        for name, norm in NORMS.items():
            errors = []
            for seed in range(seeds):
                init.seed(seed)
                model = Net(norm)
                loader = Loader(train, size, shuffle=True, seed=seed, drop_last=True, **scale)
                optimiser = SGD(model.named_parameters(), 0.05 * size / 32, momentum=0.9)
                schedule = Cosine(optimiser, epochs * len(loader))
                fit(model, cross_entropy, loader, optimiser, epochs, schedule=schedule)
                checked = evaluate(model, Loader(test, 256, **scale), {"right": accuracy})
                errors.append(1 - checked["right"])
            wrong[name].append(float(np.mean(errors)))
    batch, group = wrong["batch"], wrong["group"]
    small_hurts = batch[-1] > 1.5 * min(batch) and batch[-1] > 1.2 * group[-1]
    steady = max(group) < 1.5 * min(group)
    better_large = batch[0] < group[0]
    rows = [
        f"batches of {size}: batch {b:.2%}, group {g:.2%}"
        for size, b, g in zip(sizes, batch, group, strict=True)
    ]
    checks = {
        "small batches hurt batch normalisation": small_hurts,
        "group normalisation is indifferent to them": steady,
        "batch normalisation is better at 32": better_large,
    }
    measured = (
        f"Error on unseen people and backgrounds: {'; '.join(rows)}. In short: {answers(checks)}."
    )
    if not small_hurts:
        measured += (
            " Mean and variance also run over the pixels of the maps: two images give up to "
            f"{2 * SIDE**2} values here, not two, and their noise does no harm in so small a "
            "network."
        )
    figure, ((ax,),) = panels(1, 1, 4.4, 3)
    for name, values in wrong.items():
        ax.plot(sizes, 100 * np.array(values), "o-", label=f"{name} normalisation")
    ax.set_xscale("log", base=2)
    ax.set(xlabel="images in a batch", ylabel="error, %", xticks=sizes, xticklabels=sizes)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=8)
    numbers = {"sizes": sizes, "wrong": wrong}
    return Finding(CLAIM, METHOD, measured, verdict(checks.values()), numbers, figure)
