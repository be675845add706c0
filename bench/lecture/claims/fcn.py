"""FCN-8s segments the outline of faces better than FCN-16s, and FCN-16s better than FCN-32s."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from nets.models.fcn import FCN
from nets.nn import init
from nets.nn.losses import cross_entropy
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Flip, Loader, fit, predict

CLAIM = (
    "The last map of VGG-16 is 32 times smaller than the image: upsampled at once (FCN-32s) its "
    "outlines are coarse. Adding the predictions of pool4 (FCN-16s) and of pool3 (FCN-8s) refines "
    "them, each step better than the one before."
)
SIZE, WIDTH, BATCH, COUNTS = 96, 1 / 8, 10, (1200, 100, 400)
FIRST, THEN, RATE = 6, 3, 1e-3
SCALE = {"mean": 0.5, "std": 0.25}
METHOD = (
    f"FCN on a VGG-16 with an eighth of the channels, from random weights, on {COUNTS[0]} pictures "
    f"of {SIZE}x{SIZE} with faces composed into backgrounds; FCN-32s for {FIRST} epochs, then all "
    f"three from its weights for {THEN} epochs each. Mean intersection over union of both classes "
    f"on {COUNTS[2]} pictures of people and backgrounds that were not seen in training, and the "
    "pixel accuracy within 3 pixels of an outline."
)


def load(quick: bool) -> tuple[Arrays, Arrays]:
    """Pictures and masks for training and test."""
    if quick:
        masks = np.zeros((4, SIZE, SIZE), np.int64)
        masks[:, 30:60, 30:60] = 1
        made = Arrays(data.invented(4, SIZE, colour=True), masks)
        return made, made
    sides = data.segmentation(SIZE, COUNTS)
    return sides.train, sides.test


def train(model: FCN, learn: Arrays, epochs: int, rate: float) -> list[float]:
    """Losses of the epochs."""
    loader = Loader(learn, BATCH, shuffle=True, augment=Flip(parts=(0, 1)), **SCALE)
    optimiser = Adam(model.named_parameters(), rate)
    schedule = Cosine(optimiser, epochs * len(loader), floor=0.1)
    record = fit(model, cross_entropy, loader, optimiser, epochs, schedule=schedule, clip=5.0)
    return [row["loss"] for row in record.rows]


def accuracies(found: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Mean intersection over union, and the pixel accuracy near outlines."""
    unions = [((found == c) & (truth == c)).sum() / ((found == c) | (truth == c)).sum()
              for c in (0, 1)]  # fmt: skip
    near = np.zeros(truth.shape, bool)
    for shift in range(1, 4):
        for axis in (1, 2):
            for step in (shift, -shift):
                near |= truth != np.roll(truth, step, axis)
    return {
        "mean_iou": float(np.mean(unions)),
        "face_iou": float(unions[1]),
        "right_near_outlines": float((found == truth)[near].mean()),
    }


def experiment(quick: bool = False) -> Finding:
    learn, test = load(quick)
    first, then = (1, 1) if quick else (FIRST, THEN)
    build = {"stride": 32, "width": WIDTH, "dropout": 0.0}
    init.seed(0)
    start = FCN(2, **build)
    losses = {"first": train(start, learn, first, RATE)}
    weights = {n: a.copy() for n, a in start.state_dict().items()}
    scores, found = {}, {}
    for stride in (32, 16, 8):
        init.seed(1)
        model = FCN(2, **{**build, "stride": stride})
        kept = {n: a for n, a in weights.items() if stride == 32 or not n.startswith("upscore")}
        model.load_state_dict(kept, strict=False)
        name = f"FCN-{stride}s"
        losses[name] = train(model, learn, then, RATE / 2)
        found[name] = predict(model, Loader(test.parts[0], 20, **SCALE)).argmax(1)
        scores[name] = accuracies(found[name], test.parts[1])
    coarse, middle, fine = (scores[name]["mean_iou"] for name in scores)
    holds = "yes" if coarse < middle < fine else "in part" if coarse < fine else "no"
    rows = [
        f"{name}: mean IoU {s['mean_iou']:.4f} (face {s['face_iou']:.4f}), accuracy near outlines "
        f"{s['right_near_outlines']:.1%}"
        for name, s in scores.items()
    ]
    measured = "; ".join(rows) + "."
    figure, ((ax,),) = panels(1, 1, 5.2, 4.4)
    chosen = [i for i in range(len(test)) if test.parts[1][i].mean() > 0.08][:6]
    masks = [test.parts[1], *found.values()]
    gray = [np.repeat(255 * m[chosen, ..., None], 3, -1).astype(np.uint8) for m in masks]
    picture = sheet(np.concatenate([hidden(test.parts[0][chosen]), *gray]), len(chosen))
    show(ax, picture, "picture, truth, " + ", ".join(found))
    return Finding(CLAIM, METHOD, measured, holds, {"scores": scores, "loss": losses}, figure)
