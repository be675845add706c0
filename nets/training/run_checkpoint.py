"""The checkpoint of a training run, and the settings that must not change on resume."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nets.training.callbacks import INTERRUPTED, Callback
from nets.training.checkpoint import load_checkpoint, save_checkpoint
from nets.training.run import Run
from vj.errors import SinkError, TrainingError

_POSITION = ("epoch", "batch", "step", "loss", "total", "rows", "stopped")


@dataclass
class RunCheckpoint:
    """The checkpoint of a run."""

    path: Path
    run: Run
    watchers: Sequence[Callback]
    saved: int = 0  # step of the last checkpoint

    def open(self, resume: bool) -> None:
        """Resume from the checkpoint, or create its folder."""
        if resume and self.path.exists():
            self._load()
        else:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise SinkError(f"{self.path.parent}: cannot create this folder: {exc}") from exc

    def save(self) -> None:
        """Save the state of the run."""
        run = self.run
        state = {name: getattr(run, name) for name in _POSITION}
        state["settings"] = self._settings()
        state["generators"] = {n: g.bit_generator.state for n, g in run.model.named_generators()}
        for name, part in self._parts():
            state[name] = part.state_dict()
        save_checkpoint(self.path, state)
        self.saved = run.step

    def _load(self) -> None:
        state = load_checkpoint(self.path)
        settings = self._settings()
        changed = [
            f"{name}: {before!r} then, {settings.get(name)!r} now"
            for name, before in state["settings"].items()
            if before != settings.get(name)
        ]
        if changed:
            raise TrainingError(
                f"{self.path}: cannot resume with other settings or data: {'; '.join(changed)}"
            )
        run = self.run
        missing = [name for name, _ in self._parts() if name not in state]
        if missing:
            raise TrainingError(
                f"{self.path}: is of another version, without {', '.join(missing)}: start a new run"
            )
        for name, part in self._parts():
            part.load_state_dict(state[name])
        for name, generator in run.model.named_generators():
            generator.bit_generator.state = state["generators"][name]
        for name in _POSITION:
            setattr(run, name, state[name])
        if run.stopped == INTERRUPTED:
            run.stopped = None
        self.saved = run.step

    def _parts(self) -> Iterator[tuple[str, Any]]:
        yield "model", self.run.model
        yield "optimiser", self.run.optimiser
        if self.run.schedule is not None:
            yield "schedule", self.run.schedule
        for index, watcher in enumerate(self._remembering()):
            yield f"callback {index}", watcher

    def _remembering(self) -> list[Callback]:
        """Return the callbacks that have state; the others may change between runs."""
        return [w for w in self.watchers if type(w).state_dict is not Callback.state_dict]

    def _settings(self) -> dict[str, Any]:
        """Return the settings that must not change on resume."""
        return json.loads(  # type: ignore[no-any-return]
            json.dumps(
                {
                    **self.run.data.describe(),
                    "model": type(self.run.model).__name__,
                    "optimiser": type(self.run.optimiser).__name__,
                    "schedule": type(self.run.schedule).__name__,
                    "callbacks": [type(watcher).__name__ for watcher in self._remembering()],
                    "generators": [name for name, _ in self.run.model.named_generators()],
                }
            )
        )
