"""From a net that knows one task to a net for another: what to keep, what to learn anew.

How much there is to learn from, and how near the new task is to the old one, decide:

=============  ==========================  ===========================================
new data       similar task                other task
=============  ==========================  ===========================================
little         "linear_on_top"             "linear_earlier"
much           "fine_tune"                 "initialise" (or "scratch")
=============  ==========================  ===========================================

The first layers of a net see edges and colours, which serve every task; the last ones see what the
old task was about. Little data would be learnt by heart by many weights, so few are set free then.

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
FEW = 500  # samples of a class that are few


@dataclass(frozen=True, slots=True)
class Advice:
    """A strategy, and why it is the one."""

    strategy: str
    why: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """A model that is ready to learn the new task.

    Attributes
    ----------
    model : Module
    groups : list of dict
        For an optimiser: parameters by name, with their rates.
    """

    model: Module
    groups: list[dict[str, Any]]


def advise(samples: int, classes: int, similar: bool, *, few: int = FEW) -> Advice:
    """Which strategy suits a new task.

    Parameters
    ----------
    samples, classes : int
        Of the new data.
    similar : bool
        Whether the old task is near the new one; `probe` measures it.
    few : int
        Samples of a class below which the data is small.
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
    """Make a trained model ready for a new task. The given model is changed.

    Parameters
    ----------
    model : Module
        Its last linear layer is its head.
    strategy : str
        One of ``STRATEGIES``.
    classes : int
        Of the new task.
    rate : float
        Learning rate of what is new.
    factor : float
        Of the rate, for what is old, with "fine_tune".
    layer : str, optional
        Behind which "linear_earlier" cuts.
    example : array, optional
        A batch of inputs, which "linear_earlier" needs to see how wide the layer is.
    fresh : callable, optional
        Makes the untrained model for "scratch".

    Returns
    -------
    Adapted

    Raises
    ------
    NetError
        The model has no linear layer at its end, or no such layer.
    ParameterError
        An unknown strategy, or something that it needs is missing.
    """
    if strategy not in STRATEGIES:
        raise ParameterError(f"`strategy` must be one of {', '.join(STRATEGIES)}: {strategy!r}")
    if strategy == "linear_earlier":
        if layer is None or example is None:
            raise ParameterError("linear_earlier needs `layer` to cut behind, and an `example`")
        cut = Cut(model, layer, classes, example)
        return Adapted(cut, [{"params": list(cut.head.named_parameters()), "lr": rate}])
    if strategy == "scratch":
        if fresh is None:
            raise ParameterError("scratch needs `fresh`, a function that makes an untrained model")
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
    """Put a new linear layer in the place of the last one; its name is returned."""
    linear = [name for name, module in model.named_modules() if isinstance(module, Linear) and name]
    if not linear:
        raise NetError(f"{type(model).__name__} has no linear layer that could be replaced")
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
    """How well a linear classifier on each layer's features does on samples it has not seen.

    It is a ridge regression onto the classes, in closed form, from a random half of the data to the
    other. Where the best layer is one of the last, the tasks are similar; where accuracy falls
    towards the top, these layers are too special, and the best one is where to cut.

    Parameters
    ----------
    model : Module
    data : Loader
        Inputs and labels of the new task; a few hundred will do.
    layers : sequence of str
        Dotted names.
    weight : float
        Of the penalty, as a share of the mean variance of the features.
    seed : int
        Of the halves.

    Returns
    -------
    dict of float
        Accuracy behind each layer.
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
    """Predictions for ``other`` of a linear map from x to y."""
    mean, target = x.mean(0), y.mean(0)
    x = x - mean
    # In the space of the samples, of which there are fewer than of features.
    product = x @ x.T
    product[np.diag_indices(len(x))] += weight * max(float(np.trace(product)) / len(x), 1e-12)
    predicted: Array = (other - mean) @ (x.T @ np.linalg.solve(product, y - target)) + target
    return predicted
