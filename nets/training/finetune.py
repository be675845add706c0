"""Transfer learning: adapting a trained network to a new task.

The strategy depends on the amount of new data and the similarity of the tasks:

=============  ==========================  ===========================================
new data       similar task                other task
=============  ==========================  ===========================================
little         "linear_on_top"             "linear_earlier"
much           "fine_tune"                 "initialise" (or "scratch")
=============  ==========================  ===========================================

The first layers of a network detect edges and colours, useful for every task; the last ones are
specific to the old task. On little data many weights overfit, so only a few are trained.

References: Yosinski et al., How transferable are features in deep neural networks?, NIPS 2014;
Razavian et al., CNN features off-the-shelf, CVPR workshop 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.nn.layers.linear import Linear
from nets.nn.layers.modes import in_use
from nets.nn.layers.module import Module
from nets.training.evaluation import as_argument
from nets.training.loader import Loader
from nets.training.truncated import Cut
from vj.errors import NetError, ParameterError

STRATEGIES = ("linear_on_top", "linear_earlier", "fine_tune", "initialise", "scratch")
FEW = 500  # below so many samples per class the data is small


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommended strategy and the reason for it."""

    strategy: str
    why: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model prepared for the new task.

    Attributes
    ----------
    model : Module
    groups : list of dict
        Parameter groups for an optimiser: named parameters and learning rates.
    """

    model: Module
    groups: list[dict[str, Any]]


def advise(samples: int, classes: int, similar: bool, *, few: int = FEW) -> Advice:
    """Recommend a strategy for a new task.

    Parameters
    ----------
    samples, classes : int
        Size of the new data.
    similar : bool
        True if the old and new tasks are similar; `probe` measures it.
    few : int
        Samples per class below which the data is small.
    """
    each = samples / classes
    small = each < few
    much = f"{each:.0f} samples a class are {'few (under' if small else 'many (at least'} {few})"
    if small and similar:
        return Advice(
            "linear_on_top",
            f"{much}, so that freeing all weights would learn them by heart; the task is similar, "
            "so that the top features fit it: train a linear classifier on them",
        )
    if small:
        return Advice(
            "linear_earlier",
            f"{much}, so that only a linear classifier can be trained; the task is another, so "
            "that the top features are too special: take those of an earlier layer",
        )
    if similar:
        return Advice(
            "fine_tune",
            f"{much}, so that all weights may learn; the task is similar, so that they are nearly "
            "right: go on from them with a small rate",
        )
    return Advice(
        "initialise",
        f"{much}, so that a net can be trained from scratch; old weights are a better beginning "
        "than random ones even for another task: train all of it with the full rate",
    )


def adapt(
    model: Module,
    strategy: str,
    classes: int,
    *,
    rate: float,
    factor: float = 0.1,
    layer: str | None = None,
    example: Any = None,
    fresh: Callable[[], Module] | None = None,
) -> Adapted:
    """Prepare a trained model for a new task, in place.

    Parameters
    ----------
    model : Module
        Its last linear layer is its head.
    strategy : str
        One of ``STRATEGIES``.
    classes : int
        Number of classes of the new task.
    rate : float
        Learning rate of new layers.
    factor : float
        Multiplier of the learning rate for pre-trained layers, with "fine_tune".
    layer : str, optional
        Layer after which "linear_earlier" truncates the model.
    example : array, optional
        A batch of inputs, from which "linear_earlier" determines the layer's width.
    fresh : callable, optional
        Builds the untrained model for "scratch".

    Returns
    -------
    Adapted

    Raises
    ------
    NetError
        The model has no final linear layer, or no such layer.
    ParameterError
        The strategy is unknown, or an argument it needs is missing.
    """
    if strategy not in STRATEGIES:
        raise ParameterError(f"`strategy` must be one of {', '.join(STRATEGIES)}: {strategy!r}")
    if strategy == "linear_earlier":
        if layer is None or example is None:
            raise ParameterError(
                "linear_earlier needs `layer`, to truncate after, and an `example`"
            )
        cut = Cut(model, layer, classes, example)
        return Adapted(cut, [{"params": list(cut.head.named_parameters()), "lr": rate}])
    if strategy == "scratch":
        if fresh is None:
            raise ParameterError("scratch needs `fresh`, a function that builds an untrained model")
        model = fresh()
    head = replace_head(model, classes)
    model.requires_grad_(strategy != "linear_on_top")
    new = [(n, p) for n, p in model.named_parameters() if n.startswith(f"{head}.")]
    old = [(n, p) for n, p in model.named_parameters() if not n.startswith(f"{head}.")]
    for _, parameter in new:
        parameter.requires_grad = True
    groups: list[dict[str, Any]] = [{"params": new, "lr": rate}]
    if strategy != "linear_on_top":
        slow = factor if strategy == "fine_tune" else 1.0
        groups.append({"params": old, "lr": rate * slow})
    return Adapted(model, groups)


def replace_head(model: Module, classes: int) -> str:
    """Replace the last linear layer by a new one, and return its name."""
    linear = [name for name, module in model.named_modules() if isinstance(module, Linear) and name]
    if not linear:
        raise NetError(f"{type(model).__name__} has no linear layer to replace")
    name = linear[-1]
    where, _, last = name.rpartition(".")
    parts = dict(model.named_modules())
    old = parts[name]
    assert isinstance(old, Linear)
    setattr(parts[where], last, Linear(old.in_features, classes, bias=old.bias is not None))
    return name


def probe(
    model: Module, data: Loader, layers: Sequence[str], *, weight: float = 1e-2, seed: int = 0
) -> dict[str, float]:
    """Measure the held-out accuracy of a linear classifier on each layer's features.

    The classifier is a closed-form ridge regression onto the classes, fitted on a random half of
    the data and tested on the other. If one of the last layers is best, the tasks are similar; if
    accuracy falls towards the top, those layers are too specific: truncate after the best one.

    Parameters
    ----------
    model : Module
    data : Loader
        Inputs and labels of the new task; a few hundred suffice.
    layers : sequence of str
        Dotted names.
    weight : float
        Ridge penalty, as a fraction of the mean variance of the features.
    seed : int
        Seed of the split.

    Returns
    -------
    dict of float
        Accuracy after each layer.
    """
    batches = list(data.epoch())
    labels = np.concatenate([batch[1] for batch in batches])
    order = np.random.default_rng(seed).permutation(len(labels))
    learn, test = np.array_split(order, 2)
    classes = int(labels.max()) + 1
    found = {}
    for layer in layers:
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        cut = Cut(model, layer, classes, batches[0][0][:1])
        for parameter in trainable:
            parameter.requires_grad = True
        with in_use(model):
            parts = [cut.features(as_argument(batch[0])).data for batch in batches]
        features: Array = np.concatenate(parts).astype(np.float64)
        scores = _ridge(features[learn], np.eye(classes)[labels[learn]], features[test], weight)
        found[layer] = float(np.mean(scores.argmax(1) == labels[test]))
    return found


def _ridge(x: Array, y: Array, other: Array, weight: float) -> Array:
    """Return the predictions for ``other`` of a ridge regression from x to y."""
    mean, target = x.mean(0), y.mean(0)
    x = x - mean
    # Solved in the dual: there are fewer samples than features.
    product = x @ x.T
    product[np.diag_indices(len(x))] += weight * max(float(np.trace(product)) / len(x), 1e-12)
    predicted: Array = (other - mean) @ (x.T @ np.linalg.solve(product, y - target)) + target
    return predicted
