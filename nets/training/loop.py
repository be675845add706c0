"""The training loop."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nets.nn.layers.modes import learning
from nets.nn.layers.module import Module
from nets.nn.optim import Optimiser, Schedule, clip_grad_norm
from nets.training.callbacks import FAILED, INTERRUPTED, Bar, Callback, Row
from nets.training.datasets import Sample
from nets.training.evaluation import Metric, as_argument, evaluate, targets_of
from nets.training.loader import Batches
from nets.training.nan_check import bad_gradients, explain
from nets.training.run import Loss, Run
from nets.training.run_checkpoint import RunCheckpoint
from vj.errors import ParameterError, TrainingError

CHECKPOINT = "checkpoint.safetensors"


def fit(
    model: Module,
    loss: Loss,
    data: Batches,
    optimiser: Optimiser,
    epochs: int,
    *,
    schedule: Schedule | None = None,
    clip: float | None = None,
    validation: Batches | None = None,
    metrics: Mapping[str, Metric] | None = None,
    callbacks: Sequence[Callback] = (),
    folder: str | os.PathLike[str] | None = None,
    save_every: int | None = None,
    resume: bool = False,
    bar: bool = False,
) -> Run:
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(model(input), *targets)`` returns a scalar tensor. A dataset of inputs alone is its
        own target (autoencoders).
    data : Loader, or an object with its ``epoch``, ``describe`` and length
    optimiser : Optimiser
    epochs : int
        Total number of epochs, including those before a resume.
    schedule : optional
        Its ``step()`` is called after every optimiser step.
    clip : float, optional
        Maximum global norm of the gradients.
    validation : Loader, optional
        After every epoch the loss and metrics are computed on it: "val_loss", "val_...".
    metrics : dict of callables, optional
        ``metric(output, *targets)`` returns the mean over a batch (`nets.training.accuracy`).
    callbacks : sequence of Callback
    folder : path, optional
        A checkpoint is written here after every epoch and every ``save_every`` steps.
    resume : bool
        Resume from the checkpoint in ``folder``, if there is one. With the same data the weights
        are bit-identical to those of an uninterrupted run.
    bar : bool
        Show a progress bar on standard error.

    Returns
    -------
    Run
        ``rows`` has the metrics of each epoch. The model is left in training mode.

    Raises
    ------
    TrainingError
        The loss or a gradient is NaN or infinite: the message names the step and the layer in
        which it first appears; the model is restored to its state before that step, and the
        checkpoint remains. Or the checkpoint is damaged, or of another model or other data.
    SinkError
        The checkpoint cannot be written.

    Notes
    -----
    Ctrl-C stops after the current step: the checkpoint is written and ``stopped`` of the result is
    "interrupted". A second Ctrl-C raises KeyboardInterrupt immediately.
    """
    if resume and folder is None:
        raise ParameterError("`resume` needs the `folder` of the checkpoint")
    run = Run(model, loss, data, optimiser, schedule)
    watchers = [*callbacks, *([Bar()] if bar else [])]
    keeper = None if folder is None else RunCheckpoint(Path(folder) / CHECKPOINT, run, watchers)
    if keeper:
        keeper.open(resume)
    for watcher in watchers:
        watcher.start(run)
    try:
        with _ctrl_c() as pressed:
            while run.epoch < epochs and run.stopped is None:
                _epoch(run, watchers, keeper, clip, save_every, pressed)
                if run.stopped is None:
                    _finish_epoch(run, watchers, validation, metrics or {})
                if keeper:
                    keeper.save()
    except BaseException:
        run.stopped = FAILED
        raise
    finally:
        for watcher in watchers:
            watcher.end(run)
    return run


def _epoch(
    run: Run,
    watchers: Sequence[Callback],
    keeper: RunCheckpoint | None,
    clip: float | None,
    save_every: int | None,
    pressed: list[int],
) -> None:
    """Train on the remaining batches of an epoch."""
    learning(run.model)
    for batch in run.data.epoch(run.epoch, run.batch):
        _step(run, batch, clip, keeper)
        for watcher in watchers:
            watcher.step(run)
        if pressed and run.stopped is None:
            run.stopped = INTERRUPTED
        if run.stopped is not None:
            return
        if keeper and save_every and run.step % save_every == 0:
            keeper.save()


def _step(run: Run, batch: Sample, clip: float | None, keeper: RunCheckpoint | None) -> None:
    """Train on one batch: forward pass, backward pass, update."""
    before = _chance(run.model)
    value = _gradients(run, batch)
    if not math.isfinite(value) or bad_gradients(run.model):
        _set_chance(run.model, before)
        where = explain(run.model, batch[0], lambda: _gradients(run, batch))
        _set_chance(run.model, before)
        what = "the loss is" if not math.isfinite(value) else "gradients are"
        kept = f"; {keeper.path} keeps step {keeper.saved}" if keeper and keeper.saved else ""
        raise TrainingError(
            f"step {run.step + 1} (epoch {run.epoch + 1}, batch {run.batch + 1}): {what} nan or "
            f"infinite: {where}{kept}: lower the learning rate, clip, or look at the data"
        )
    if clip is not None:
        clip_grad_norm(run.model.parameters(), clip)
    run.optimiser.step()
    if run.schedule is not None:
        run.schedule.step()
    run.loss, run.total = value, run.total + value
    run.batch, run.step = run.batch + 1, run.step + 1


def _gradients(run: Run, batch: Sample) -> float:
    """Return the loss of a batch and leave its gradients in the parameters."""
    run.optimiser.zero_grad()
    loss = run.loss_function(run.model(as_argument(batch[0])), *targets_of(batch))
    loss.backward()
    return loss.item()


def _chance(model: Module) -> dict[str, Any]:
    """Return the state that a forward pass changes: generators and buffers."""
    state: dict[str, Any] = {n: g.bit_generator.state for n, g in model.named_generators()}
    return {**state, **{name: buffer.copy() for name, buffer in model.named_buffers()}}


def _set_chance(model: Module, state: Mapping[str, Any]) -> None:
    for name, generator in model.named_generators():
        generator.bit_generator.state = state[name]
    for name, buffer in model.named_buffers():
        buffer[...] = state[name]


def _finish_epoch(
    run: Run,
    watchers: Sequence[Callback],
    validation: Batches | None,
    metrics: Mapping[str, Metric],
) -> None:
    rate = float(run.optimiser.groups[0]["lr"])
    row: Row = {"epoch": run.epoch + 1, "step": run.step, "loss": run.mean_loss, "rate": rate}
    if validation is not None:
        found = evaluate(run.model, validation, {"loss": run.loss_function, **metrics})
        row.update({f"val_{name}": value for name, value in found.items()})
    for watcher in watchers:
        watcher.epoch(run, row)
    run.rows.append(row)
    run.epoch, run.batch, run.total = run.epoch + 1, 0, 0.0


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """Context manager yielding a list that fills on Ctrl-C; a second Ctrl-C interrupts."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed  # signals reach only the main thread; background jobs ignore SIGINT
        return

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
