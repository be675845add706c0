"""A model as it is used: outputs, losses and figures of merit of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nets.arrays import Array
from nets.autograd.tensor import Tensor, no_grad
from nets.nn.layers.modes import in_use
from nets.nn.layers.module import Module
from nets.training.datasets import Sample
from nets.training.loader import Batches, Loader

Metric = Callable[..., Any]


def as_argument(part: NDArray[Any]) -> Any:
    """What a model is called with: a tensor, or whole numbers (symbols) as they are."""
    return Tensor(part) if part.dtype.kind == "f" else part


def targets_of(batch: Sample) -> tuple[Any, ...]:
    """What the output is compared with: the input itself where there is nothing else."""
    return batch[1:] or batch[:1]


def evaluate(model: Module, data: Batches, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Means over a dataset.

    Parameters
    ----------
    model : Module
        Used in evaluation mode; its mode is what it was afterwards.
    data : Loader
    metrics : dict of callables
        ``metric(output, *targets)``, called like a loss, is the mean over a batch.

    Returns
    -------
    dict of float
    """
    totals = dict.fromkeys(metrics, 0.0)
    count = 0
    with in_use(model), no_grad():
        for batch in data.epoch():
            output, n = model(as_argument(batch[0])), len(batch[0])
            for name, metric in metrics.items():
                value = metric(output, *targets_of(batch))
                totals[name] += n * float(value.item() if isinstance(value, Tensor) else value)
            count += n
    return {name: total / count for name, total in totals.items()}


def predict(model: Module, data: Loader | ArrayLike, batch_size: int = 64) -> Array:
    """Outputs for all samples, in their order.

    Parameters
    ----------
    model : Module
        With one tensor as output; used in evaluation mode.
    data : Loader or array
        Inputs as the model takes them, or a loader that does not shuffle.

    Returns
    -------
    (N, ...) float32
    """
    loader = data if isinstance(data, Loader) else Loader(data, batch_size)
    with in_use(model), no_grad():
        return np.concatenate([model(as_argument(batch[0])).data for batch in loader.epoch()])


def accuracy(logits: Tensor, labels: NDArray[Any]) -> float:
    """Share of the samples (or pixels) whose largest logit, along axis 1, is that of the label."""
    return float(np.mean(np.argmax(logits.data, axis=1) == labels))
