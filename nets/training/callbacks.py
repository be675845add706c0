"""Training callbacks, which may also stop the training."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from nets.nn.optim import Average
from nets.training.run import Run
from vj.errors import ParameterError
from vj.io.files import replacing, writing

Row = dict[str, Any]
INTERRUPTED, FAILED = "interrupted", "failed"  # reasons for stopping that allow a resume


class Callback:
    """Base class: every method does nothing by default.

    State that must survive a resume goes through ``state_dict`` and ``load_state_dict``.
    """

    def start(self, run: Run) -> None:
        """Called before the first step, after a checkpoint has been loaded."""

    def step(self, run: Run) -> None:
        """Called after every step."""

    def epoch(self, run: Run, row: Row) -> None:
        """Called after every epoch; entries added to ``row`` are recorded."""

    def end(self, run: Run) -> None:
        """Called after the last epoch, and when training stops early or fails."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state from a checkpoint."""


class EarlyStop(Callback):
    """Stop when a metric has not improved for some epochs, and restore the best weights.

    Parameters
    ----------
    monitor : str
        A column of the record: "loss", "val_loss", "val_accuracy" ...
    patience : int
        Epochs without improvement that are tolerated.
    largest : bool, optional
        If True, larger is better; by default True unless the name ends in "loss" or "error".
    min_change : float
        Minimum change that counts as an improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        *,
        largest: bool | None = None,
        min_change: float = 0.0,
    ) -> None:
        self.monitor, self.patience, self.min_change = monitor, patience, min_change
        self.largest = not monitor.endswith(("loss", "error")) if largest is None else largest
        self.best, self.best_epoch = math.nan, -1
        self.weights: dict[str, Any] = {}

    def epoch(self, run: Run, row: Row) -> None:
        """Compare the metric with the best so far."""
        if self.monitor not in row:
            raise ParameterError(
                f"no metric `{self.monitor}` to monitor, there are {', '.join(row)}"
            )
        gain = (row[self.monitor] - self.best) * (1 if self.largest else -1)
        if math.isnan(self.best) or gain > self.min_change:
            self.best, self.best_epoch = row[self.monitor], row["epoch"]
            self.weights = {name: a.copy() for name, a in run.model.state_dict().items()}
        elif row["epoch"] - self.best_epoch >= self.patience:
            run.stopped = f"`{self.monitor}` has not become better for {self.patience} epochs"

    def end(self, run: Run) -> None:
        """Restore the best weights, unless the training may be resumed."""
        if self.weights and run.stopped not in (INTERRUPTED, FAILED):
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric and its weights."""
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best metric and its weights."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.weights = state["weights"]


class Averaging(Callback):
    """Keep a running average of the weights: ``with average.applied(): ...`` uses it afterwards.

    Parameters
    ----------
    average : nets.nn.optim.Average
    start : int
        The first step whose weights are averaged.
    """

    def __init__(self, average: Average, start: int = 1) -> None:
        self.average, self.first = average, start

    def step(self, run: Run) -> None:
        """Add the current weights to the average."""
        if run.step >= self.first:
            self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the average."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the average."""
        self.average.load_state_dict(state)


class JsonLog(Callback):
    """Log one line of JSON per epoch, and one every ``every`` steps if given.

    A resumed run appends to the lines of the run it continues.
    """

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        self.path, self.every = Path(path), every
        self._began = 0.0

    def start(self, run: Run) -> None:
        """Drop the lines of steps that will be repeated."""
        self._began = time.perf_counter()
        old = self.path.read_text().splitlines() if run.step and self.path.exists() else []
        with replacing(self.path) as file:
            for line in old:
                with contextlib.suppress(ValueError, LookupError, TypeError):  # cut off by a kill
                    if json.loads(line)["step"] <= run.step:
                        file.write(f"{line}\n".encode())

    def step(self, run: Run) -> None:
        """Log every ``every`` steps."""
        if self.every and run.step % self.every == 0:
            self._write({"step": run.step, "epoch": run.epoch, "loss": run.loss})

    def epoch(self, run: Run, row: Row) -> None:
        """Log an epoch."""
        self._write(row)

    def _write(self, row: Row) -> None:
        seconds = round(time.perf_counter() - self._began, 3)
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps({**row, "seconds": seconds}) + "\n")


class Bar(Callback):
    """A tqdm progress bar for every epoch, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None

    def step(self, run: Run) -> None:
        """Advance by one batch."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=len(run.data), initial=run.batch - 1, desc=f"epoch {run.epoch + 1}"
            )
        self._bar.set_postfix(loss=f"{run.mean_loss:.4g}", refresh=False)
        self._bar.update()

    def epoch(self, run: Run, row: Row) -> None:
        """Show the metrics after the bar."""
        if self._bar is not None:
            figures = {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
            self._bar.set_postfix(figures)
        self.end(run)

    def end(self, run: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None
