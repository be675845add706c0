"""Averages of weights over the steps of training, often better than the last weights.

References: Polyak & Juditsky, 1992; Izmailov et al., Averaging weights leads to wider optima and
better generalization, UAI 2018.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from nets.autograd.tensor import Tensor, no_grad
from nets.kernels import optimizer_step
from nets.nn.optim.methods import run
from nets.nn.optim.optimiser import Named, _named
from vj.errors import NetError


class Average:
    """A running average of parameters.

    Parameters
    ----------
    parameters : iterable of Tensor or (name, Tensor)
    decay : float, optional
        Decay factor of an exponential moving average. By default all updates count equally
        (stochastic weight averaging).

    Attributes
    ----------
    values : dict
        The averages by parameter name, empty before the first update.

    Raises
    ------
    NetError
        ``decay`` is not between 0 and 1.

    Examples
    --------
    >>> from nets.autograd.tensor import Tensor
    >>> weight = Tensor([1.0], requires_grad=True)
    >>> average = Average([("weight", weight)])
    >>> average.update()
    >>> weight.data = weight.data + 2
    >>> average.update()
    >>> with average.applied():
    ...     print(weight.numpy())
    [2.]
    """

    def __init__(self, parameters: Iterable[Tensor | Named], *, decay: float | None = None) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise NetError(f"Average: `decay` must be from 0 to below 1, got {decay}")
        self.parameters = [_named(p, k) for k, p in enumerate(parameters)]
        self.decay, self.count = decay, 0
        self.values: dict[str, np.ndarray[Any, Any]] = {}

    def update(self) -> None:
        """Add the current weights to the average."""
        part = 1 / (self.count + 1) if self.decay is None else 1 - self.decay
        for name, tensor in self.parameters:
            now = np.ascontiguousarray(tensor.data, np.float32)
            if name not in self.values:
                self.values[name] = now.copy()
                continue
            run(optimizer_step.blend, self.values[name], now, how=(part,))
        self.count += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Context manager in which the parameters hold the average, for evaluation or saving."""
        if not self.count:
            raise NetError("Average: there is nothing to apply before the first `update`")
        before = [tensor.data for _, tensor in self.parameters]
        try:
            for name, tensor in self.parameters:
                tensor.data = self.values[name]
            yield
        finally:
            for (_, tensor), data in zip(self.parameters, before, strict=True):
                tensor.data = data

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates and copies of the averages by name."""
        return {"count": self.count, "values": {n: a.copy() for n, a in self.values.items()}}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`.

        Raises
        ------
        NetError
            It does not match the parameters.
        """
        shapes = {name: tensor.shape for name, tensor in self.parameters}
        found = {name: np.shape(a) for name, a in saved["values"].items()}
        if found and found != shapes:
            odd = min(n for n in {*shapes, *found} if shapes.get(n) != found.get(n))
            raise NetError(
                f"Average: the saved state does not fit: `{odd}` has shape {shapes.get(odd)} here "
                f"and {found.get(odd)} there"
            )
        self.count = int(saved["count"])
        self.values = {n: np.array(a, np.float32) for n, a in saved["values"].items()}


def reestimate_batch_norm(
    model: Any, batches: Iterable[Any], *, forward: Callable[[Any], object] | None = None
) -> None:
    """Re-estimate the batch normalisation statistics of a model whose weights were averaged.

    Parameters
    ----------
    model : Module
        Layers with `running_mean` get the mean statistics over all batches; the mode is kept.
    batches : iterable
        Inputs of the model.
    forward : callable, optional
        Function that runs a batch, ``model(batch)`` by default.
    """
    layers = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not layers:
        return
    before, training = [layer.momentum for layer in layers], model.training
    model.train()
    try:
        with no_grad():
            for count, batch in enumerate(batches, 1):
                for layer in layers:
                    layer.momentum = 1 / count
                (forward or model)(batch)
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
        model.train(training)
