"""SGD, momentum, AdaGrad, RMSprop and Adam side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.lecture import data
from bench.lecture.figures import panels
from bench.lecture.findings import Finding, answers, verdict
from nets.models.lenet import LeNet5
from nets.nn import init
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD, AdaGrad, Adam, Optimiser, RMSprop
from nets.training import Arrays, Callback, Loader, accuracy, evaluate, fit
from nets.training.run import Run
from vj.errors import TrainingError

CLAIM = (
    "Momentum speeds up gradient descent. AdaGrad gives each weight its own learning rate, but its "
    "sums only grow and it slows down; RMSprop forgets, and does not; Adam adds momentum, works at "
    "its default rate without tuning, and is the fastest in the beginning."
)
EPOCHS, LIMIT = 4, 1500
RATES = (1e-3, 1e-2, 1e-1)
SMALL = (3e-4, 1e-3, 1e-2)
METHODS: dict[str, tuple[Callable[..., Optimiser], tuple[float, ...]]] = {
    "SGD": (SGD, RATES),
    "momentum": (lambda p, rate: SGD(p, rate, momentum=0.9), RATES),
    "AdaGrad": (AdaGrad, RATES),
    "RMSprop": (RMSprop, SMALL),
    "Adam": (Adam, SMALL),
}
METHOD = (
    f"LeNet-5 (tanh, as published) learns to tell faces from backgrounds, {EPOCHS} epochs in "
    "batches of 64, from the same weights and in the same order; each method at three learning "
    "rates a factor of about 10 apart. The best rate has the lowest training loss in the last "
    "epoch."
)


class Curve(Callback):
    """Loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, run: Run) -> None:
        self.losses.append(run.loss)


def attempt(
    make: Callable[..., Optimiser], rate: float, train: Arrays, test: Arrays, epochs: int
) -> dict[str, Any]:
    """One training: loss of every step, and the accuracy on unseen pictures."""
    init.seed(0)
    model, curve, scale = LeNet5(2), Curve(), {"mean": 0.5, "std": 0.25}
    loader = Loader(train, 64, shuffle=True, **scale)
    try:
        fit(
            model, cross_entropy, loader, make(model.named_parameters(), rate), epochs,
            callbacks=[curve],
        )  # fmt: skip
    except TrainingError:  # diverged
        return {"rate": rate, "loss": [], "end": np.inf, "accuracy": 0.5}
    right = evaluate(model, Loader(test, 256, **scale), {"accuracy": accuracy})["accuracy"]
    end = float(np.mean(curve.losses[-len(loader) :]))
    return {"rate": rate, "loss": curve.losses, "end": end, "accuracy": right}


def experiment(quick: bool = False) -> Finding:
    train, test = data.two_sides(quick, 32, windows=2, limit=LIMIT)
    tried = {
        name: [attempt(make, r, train, test, 1 if quick else EPOCHS) for r in rates]
        for name, (make, rates) in METHODS.items()
    }
    best = {name: min(runs, key=lambda r: r["end"]) for name, runs in tried.items()}
    steps = len(best["Adam"]["loss"]) // (1 if quick else EPOCHS)
    early = {name: float(np.mean(r["loss"][: max(1, steps // 2)])) for name, r in best.items()}
    usual = tried["Adam"][1]["end"]
    checks = {
        "momentum is faster than SGD": early["momentum"] < early["SGD"],
        "AdaGrad falls behind RMSprop": best["AdaGrad"]["end"] > best["RMSprop"]["end"],
        "Adam at 0.001 is within 20% of its best": usual < 1.2 * best["Adam"]["end"],
        "Adam is the fastest in the first half epoch": min(early, key=early.__getitem__) == "Adam",
    }
    rows = [
        f"{name} {early[name]:.3f} / {r['end']:.4f} / {r['accuracy']:.1%} at {r['rate']:g}"
        for name, r in best.items()
    ]
    measured = (
        "Training loss in the first half epoch / in the last epoch / accuracy on unseen pictures, "
        f"at the best rate: {'; '.join(rows)}. {answers(checks)}."
    )
    figure, ((left, right),) = panels(1, 2, 4, 3)
    width = max(1, steps // 6)
    for name, runs in tried.items():
        smooth = np.convolve(best[name]["loss"], np.ones(width) / width, "valid")
        left.semilogy(smooth, label=f"{name}, {best[name]['rate']:g}", linewidth=1)
        right.loglog([r["rate"] for r in runs], [r["end"] for r in runs], "o-", label=name)
    left.set(xlabel="step", ylabel="training loss", title="at its best rate")
    right.set(xlabel="rate", ylabel="loss of the last epoch", title="sensitivity to the rate")
    left.legend(fontsize=7)
    numbers = {
        "early": early,
        "checks": checks,
        "tried": {
            name: [{k: v for k, v in r.items() if k != "loss"} for r in runs]
            for name, runs in tried.items()
        },
    }
    return Finding(CLAIM, METHOD, measured, verdict(checks.values()), numbers, figure)
