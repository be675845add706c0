"""A network of 60,000 weights tells faces from everything else.

LeNet-5 (with ReLU and max pooling) and a small residual network, evaluated on people and
backgrounds that were not seen in training. Training images are shifted, mirrored and relit at
random. Epochs and learning rates were chosen on validation data.

python -m bench lecture.face_or_not --folder runs/face_or_not
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import nets
from bench.lecture import data
from bench.lecture.figures import hidden, panels, show
from bench.lecture.findings import Finding, verdict
from nets.arrays import Array
from nets.interpret import grid
from nets.models.lenet import LeNet5
from nets.models.resnet import ResNet
from nets.nn import init
from nets.nn.layers import Module
from nets.nn.losses import cross_entropy
from nets.nn.optim import AdamW, Cosine
from nets.training import Arrays, Chain, Crop, Flip, Light, Loader, Run, accuracy, fit, predict

SIDE = 32
SCALE = {"mean": 0.5, "std": 0.25}
# Model, epochs, batch size, learning rate, and the target accuracy.
MODELS: dict[str, tuple[Callable[[], Module], int, int, float, float]] = {
    "LeNet-5": (lambda: LeNet5(2, activation="relu", pooling="max"), 8, 128, 3e-3, 0.990),
    "ResNet-8": (lambda: ResNet((1, 1, 1), 2, 1, width=0.125, small=True), 6, 128, 4e-3, 0.997),
}


def experiment(quick: bool = False, folder: Path | None = None) -> Finding:
    """Train and evaluate both networks."""
    sides = _invented() if quick else data.face_or_not(SIDE)
    runs, found = {}, {}
    for name, (_, epochs, *_, goal) in MODELS.items():
        began, used = time.perf_counter(), time.process_time()
        runs[name] = train(name, sides, 1 if quick else epochs, folder)
        found[name] = {
            "test": errors(runs[name].model, sides.test),
            "validation": errors(runs[name].model, sides.validation),
            "goal": goal,
            "parameters": runs[name].model.n_parameters,
            "epochs": runs[name].rows,
            "batches": runs[name].data.describe(),
            "minutes": (time.perf_counter() - began) / 60,
            "cpu_minutes": (time.process_time() - used) / 60,
        }
    reached = [entry["test"]["accuracy"] >= entry["goal"] for entry in found.values()]
    return Finding(
        claim="A small convolutional network, trained for minutes, tells faces from all else.",
        method=f"{len(sides.train):,} training images of {SIDE} x {SIDE} (faces, and windows of "
        f"images without faces), {len(sides.test):,} test images of other people and other "
        "sources; two threads, and one that prepares the batches.",
        measured=" ".join(_sentence(name, entry) for name, entry in found.items()),
        holds=verdict(reached),
        numbers=found,
        figure=draw(runs, sides.test),
    )


def train(name: str, sides: data.Sides, epochs: int, folder: Path | None = None) -> Run:
    """Train one of the models, resuming from its folder."""
    make, _, batch, rate, _ = MODELS[name]
    init.seed(0)
    model = make()
    change = Chain((Flip(), Crop((SIDE, SIDE)), Light()))
    loader = Loader(sides.train, batch, shuffle=True, augment=change, workers=1, **SCALE)
    optimiser = AdamW(model.named_parameters(), rate, weight_decay=1e-2)
    schedule = Cosine(optimiser, max(1, epochs * len(loader) - 200), warm_up=200)
    with nets.threads(2):
        return fit(
            model, cross_entropy, loader, optimiser, epochs,
            schedule=schedule,
            validation=Loader(sides.validation, 256, **SCALE),
            metrics={"accuracy": accuracy},
            folder=folder and folder / name,
            resume=folder is not None,
        )  # fmt: skip


def margins(model: Module, side: Arrays) -> Array:
    """Logit of face minus logit of background of each sample."""
    scores = predict(model, Loader(side.parts[0], 256, **SCALE))
    return scores[:, 1] - scores[:, 0]


def errors(model: Module, side: Arrays) -> dict[str, Any]:
    """Accuracy and error counts on a side."""
    labels = side.parts[1]
    wrong = (margins(model, side) > 0) != labels
    missed, false = wrong[labels == 1], wrong[labels == 0]
    return {
        "accuracy": float(1 - wrong.mean()),
        "balanced_accuracy": float(1 - (missed.mean() + false.mean()) / 2),
        "faces": len(missed),
        "missed": int(missed.sum()),
        "windows": len(false),
        "false_positives": int(false.sum()),
    }


def draw(runs: dict[str, Run], side: Arrays) -> Figure:
    """Validation error by epoch, and the examples with the largest errors."""
    figure, axes = panels(2, 2, 4.2, 2.4)
    for column, (name, run) in enumerate(runs.items()):
        epochs = [row["epoch"] for row in run.rows]
        errors = [100 * (1 - row["val_accuracy"]) for row in run.rows]
        axes[0, column].plot(epochs, errors, "o-")
        axes[0, column].set(title=name, xlabel="epoch", ylabel="wrong, %", yscale="log")
        pixels, labels = side.parts
        order = np.argsort(margins(run.model, side))
        faces, others = order[labels[order] == 1], order[labels[order] == 0][::-1]
        hardest = grid(hidden(pixels[np.concatenate([faces[:24], others[:24]])]), 12)
        show(axes[1, column], hardest, "hardest faces, hardest backgrounds")
    return figure


def _sentence(name: str, entry: dict[str, Any]) -> str:
    test = entry["test"]
    return (
        f"{name} ({entry['parameters']:,} weights): accuracy {test['accuracy']:.2%}, "
        f"{test['missed']} of {test['faces']:,} faces missed, {test['false_positives']} false "
        f"positives in {test['windows']:,} windows, after {entry['minutes']:.1f} minutes "
        f"({entry['cpu_minutes']:.1f} of CPU time)."
    )


def _invented() -> data.Sides:
    """For tests."""
    sides = [
        Arrays(data.invented(60, side, seed=i), np.arange(60) % 2, classes=2)
        for i, side in enumerate((40, SIDE, SIDE))
    ]
    return data.Sides(*sides)
