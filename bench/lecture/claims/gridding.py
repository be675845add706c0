"""Equal dilation rates leave a grid, hybrid rates cover every pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.lecture.claims.small_objects import SIDE, compose, segmented
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.dilation import check_rates, coverage
from nets.nn import init
from nets.nn.layers import BatchNorm2d, Conv2d, Module, ReLU, Sequential

LAYERS, RATE, WIDTH, COUNT, EPOCHS = 5, 4, 16, 1000, 12
FIELD = 2 * LAYERS * RATE + 1
STACKS = {"equal": [RATE] * LAYERS, "hybrid": [1, 2, 3, 5, 9]}
CLAIM = (
    "Stacked convolutions of one dilation rate read only every r-th row and column: neighbouring "
    "outputs are computed from different pixels, small objects fall through the grid, and the "
    "output is a chessboard. Rates without a common divisor, small ones first (hybrid dilation), "
    "read every pixel of an equally large receptive field."
)
METHOD = (
    f"{LAYERS} 3x3 layers with rates {STACKS['equal']} and {STACKS['hybrid']}, both with a "
    f"receptive field of {FIELD} pixels. First the gradient of one output pixel with respect to "
    "the input, mean over 20 draws of random weights; then both are trained "
    f"({WIDTH} channels, {EPOCHS} epochs) to segment faces of 4 to 30 pixels in {COUNT} pictures "
    f"of {SIDE}x{SIDE}, and evaluated on people and backgrounds that were not seen in training. "
    "Chessboard: how often a pixel's class differs from that of its right neighbour, over how "
    f"often from that {RATE} to the right; smooth masks give 1/{RATE}."
)


def stack(rates: list[int], width: int, norm: bool = True) -> Sequential:
    """Pictures (N, 1, H, W) to logits (N, 1, H, W)."""
    layers: list[Module] = []
    for i, rate in enumerate(rates):
        layers.append(Conv2d(1 if i == 0 else width, width, 3, 1, rate, rate))
        layers += [BatchNorm2d(width), ReLU()] if norm else []
    return Sequential(*layers, Conv2d(width, 1, 1))


def seen(rates: list[int], draws: int) -> NDArray[np.float64]:
    """Mean size of the gradient of the middle output to each input pixel, linear layers."""
    total = np.zeros((FIELD + 4, FIELD + 4))
    init.seed(0)
    for _ in range(draws):
        x = Tensor(np.zeros((1, 1, *total.shape)), requires_grad=True)
        y = stack(rates, 4, norm=False)(x)
        y[0, 0, FIELD // 2 + 2, FIELD // 2 + 2].backward()
        total += np.abs(x.grad[0, 0])
    return total / total.max()


def chessboard(found: Array) -> float:
    """Changes between neighbours over those ``RATE`` apart: 1 / RATE for smooth masks."""
    near = np.mean(found[..., 1:] != found[..., :-1])
    far = np.mean(found[..., RATE:] != found[..., :-RATE])
    return float(near / max(far, 1e-9))


def experiment(quick: bool = False) -> Finding:
    (learn, _), (test, sizes) = (
        compose(side, 20 if quick else n, quick) for side, n in (("train", COUNT), ("test", 600))
    )
    truth, small = test.parts[1] > 0.5, sizes <= 8
    numbers, found, maps = {}, {}, {}
    for name, rates in STACKS.items():
        maps[name] = seen(rates, 2 if quick else 20)
        inside = maps[name][2:-2, 2:-2] > 0
        assert np.array_equal(inside, coverage(rates) > 0), "the gradient contradicts the paths"
        init.seed(0)
        model = stack(rates, WIDTH)
        found[name] = segmented(model, learn, test, 1 if quick else EPOCHS)
        both, either = found[name] & truth, found[name] | truth
        numbers[name] = {
            "rates": rates,
            "verdict": str(check_rates(rates)),
            "seen": float(inside.mean()),
            "overlap": float(both.sum() / max(1, either.sum())),
            "overlap_to_8_pixels": float(both[small].sum() / max(1, either[small].sum())),
            "chessboard": chessboard(found[name]),
        }
    a, b = numbers["equal"], numbers["hybrid"]
    grid = a["seen"] < 0.1 and b["seen"] == 1
    worse = a["overlap"] < b["overlap"] and a["overlap_to_8_pixels"] < b["overlap_to_8_pixels"]
    rough = a["chessboard"] > 1.3 * b["chessboard"]
    holds = "yes" if grid and worse and rough else "in part" if grid else "no"
    measured = (
        f"Of the {FIELD}x{FIELD} pixels, rates {a['rates']} use {a['seen']:.1%} "
        f"({a['verdict']}), rates {b['rates']} {b['seen']:.0%}; the gradient is zero exactly where "
        f"no path leads. After training the IoU is {a['overlap']:.3f} with equal rates and "
        f"{b['overlap']:.3f} with hybrid ones; for faces of up to 8 pixels "
        f"{a['overlap_to_8_pixels']:.3f} and {b['overlap_to_8_pixels']:.3f}; chessboard "
        f"{a['chessboard']:.2f} and {b['chessboard']:.2f} (ground truth: {chessboard(truth):.2f})."
    )
    figure, axes = panels(1, 3, 2.6, 2.8)
    for place, (name, rates) in zip(axes[0], STACKS.items(), strict=False):
        show(place, maps[name] ** 0.25, f"seen by one output: {rates}", cmap="magma")
    order = np.argsort(-(found["equal"] != found["hybrid"]).sum((1, 2, 3)))[:4]
    tiles = np.stack([hidden(test.parts[0][order]), *(255 * m[order, 0].astype(np.uint8) for m in
                      (truth, found["equal"], found["hybrid"]))], 1)  # fmt: skip
    show(axes[0, 2], sheet(tiles.reshape(-1, SIDE, SIDE), 4), "picture, truth, equal, hybrid")
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure)
