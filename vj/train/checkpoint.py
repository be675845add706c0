"""Where a training stands, on disk: it goes on from there as if it had never stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Tree
from vj.errors import TrainingError
from vj.io.files import replacing
from vj.records import brief
from vj.train.assemble import TrainedStage

_STATE, _PARTIAL = "state.npz", "partial.npz"
Arrays = dict[str, NDArray[Any]]


def pack_trees(trees: Sequence[Tree]) -> Arrays:
    """Flat arrays of trees."""
    if not trees:
        return {"nodes": np.empty(0, np.int64)}
    columns = {name: np.concatenate([getattr(t, name) for t in trees]) for name in Tree._fields}
    return {"nodes": np.array([len(tree.feature) for tree in trees]), **columns}


def unpack_trees(arrays: Mapping[str, NDArray[Any]]) -> list[Tree]:
    """The inverse of `pack_trees`."""
    trees, node, leaf = [], 0, 0
    for count in arrays["nodes"].tolist():
        nodes = slice(node, node + count)
        parts = {name: arrays[name][nodes] for name in Tree._fields if name != "leaf"}
        trees.append(Tree(**parts, leaf=arrays["leaf"][leaf : leaf + count + 1]))
        node, leaf = node + count, leaf + count + 1
    return trees


class Checkpoint:
    """Two files of a folder: the state at the start of a stage, and the stage's trees so far."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = folder, json.loads(json.dumps(dict(config)))

    @property
    def exists(self) -> bool:
        """Whether a state was saved."""
        return (self.folder / _STATE).is_file()

    def save(
        self, stages: Sequence[TrainedStage], log: Sequence[Mapping[str, Any]], arrays: Arrays
    ) -> None:
        """Save the state at the start of a stage; SinkError if the disk is full."""
        every = [tree for stage in stages for tree in stage.trees]
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"config": self.config, "log": list(log)})
        with replacing(self.folder / _STATE) as file:
            _write(
                file,
                {
                    "text": np.array(text),
                    "counts": np.array([len(stage.trees) for stage in stages], np.int64),
                    "thresholds": np.array([stage.threshold for stage in stages], np.float32),
                    **{f"tree_{name}": array for name, array in pack_trees(every).items()},
                    **{f"data_{name}": array for name, array in arrays.items()},
                },
            )

    def save_partial(self, stage: int, rows: int, trees: Sequence[Tree]) -> None:
        """Save the trees of an unfinished stage that was begun with so many rows in the log."""
        with replacing(self.folder / _PARTIAL) as file:
            _write(file, {"of": self._name(stage, rows), **pack_trees(trees)})

    def load(self) -> tuple[list[TrainedStage], list[dict[str, Any]], Arrays, list[Tree]]:
        """Stages, log, arrays, and the trees of the unfinished stage.

        Raises
        ------
        TrainingError
            Nothing to resume, an unreadable file, or settings that differ from those of the
            interrupted training; the message lists the differences.
        """
        path = self.folder / _STATE
        if not self.exists:
            raise TrainingError(f"{path}: nothing to resume: start without resuming")
        with _damage(path):
            state = _read(path)
            text = json.loads(str(state["text"]))
            self._refuse_changes(text["config"])
            trees = unpack_trees(_part(state, "tree_"))
            stages, first = [], 0
            for count, threshold in zip(state["counts"], state["thresholds"], strict=True):
                stages.append(TrainedStage(tuple(trees[first : first + count]), threshold))
                first += int(count)
        return (
            stages,
            text["log"],
            _part(state, "data_"),
            self._partial(len(stages), len(text["log"])),
        )

    def _partial(self, stage: int, rows: int) -> list[Tree]:
        """Trees of the unfinished stage, if they are of this one."""
        path = self.folder / _PARTIAL
        if path.is_file():
            with _damage(path):
                found = _read(path)
                if np.array_equal(found.get("of", ""), self._name(stage, rows)):
                    return unpack_trees(found)
        return []

    def _name(self, stage: int, rows: int) -> NDArray[Any]:
        """What trees belong to: those of another training in this folder are of no use."""
        config = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()
        return np.array([str(stage), str(rows), config])

    def _refuse_changes(self, before: Mapping[str, Any]) -> None:
        changed = [
            f"{name}: {before.get(name)!r} then, {self.config.get(name)!r} now"
            for name in sorted({*before, *self.config})
            if before.get(name) != self.config.get(name)
        ]
        if changed:
            raise TrainingError(
                f"{self.folder}: cannot resume with other settings or data: {'; '.join(changed)}"
            )


def _part(state: Arrays, prefix: str) -> Arrays:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _write(file: BinaryIO, arrays: Arrays) -> None:
    np.savez(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> Arrays:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn whatever a damaged archive makes zipfile, NumPy and json raise into one line."""
    try:
        yield
    except TrainingError:
        raise
    except Exception as exc:
        raise TrainingError(f"{path}: damaged checkpoint: {brief(exc)}") from exc
