"""SGD, momentum, AdaGrad, RMSprop and Adam side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.lecture import data
from bench.lecture.data import invented
from bench.lecture.figures import panels
from bench.lecture.findings import Finding
from nets.models.lenet import LeNet5
from nets.nn import init
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD, AdaGrad, Adam, Optimiser, RMSprop
from nets.training import Arrays, Callback, Loader, accuracy, evaluate, fit
from nets.training.run import Run
from vj.errors import TrainingError

CLAIM = (
    "Momentum speeds gradient descent up. AdaGrad gives each weight a rate of its own, but its "
    "sums only grow and it slows down; RMSprop forgets and does not; Adam adds momentum to that, "
    "works at its usual rate without search, and is the fastest to begin with."
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
    f"LeNet-5 (tanh, as published) learns faces from backgrounds, {EPOCHS} epochs in batches of "
    "64, from the same weights and in the same order; each method at three rates a factor of about "
    "10 apart. Best rate: least training loss over the last epoch."
)


class Curve(Callback):
    """Loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def step(self, run: Run) -> None:
        self.losses.append(run.loss)


def load(quick: bool) -> tuple[Arrays, Arrays]:
    """Pictures for training and for validation."""
    if quick:
        made = Arrays(invented(64, 32), np.arange(64) % 2)
        return made, made
    sides = data.face_or_not(32, margin=0, windows=2, limit=LIMIT)
    return sides.train, sides.validation


def attempt(
    make: Callable[..., Optimiser], rate: float, train: Arrays, test: Arrays, epochs: int
) -> dict[str, Any]:
    """One training: loss of every step, and the share of unseen pictures that it gets right."""
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
    train, test = load(quick)
    tried = {
        name: [attempt(make, r, train, test, 1 if quick else EPOCHS) for r in rates]
        for name, (make, rates) in METHODS.items()
    }
    best = {name: min(runs, key=lambda r: r["end"]) for name, runs in tried.items()}
    steps = len(best["Adam"]["loss"]) // (1 if quick else EPOCHS)
    early = {name: float(np.mean(r["loss"][: max(1, steps // 2)])) for name, r in best.items()}
    usual = tried["Adam"][1]["end"]
    checks = {
        "momentum beats SGD": early["momentum"] < early["SGD"],
        "AdaGrad falls behind RMSprop": best["AdaGrad"]["end"] > best["RMSprop"]["end"],
        "Adam at 0.001 is within 20% of its best": usual < 1.2 * best["Adam"]["end"],
        "Adam is the fastest in the first half epoch": min(early, key=early.__getitem__) == "Adam",
    }
    rows = [
        f"{name} {early[name]:.3f} / {r['end']:.4f} / {r['accuracy']:.1%} at {r['rate']:g}"
        for name, r in best.items()
    ]
    said = "; ".join(f"{what}: {'yes' if is_so else 'no'}" for what, is_so in checks.items())
    measured = (
        "Loss over the first half epoch / over the last epoch / right on unseen pictures, at the "
        f"best rate: {'; '.join(rows)}. {said}."
    )
    good = sum(checks.values())
    holds = "yes" if good == len(checks) else "in part" if good else "no"
    figure, ((left, right),) = panels(1, 2, 4, 3)
    width = max(1, steps // 6)
    for name, runs in tried.items():
        smooth = np.convolve(best[name]["loss"], np.ones(width) / width, "valid")
        left.semilogy(smooth, label=f"{name}, {best[name]['rate']:g}", linewidth=1)
        right.loglog([r["rate"] for r in runs], [r["end"] for r in runs], "o-", label=name)
    left.set(xlabel="step", ylabel="training loss", title="at its best rate")
    right.set(xlabel="rate", ylabel="loss of the last epoch", title="how much the rate matters")
    left.legend(fontsize=7)
    numbers = {
        "early": early,
        "checks": checks,
        "tried": {
            name: [{k: v for k, v in r.items() if k != "loss"} for r in runs]
            for name, runs in tried.items()
        },
    }
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure)
