"""Run a model on a dataset: predictions, losses and metrics."""

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
    """Return the model's argument: a tensor, or integers (symbols) unchanged."""
    return Tensor(part) if part.dtype.kind == "f" else part


def targets_of(batch: Sample) -> tuple[Any, ...]:
    """Return the targets of a batch; the input itself if there are no others."""
    return batch[1:] or batch[:1]


def evaluate(model: Module, data: Batches, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Compute the mean metrics of a model over a dataset.

    Parameters
    ----------
    model : Module
        Run in evaluation mode; its mode is restored afterwards.
    data : Loader
    metrics : dict of callables
        ``metric(output, *targets)`` returns the mean over a batch, like a loss.

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
    """Return the outputs for all samples, in order.

    Parameters
    ----------
    model : Module
        Must return one tensor; run in evaluation mode.
    data : Loader or array
        Inputs of the model, or a loader that does not shuffle.

    Returns
    -------
    (N, ...) float32
    """
    loader = data if isinstance(data, Loader) else Loader(data, batch_size)
    with in_use(model), no_grad():
        return np.concatenate([model(as_argument(batch[0])).data for batch in loader.epoch()])


def accuracy(logits: Tensor, labels: NDArray[Any]) -> float:
    """Return the fraction of samples (or pixels) whose argmax along axis 1 is the label."""
    return float(np.mean(np.argmax(logits.data, axis=1) == labels))
