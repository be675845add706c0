"""A training run: what is trained on what, and how far it has come."""

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
        Finished epochs, finished batches of the epoch after them, finished batches in all.
    rows : list of dict
        What was measured, one record an epoch: "epoch", "step", "loss", "rate", "val_loss" ...
    stopped : str or None
        Why it ended before the last epoch; None if it did not.
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
    total: float = 0.0  # of the losses of this epoch
    rows: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None

    @property
    def mean_loss(self) -> float:
        """Mean over the batches of this epoch."""
        return self.total / self.batch if self.batch else math.nan
