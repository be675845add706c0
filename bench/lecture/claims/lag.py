"""An RNN forgets over a long lag, an LSTM remembers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.lecture.figures import panels
from bench.lecture.findings import Finding
from nets.autograd.ops.arithmetic import permute
from nets.autograd.tensor import Tensor
from nets.models.recurrent import SequenceRNN
from nets.nn import init
from nets.nn.layers import Module
from nets.nn.losses import cross_entropy
from nets.nn.optim import Adam
from nets.training import Arrays, Loader, accuracy, evaluate, fit

CLAIM = (
    "The gradient of a plain RNN is multiplied through time by the same matrix and by derivatives "
    "below 1: it vanishes, and what happened long ago cannot be learned. The cell of an LSTM adds "
    "instead, and its gates decide what stays: it learns over long lags."
)
LAGS = (5, 10, 20, 40, 80)
HIDDEN, EPOCHS, SAMPLES, SEEDS = 32, 12, 1500, 3
RATES = (1e-2, 3e-3)
KINDS = {"RNN": ("rnn", 0.0), "LSTM": ("lstm", 0.0), "LSTM, forget bias 2": ("lstm", 2.0)}
METHOD = (
    "Sequences of symbols out of four; the network has to name the first one, which is marked. "
    f"{SAMPLES} sequences for every lag, {HIDDEN} hidden units, {EPOCHS} epochs of Adam with "
    f"gradient clipping at the better of two learning rates, mean of {SEEDS} seeds, tested on as "
    "many new sequences (chance: 25%). Before training: norm of the loss gradient with respect to "
    "the input of each step."
)


class Classifier(Module):
    """A recurrent classifier of sequences (N, T, inputs)."""

    def __init__(self, cell: str, forget: float) -> None:
        self.net = SequenceRNN(5, 4, HIDDEN, cell=cell)
        if forget:
            self.net.rnn.bias_ih_l0.data[HIDDEN : 2 * HIDDEN] = forget

    def forward(self, x: Tensor) -> Tensor:
        return self.net(permute(x, axes=(1, 0, 2)))


def sequences(count: int, lag: int, seed: int) -> Arrays:
    """Symbols as one of four, and a fifth input that marks the first."""
    rng = np.random.default_rng([seed, lag])
    symbols = rng.integers(0, 4, (count, lag + 1))
    x = np.zeros((count, lag + 1, 5), np.float32)
    x[np.arange(count)[:, None], np.arange(lag + 1), symbols] = 1
    x[:, 0, 4] = 1
    return Arrays(x, symbols[:, 0])


def gradient(model: Classifier, lag: int) -> NDArray[np.float64]:
    """Size of the loss's gradient to the input, by how many steps before the end it stood."""
    pictures, labels = sequences(200, lag, 9).parts
    x = Tensor(pictures, requires_grad=True)
    cross_entropy(model(x), labels).backward()
    return np.sqrt(np.mean(x.grad**2.0, axis=(0, 2)))[::-1]


def attempt(
    cell: str, forget: float, rate: float, seed: int, learn: Loader, test: Loader, epochs: int
) -> float:
    """Accuracy on new sequences after a training."""
    init.seed(seed)
    model = Classifier(cell, forget)
    optimiser = Adam(model.named_parameters(), rate)
    fit(model, cross_entropy, learn, optimiser, epochs, clip=1.0)
    return evaluate(model, test, {"right": accuracy})["right"]


def experiment(quick: bool = False) -> Finding:
    lags, epochs, samples = (LAGS[:2], 1, 100) if quick else (LAGS, EPOCHS, SAMPLES)
    sizes, right = {}, {name: [] for name in KINDS}
    for name, (cell, forget) in KINDS.items():
        init.seed(0)
        sizes[name] = gradient(Classifier(cell, forget), lags[-1])
        for lag in lags:
            learn, test = (Loader(sequences(samples, lag, s), 50, shuffle=True) for s in (0, 1))
            found = [
                max(attempt(cell, forget, rate, seed, learn, test, epochs) for rate in RATES)
                for seed in range(1 if quick else SEEDS)
            ]
            right[name].append(float(np.mean(found)))
    left = {name: float(size[-1] / size[0]) for name, size in sizes.items()}
    rnn, lstm, open_gate = right.values()
    longest = max(range(len(lags)), key=lambda i: (max(r[i] for r in right.values()) > 0.9, i))
    holds = "yes" if lstm[longest] > 0.9 > rnn[longest] else "no"
    if holds == "no" and open_gate[longest] > max(0.9, rnn[longest] + 0.1):
        holds = "in part"
    rows = [
        f"lag {lag}: RNN {a:.0%}, LSTM {b:.0%}, with forget bias 2 {c:.0%}"
        for lag, a, b, c in zip(lags, rnn, lstm, open_gate, strict=True)
    ]
    measured = (
        f"Accuracy: {'; '.join(rows)}. Before training, the gradient over {lags[-1]} "
        "steps shrinks to "
        + ", ".join(f"{max(share, 1e-30):.0e} ({name})" for name, share in left.items())
        + "."
    )
    if lstm[longest] < 0.9 < open_gate[longest]:
        measured += (
            " The cell alone does not make it remember: a forget gate initialised half open passes "
            "0.5 to the power of the lag and learns no longer lags than the RNN; it must be "
            "initialised open, as Gers et al. (2000) and Jozefowicz et al. (2015) advise. And the "
            "vanishing gradient does not stop the RNN in every run: some seeds learn long lags."
        )
    figure, ((before, after),) = panels(1, 2, 3.8, 2.8)
    for name, size in sizes.items():
        before.semilogy(np.maximum(size / size[0], 1e-30), label=name)
        after.plot(lags, 100 * np.array(right[name]), "o-", label=name)
    before.set(xlabel="steps before the end", ylabel="gradient, last step = 1", ylim=(1e-20, 10))
    after.axhline(25, color="gray", linestyle=":", linewidth=1)
    after.set(xlabel="lag", ylabel="right, %", xscale="log", xticks=lags, xticklabels=lags)
    after.minorticks_off()
    before.legend(fontsize=7)
    numbers = {"lag": lags, "right": right, "gradient_left": left}
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure)
