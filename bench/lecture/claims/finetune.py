"""Which way to fine-tune: four cases."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bench.lecture import data
from bench.lecture.figures import panels
from bench.lecture.findings import Finding, verdict
from nets.models.lenet import LeNet5
from nets.nn import init
from nets.nn.layers import Module
from nets.nn.losses import cross_entropy
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Loader, accuracy, evaluate, fit
from nets.training.finetune import STRATEGIES, adapt, advise, probe

CLAIM = (
    "Little new data, similar task: a linear classifier on the top features. Little data, "
    "dissimilar: one on earlier features. Much data, similar: fine-tune everything. Much data, "
    "dissimilar: train everything, with the old weights as initialisation."
)
BASE, FEW, MANY, DRAWS = 4, 30, 1500, 3
RATES, STEPS = (2e-3, 2e-2), {"few": 150, "many": 400}
HARM = ("as it is", "blurred", "noisy", "of low quality")
SCALE = {"mean": 0.5, "std": 0.25}
METHOD = (
    "LeNet-5 learns to tell faces from backgrounds. Then a similar task, whether a face is of a "
    "child (up to 10 years) or of an adult (40 and more), and a dissimilar one, whether a "
    f"background is {', '.join(HARM)}. {FEW} or {MANY} samples a class, each strategy with Adam "
    "and equal steps at the better of two learning rates on validation; accuracy on people and "
    f"backgrounds that were not seen in training, with few samples the mean of {DRAWS} draws. The "
    "advice counts as right if its strategy is within 1% of the best."
)


def base(quick: bool) -> dict[str, NDArray[Any]]:
    """Weights that tell faces from backgrounds."""
    init.seed(0)
    model = fresh(2)
    if quick:
        learn = Arrays(data.invented(64, 32), np.arange(64) % 2)
    else:
        learn = data.face_or_not(32, margin=0, windows=3, limit=3000).train
    loader = Loader(learn, 64, shuffle=True, **SCALE)
    epochs = 1 if quick else BASE
    optimiser = Adam(model.named_parameters(), 1e-3)
    schedule = Cosine(optimiser, epochs * len(loader))
    fit(model, cross_entropy, loader, optimiser, epochs, schedule=schedule)
    return {name: array.copy() for name, array in model.state_dict().items()}


def fresh(classes: int) -> LeNet5:
    """The net, untrained."""
    return LeNet5(classes, activation="relu", pooling="max")


def ages(side: str) -> Arrays:
    """Faces of children (1) and adults (0), as many of each."""
    rows = [r for r in data.face_rows(sets=["aaf"]) if r["side"] == side and r["age"]]
    young = [r for r in rows if float(r["age"]) <= 10]
    old = [r for r in rows if float(r["age"]) >= 40]
    count = min(len(young), len(old), MANY)
    chosen = [*_some(young, count), *_some(old, count)]
    return Arrays(data.face_crops(chosen, 32), np.repeat([1, 0], count))


def harms(side: str) -> Arrays:
    """Windows of backgrounds, harmed in one of three ways or not."""
    places = [r for r in data.background_rows() if r["side"] == side]
    windows = data.background_windows(_some(places, MANY), len(HARM), _reduced)
    labels = np.arange(len(windows)) % len(HARM)
    rng = np.random.default_rng(4)
    return Arrays(
        np.stack([_harmed(w, k, rng) for w, k in zip(windows, labels, strict=True)]), labels
    )


def _harmed(window: data.Pixels, how: int, rng: np.random.Generator) -> data.Pixels:
    picture = Image.fromarray(window)
    if how == 1:
        picture = picture.filter(ImageFilter.GaussianBlur(0.6))
    elif how == 2:
        noisy = window + rng.normal(0, 8, window.shape)
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    elif how == 3:
        picture.save(file := io.BytesIO(), "JPEG", quality=30)
        picture = Image.open(file)
    return np.asarray(picture)


def _reduced(window: Image.Image, _: np.random.Generator) -> data.Pixels:
    return np.asarray(window.resize((32, 32), Image.Resampling.BOX))


def _some(rows: list[Any], count: int) -> list[Any]:
    chosen = np.random.default_rng(3).permutation(len(rows))[:count]
    return [rows[i] for i in chosen]


def drawn(task: Arrays, each: int, classes: int, seed: int) -> Arrays:
    """So many samples of each class."""
    rng = np.random.default_rng(seed)
    places = [rng.permutation(np.flatnonzero(task.parts[1] == c))[:each] for c in range(classes)]
    return Arrays(*task.batch(np.concatenate(places)))


def attempt(
    strategy: str, weights: dict[str, Any], learn: Arrays, checks: tuple[Loader, Loader], steps: int
) -> float:
    """Accuracy on the test after training by one strategy, at the rate that validation chose."""
    tried = []
    loader = Loader(learn, min(64, len(learn)), shuffle=True, drop_last=True, **SCALE)
    epochs = max(1, round(steps / len(loader)))
    classes = int(learn.parts[1].max()) + 1
    for rate in RATES:
        init.seed(1)
        model: Module = fresh(2)
        model.load_state_dict(weights)
        adapted = adapt(
            model, strategy, classes, rate=rate, layer="conv2",
            example=loader.as_input(learn.parts[0][:2]), fresh=lambda: fresh(classes),
        )  # fmt: skip
        optimiser = Adam(adapted.groups, rate)
        schedule = Cosine(optimiser, epochs * len(loader))
        fit(adapted.model, cross_entropy, loader, optimiser, epochs, schedule=schedule)
        tried.append([evaluate(adapted.model, c, {"right": accuracy})["right"] for c in checks])
    return max(tried)[1]


def experiment(quick: bool = False) -> Finding:
    weights = base(quick)
    if quick:
        made = Arrays(data.invented(80, 32), np.arange(80) % 2)
        tasks = {"similar": (made, made, made)}
    else:
        tasks = {name: tuple(make(side) for side in data.SIDES)
                 for name, make in (("similar", ages), ("dissimilar", harms))}  # fmt: skip
    right: dict[str, dict[str, float]] = {}
    advised, probed = {}, {}
    for name, (train, *others) in tasks.items():
        classes = int(train.parts[1].max()) + 1
        checks = tuple(Loader(part, 256, **SCALE) for part in others)
        model = fresh(2)
        model.load_state_dict(weights)
        probed[name] = probe(model, checks[0], ["conv1", "conv2", "fc1", "fc2"])
        for amount, each in (("few", FEW), ("many", MANY)):
            case = f"{amount}, {name}"
            draws = 1 if quick or amount == "many" else DRAWS
            samples = [drawn(train, each, classes, seed) for seed in range(draws)]
            right[case] = {
                strategy: float(np.mean([
                    attempt(strategy, weights, s, checks, 5 if quick else STEPS[amount])
                    for s in samples
                ]))
                for strategy in STRATEGIES
            }  # fmt: skip
            advised[case] = advise(len(samples[0]), classes, name == "similar").strategy
    best = {case: max(found, key=found.__getitem__) for case, found in right.items()}
    good = {case: right[case][advised[case]] > right[case][best[case]] - 0.01 for case in right}
    rows = [
        f"{case}: advised {advised[case]} {found[advised[case]]:.1%}, best {best[case]} "
        f"{found[best[case]]:.1%}, from scratch {found['scratch']:.1%}"
        for case, found in right.items()
    ]
    layers = "; ".join(
        f"{name} " + ", ".join(f"{layer} {share:.1%}" for layer, share in found.items())
        for name, found in probed.items()
    )
    measured = (
        f"{'; '.join(rows)}. The advice is right in {sum(good.values())} of {len(good)} cases. "
        f"Accuracy of a linear classifier on each layer: {layers}."
    )
    few = right.get("few, similar", {})
    if few and few["linear_on_top"] < few["linear_earlier"] - 0.05:
        measured += (
            " The top layers of a network trained to separate two classes encode little else: both "
            "tasks show faces, but that does not make them similar. And pre-training on some "
            "thousand small pictures is worth little once there are thousands of new ones."
        )
    figure, ((ax,),) = panels(1, 1, 7, 3)
    for i, strategy in enumerate(STRATEGIES):
        at = np.arange(len(right)) + 0.16 * (i - 2)
        ax.bar(at, [100 * right[case][strategy] for case in right], 0.15, label=strategy)
        for x, case in zip(at, right, strict=True):
            if advised[case] == strategy:
                ax.text(x, 100 * right[case][strategy], "*", ha="center")
    ax.set_xticks(range(len(right)), list(right))
    ax.set(ylabel="right, %  (* advised)", ylim=(0, 119))
    ax.legend(fontsize=7, ncols=5, loc="upper center")
    numbers = {"accuracy": right, "advised": advised, "best": best, "probe": probed}
    return Finding(CLAIM, METHOD, measured, verdict(good.values()), numbers, figure)
