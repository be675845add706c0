"""The squared error is sensitive to outliers, the absolute error is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from nets.nn.losses import huber_loss, l1_loss, mse_loss
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Loader, fit, predict

CLAIM = (
    "The mean squared error weighs a large deviation by its square, so a few wrong labels pull the "
    "prediction away. The mean absolute error, whose gradient does not grow with the deviation, "
    "hardly moves; without outliers the squared error learns better. Huber's loss lies between."
)
SIDE, EPOCHS, FACES = 24, 8, 4000
SHARES = (0.0, 0.1, 0.2, 0.4)
LOSSES: dict[str, Callable[..., Tensor]] = {
    "MSE": mse_loss,
    "Huber": lambda x, y: huber_loss(x, y, delta=0.5),
    "MAE": l1_loss,
}
METHOD = (
    f"A small network predicts five landmarks in faces of {SIDE}x{SIDE} pixels. In a share of the "
    f"{FACES} training faces all landmarks are displaced by the same 6 to 9 pixels to the right "
    "and down, as if boxes had slipped; those of the test set are correct. Same initialisation, "
    f"same batches, {EPOCHS} epochs of Adam each. The error is the mean distance from the correct "
    "position."
)
MARKS = ("le", "re", "nose", "ml", "mr")


def landmarks(rows: list[data.Row]) -> NDArray[np.float32]:
    """Of faces (n, 10), x and y in turn, in pixels from the middle."""
    names = [f"{mark}_{axis}" for mark in MARKS for axis in "xy"]
    places = np.array([[float(row[name]) for name in names] for row in rows], np.float32)
    return (places - 48) * np.float32(SIDE / data.SQUARE)


def load(quick: bool) -> tuple[Arrays, Arrays]:
    """Faces and landmarks, for training and test."""
    if quick:
        made = Arrays(data.invented(64, SIDE), np.zeros((64, 10), np.float32))
        return made, made
    rows = data.face_rows(sets=["lfwexpr"])
    parts = [[row for row in rows if row["side"] == side][:FACES] for side in ("train", "test")]
    train, test = (Arrays(data.face_crops(part, SIDE), landmarks(part)) for part in parts)
    return train, test


def displaced(marks: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Labels of which a share is displaced."""
    rng = np.random.default_rng(0)
    wrong = rng.permutation(len(marks))[: round(share * len(marks))]
    slipped = marks.copy()
    slipped[wrong] += rng.uniform(6, 9, (len(wrong), 1)).astype(np.float32)
    return slipped


def net() -> Module:
    """Pictures (N, 1, 24, 24) to landmarks (N, 10)."""
    init.seed(0)
    return Sequential(
        Conv2d(1, 8, 3, padding=1), ReLU(), MaxPool2d(2),
        Conv2d(8, 16, 3, padding=1), ReLU(), MaxPool2d(2),
        Conv2d(16, 32, 3, padding=1), ReLU(), Flatten(), Linear(32 * 36, 10),
    )  # fmt: skip


def experiment(quick: bool = False) -> Finding:
    train, test = load(quick)
    epochs, scale = (1 if quick else EPOCHS), {"mean": 0.5, "std": 0.25}
    error: dict[str, list[float]] = {name: [] for name in LOSSES}
    last: dict[str, Any] = {}
    for share in SHARES[:2] if quick else SHARES:
        labels = displaced(train.parts[1], share)
        for name, loss in LOSSES.items():
            model = net()
            loader = Loader(Arrays(train.parts[0], labels), 64, shuffle=True, **scale)
            optimiser = Adam(model.named_parameters(), 2e-3)
            schedule = Cosine(optimiser, epochs * len(loader))
            fit(model, loss, loader, optimiser, epochs, schedule=schedule)
            last[name] = predict(model, Loader(test.parts[0], 256, **scale))
            apart = (last[name] - test.parts[1]).reshape(-1, 5, 2)
            error[name].append(float(np.hypot(*np.moveaxis(apart, 2, 0)).mean()))
    mse, mae = error["MSE"], error["MAE"]
    robust = mae[2 % len(mae)] < 0.6 * mse[2 % len(mse)] and mae[1] < mse[1]
    better_clean = mse[0] < mae[0]
    holds = "yes" if robust and better_clean else "in part" if robust else "no"
    rows = [
        f"{share:.0%} wrong labels: MSE {a:.2f}, Huber {b:.2f}, MAE {c:.2f}"
        for share, a, b, c in zip(SHARES, *error.values(), strict=False)
    ]
    measured = f"Mean error in pixels of {SIDE}: {'; '.join(rows)}."
    if robust and not better_clean:
        measured += (
            " The squared error is not better without outliers here: landmarks that a detector "
            "made have outliers of their own."
        )
    figure, ((left, right),) = panels(1, 2, 3.6, 2.8)
    for name, values in error.items():
        left.plot(100 * np.array(SHARES[: len(values)]), values, "o-", label=name)
    left.set(xlabel="wrong labels, %", ylabel="mean error, pixels")
    left.legend(fontsize=8)
    right_title = "most wrong labels: MSE (red), MAE (green)"
    show(right, sheet(hidden(test.parts[0][:12]), 4), right_title)
    for name, colour in (("MSE", "red"), ("MAE", "lime")):
        for i, marks in enumerate(last[name][:12].reshape(-1, 5, 2)):
            at = marks + SIDE / 2 - 0.5 + np.array([i % 4, i // 4]) * SIDE
            right.plot(*at.T, ".", color=colour, markersize=3)
    return Finding(CLAIM, METHOD, measured, holds, {"share": SHARES, "error": error}, figure)
