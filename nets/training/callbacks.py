"""What may look on while a net is trained, and end it."""

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
INTERRUPTED, FAILED = "interrupted", "failed"  # why a training ended that may go on


class Callback:
    """Does nothing at every occasion; a subclass overrides those it cares for.

    Whatever must survive an interruption goes through ``state_dict`` and ``load_state_dict``.
    """

    def start(self, run: Run) -> None:
        """Before the first step, after the state of a resumed training was read."""

    def step(self, run: Run) -> None:
        """After every step."""

    def epoch(self, run: Run, row: Row) -> None:
        """After every epoch; what is added to ``row`` goes on record."""

    def end(self, run: Run) -> None:
        """After the last epoch, or when the training stops earlier, by an error too."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""


class EarlyStop(Callback):
    """Stop when a figure has not become better for some epochs, and go back to the best weights.

    Parameters
    ----------
    monitor : str
        A column of the record: "loss", "val_loss", "val_accuracy" ...
    patience : int
        Epochs without a better figure that are borne.
    largest : bool, optional
        Whether large is good; by default so unless the name ends in "loss" or "error".
    min_change : float
        Less than this is not better.
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
        """Compare with the best."""
        if self.monitor not in row:
            raise ParameterError(f"no figure `{self.monitor}` to watch, there are {', '.join(row)}")
        gain = (row[self.monitor] - self.best) * (1 if self.largest else -1)
        if math.isnan(self.best) or gain > self.min_change:
            self.best, self.best_epoch = row[self.monitor], row["epoch"]
            self.weights = {name: a.copy() for name, a in run.model.state_dict().items()}
        elif row["epoch"] - self.best_epoch >= self.patience:
            run.stopped = f"`{self.monitor}` has not become better for {self.patience} epochs"

    def end(self, run: Run) -> None:
        """Back to the best weights, unless the training may go on."""
        if self.weights and run.stopped not in (INTERRUPTED, FAILED):
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """The best figure and its weights."""
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the best figure and its weights."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.weights = state["weights"]


class Averaging(Callback):
    """Keep a running average of the weights: ``with average.applied(): ...`` uses it afterwards.

    Parameters
    ----------
    average : nets.nn.optim.Average
    start : int
        The first step whose weights count.
    """

    def __init__(self, average: Average, start: int = 1) -> None:
        self.average, self.first = average, start

    def step(self, run: Run) -> None:
        """Take the weights in."""
        if run.step >= self.first:
            self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """The average so far."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the average."""
        self.average.load_state_dict(state)


class JsonLog(Callback):
    """One line of JSON an epoch, and one each ``every`` steps where that is given.

    A resumed training goes on behind the lines of what it goes on from.
    """

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        self.path, self.every = Path(path), every
        self._began = 0.0

    def start(self, run: Run) -> None:
        """Drop lines of steps that will be taken again."""
        self._began = time.perf_counter()
        old = self.path.read_text().splitlines() if run.step and self.path.exists() else []
        with replacing(self.path) as file:
            for line in old:
                with contextlib.suppress(ValueError, LookupError, TypeError):  # cut off by a kill
                    if json.loads(line)["step"] <= run.step:
                        file.write(f"{line}\n".encode())

    def step(self, run: Run) -> None:
        """Write a line now and then."""
        if self.every and run.step % self.every == 0:
            self._write({"step": run.step, "epoch": run.epoch, "loss": run.loss})

    def epoch(self, run: Run, row: Row) -> None:
        """Write a line."""
        self._write(row)

    def _write(self, row: Row) -> None:
        seconds = round(time.perf_counter() - self._began, 3)
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps({**row, "seconds": seconds}) + "\n")


class Bar(Callback):
    """A bar of tqdm for every epoch, on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None

    def step(self, run: Run) -> None:
        """Move on by one batch."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=len(run.data), initial=run.batch - 1, desc=f"epoch {run.epoch + 1}"
            )
        self._bar.set_postfix(loss=f"{run.mean_loss:.4g}", refresh=False)
        self._bar.update()

    def epoch(self, run: Run, row: Row) -> None:
        """Leave the figures behind the bar."""
        if self._bar is not None:
            figures = {k: f"{v:.4g}" for k, v in row.items() if isinstance(v, float)}
            self._bar.set_postfix(figures)
        self.end(run)

    def end(self, run: Run) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None
