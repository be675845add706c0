"""A deep autoencoder codes faces better than PCA, and trains better layer by layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding, verdict
from nets.models.autoencoder import Autoencoder
from nets.nn import init
from nets.nn.layers import Linear
from nets.nn.losses import mse_loss
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Loader, fit, predict

Pixels = NDArray[np.float32]
CLAIM = (
    "PCA is the best linear code of a given length; an autoencoder of several layers is nonlinear "
    "and codes the same data with less error. A deep stack of sigmoids is hard to train from "
    "random weights; pre-trained layer by layer, each on the output of the one below, it starts "
    "close to a good solution."
)
SIDE, FACES, EPOCHS, FIRST = 28, 5000, 30, 5
CODES = (2, 30)
METHOD = (
    f"{SIDE}x{SIDE} faces through 784-500-300-code and back, squared error, codes of {CODES[0]} "
    f"and {CODES[1]} values, against as many components of PCA. Sigmoids from random weights: "
    f"{EPOCHS} epochs of Adam; with pre-training: {FIRST} epochs for each pair of layers, then "
    f"{EPOCHS - 3 * FIRST} of all together, the same total. Also tanh from random weights. Error: "
    "root mean square over faces of people that were not seen in training."
)


def load(quick: bool) -> tuple[Pixels, Pixels]:
    """Training and test faces (n, 784), from 0 to 1."""
    if quick:
        pictures = data.invented(80, SIDE), data.invented(16, SIDE, seed=1)
    else:
        sides = data.faces(SIDE, limit=FACES)
        pictures = sides.train.parts[0], sides.test.parts[0]
    learn, test = (p.reshape(len(p), -1) / np.float32(255) for p in pictures)
    return learn, test


def pca(learn: Pixels, test: Pixels, size: int) -> Pixels:
    """The test pictures rebuilt from their ``size`` first components."""
    mean = learn.mean(0)
    _, vectors = np.linalg.eigh(np.cov((learn - mean).T))
    first = vectors[:, -size:].astype(np.float32)
    return (test - mean) @ first @ first.T + mean


def train(model: Autoencoder, x: Pixels, epochs: int, rate: float = 1e-3) -> list[float]:
    """Errors of the epochs."""
    loader = Loader(Arrays(x), 64, shuffle=True)
    optimiser = Adam(model.named_parameters(), rate)
    schedule = Cosine(optimiser, epochs * len(loader), floor=0.05)
    record = fit(model, mse_loss, loader, optimiser, epochs, schedule=schedule)
    return [float(np.sqrt(row["loss"])) for row in record.rows]


def coded(
    kind: str, learn: Pixels, test: Pixels, size: int, quick: bool
) -> tuple[Pixels, list[float]]:
    """The test pictures rebuilt by an autoencoder, and how its training went."""
    init.seed(0)
    function = "tanh" if kind == "tanh" else "sigmoid"
    model = Autoencoder((SIDE**2, 500, 300, size), activation=function)
    layers = [m for m in model.modules() if isinstance(m, Linear)]
    for layer in layers:
        layer.weight.data, layer.bias.data[...] = init.xavier_normal(layer.weight.shape), 0
    epochs, first = (2, 1) if quick else (EPOCHS, FIRST)
    if kind == "layer by layer":
        for below, alone in model.layerwise():
            seen = predict(below, learn, 512) if len(below) else learn
            train(alone, seen, first)
        epochs = max(1, epochs - 3 * first)
    errors = train(model, learn, epochs)
    return predict(model, test, 512), errors


def experiment(quick: bool = False) -> Finding:
    learn, test = load(quick)
    learn -= (mean := learn.mean(0))
    test -= mean  # values around 0 suit every layer
    kinds = ("random weights", "layer by layer", "tanh")
    error: dict[str, dict[int, float]] = {"mean face": {}, "PCA": {}, **{k: {} for k in kinds}}
    rebuilt, curves = {}, {}
    for size in CODES[:1] if quick else CODES:
        rebuilt[f"PCA {size}"] = pca(learn, test, size)
        rebuilt[f"mean face {size}"] = np.zeros_like(test)
        for kind in kinds:
            name = f"{kind} {size}"
            rebuilt[name], curves[name] = coded(kind, learn, test, size, quick)
        for kind, found in error.items():
            apart = rebuilt[f"{kind} {size}"] - test
            found[size] = float(np.sqrt(np.mean(apart**2)))
    sizes = list(error["PCA"])
    beats = [min(error[k][s] for k in kinds) < error["PCA"][s] for s in sizes]
    helps = [error["layer by layer"][s] < 0.98 * error["random weights"][s] for s in sizes]
    rows = [
        f"{s} values: " + ", ".join(f"{kind} {found[s]:.4f}" for kind, found in error.items())
        for s in sizes
    ]
    measured = f"Error on unseen people: {'; '.join(rows)}. " + " ".join(
        f"With {s} values the best autoencoder is {'better' if b else 'not better'} than PCA, and "
        f"pre-training {'helps' if h else 'does not help'}."
        for s, b, h in zip(sizes, beats, helps, strict=True)
    )
    figure, ((left, right),) = panels(1, 2, 4, 3)
    for name, values in curves.items():
        ahead = 0 if quick or not name.startswith("layer") else 3 * FIRST
        style = "-" if name.endswith(f" {sizes[-1]}") else "--"
        colour = f"C{kinds.index(name.rpartition(' ')[0])}"
        left.plot(ahead + 1 + np.arange(len(values)), values, style, color=colour, label=name)
    left.set(xlabel="epoch, those of single layers counted", ylabel="error in training")
    left.legend(fontsize=6)
    tiles = [test[:8], *(rebuilt[f"{k} {sizes[-1]}"][:8] for k in ("PCA", *kinds))]
    picture = sheet(hidden((np.concatenate(tiles) + mean).reshape(-1, SIDE, SIDE)), 8)
    show(right, picture, f"{sizes[-1]} values: PCA, {', '.join(kinds)}")
    numbers = {"error": error, "training": curves}
    return Finding(CLAIM, METHOD, measured, verdict(beats + helps), numbers, figure)
