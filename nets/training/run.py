"""State of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nets.autograd.tensor import Tensor
from nets.nn.layers.module import Module
from nets.nn.optim import Optimiser, Schedule
from nets.training.loader import Batches

Loss = Callable[..., Tensor]


@dataclass
class Run:
    """A training run.

    Attributes
    ----------
    model, loss, data, optimiser : as given to `fit`
    epoch, batch, step : int
        Completed epochs, completed batches of the current epoch, completed batches in total.
    rows : list of dict
        Metrics, one record per epoch: "epoch", "step", "loss", "rate", "val_loss" ...
    stopped : str or None
        Reason for stopping before the last epoch, or None.
    """

    model: Module
    loss_function: Loss
    data: Batches
    optimiser: Optimiser
    schedule: Schedule | None = None
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss: float = math.nan  # of the last batch
    total: float = 0.0  # sum of the losses of this epoch
    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None

    @property
    def mean_loss(self) -> float:
        """Mean over the batches of this epoch."""
        return self.total / self.batch if self.batch else math.nan
