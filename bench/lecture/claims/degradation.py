"""A deep plain network trains worse than a shallow one; its residual counterpart does not."""

from __future__ import annotations

from bench.lecture import data
from bench.lecture.figures import panels
from bench.lecture.findings import Finding
from nets.models.resnet import ResNet
from nets.nn import init
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD, Cosine
from nets.training import Flip, Loader, accuracy, evaluate, fit

CLAIM = (
    "Adding layers to a plain network makes it worse on the training data too, so the cause is not "
    "overfitting: deep plain networks are hard to optimise. With shortcuts around every two layers "
    "a deeper network is no worse than a shallow one."
)
BLOCKS = (1, 3, 9)  # in each of three stages, two layers each
SIDE, WIDTH, EPOCHS, LIMIT, RATES = 16, 0.125, 6, 1200, (0.05, 0.01)
METHOD = (
    "Residual networks of 8, 20 and 56 layers for small images (8, 16 and 32 channels), with batch "
    f"normalisation and He initialisation, and the same without shortcuts, on faces and "
    f"backgrounds of {SIDE}x{SIDE}; {EPOCHS} epochs of SGD with momentum 0.9 at the better of the "
    f"learning rates {RATES[0]} and {RATES[1]}, with cosine decay."
)


def experiment(quick: bool = False) -> Finding:
    train, test = data.two_sides(quick, SIDE, windows=2, limit=LIMIT)
    scale = {"mean": 0.5, "std": 0.25}
    loader = Loader(train, 64, shuffle=True, augment=Flip(), **scale)
    blocks, epochs = (BLOCKS[:1], 1) if quick else (BLOCKS, EPOCHS)
    curves, right = {}, {}
    for count in blocks:
        for shortcuts in (False, True):
            tried = []
            for rate in RATES[: 1 if quick else None]:
                init.seed(0)
                model = ResNet([count] * 3, 2, 1, width=WIDTH, small=True, shortcuts=shortcuts)
                optimiser = SGD(model.named_parameters(), rate, momentum=0.9, weight_decay=1e-4)
                schedule = Cosine(optimiser, epochs * len(loader))
                record = fit(model, cross_entropy, loader, optimiser, epochs, schedule=schedule)
                checked = evaluate(model, Loader(test, 256, **scale), {"accuracy": accuracy})
                tried.append(([row["loss"] for row in record.rows], checked["accuracy"]))
            name = f"{'residual' if shortcuts else 'plain'} {6 * count + 2}"
            curves[name], right[name] = min(tried, key=lambda pair: pair[0][-1])
    last = {name: curve[-1] for name, curve in curves.items()}
    depths = [6 * count + 2 for count in blocks]
    shallow, deep = depths[0], depths[-1]
    plain_worse = last[f"plain {deep}"] > 1.2 * last[f"plain {shallow}"]
    twin_fine = last[f"residual {deep}"] < 1.1 * last[f"residual {shallow}"]
    twin_better = last[f"residual {deep}"] < last[f"plain {deep}"]
    holds = "yes" if plain_worse and twin_fine else "in part" if twin_better else "no"
    rows = [
        f"{d} layers: plain {last[f'plain {d}']:.4f} (accuracy {right[f'plain {d}']:.1%}), "
        f"residual {last[f'residual {d}']:.4f} ({right[f'residual {d}']:.1%})"
        for d in depths
    ]
    measured = (
        f"Training loss of the last epoch, and accuracy on unseen pictures: {'; '.join(rows)}."
    )
    figure, ((left, ax),) = panels(1, 2, 4, 3)
    for name, curve in curves.items():
        style = "-" if name.startswith("residual") else "--"
        shade = f"C{depths.index(int(name.split()[1]))}"
        left.semilogy(range(1, len(curve) + 1), curve, style, color=shade, label=name)
    left.set(xlabel="epoch", ylabel="training loss")
    left.legend(fontsize=7)
    for kind in ("plain", "residual"):
        wrong = [100 * (1 - right[f"{kind} {d}"]) for d in depths]
        ax.plot(depths, wrong, "o--" if kind == "plain" else "o-", color="black", label=kind)
    ax.set(xlabel="layers", ylabel="error on unseen pictures, %")
    ax.legend(fontsize=8)
    return Finding(CLAIM, METHOD, measured, holds, {"loss": curves, "accuracy": right}, figure)
