"""Checkpoint files, from which training resumes exactly.

The format is safetensors, so other programs can read the weights ("model.conv1.weight"). All other
state (position, generators, settings) is JSON in the metadata, together with a digest of the whole
content, so that any damage is detected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.nn.state import load_state, save_state
from vj.errors import NetError, TrainingError

_KEY = "training"
Arrays = dict[str, Array]


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Save nested dicts and lists of arrays, numbers and text.

    Raises
    ------
    SinkError
        The folder is missing or read-only, or the disk is full. An older file is untouched.
    """
    arrays: Arrays = {}
    text = json.dumps(_packed(dict(state), "", arrays), sort_keys=True)
    save_state(path, arrays, {_KEY: _digest(text, arrays) + text})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a file written by `save_checkpoint`.

    Raises
    ------
    TrainingError
        The file is missing, damaged, or not a checkpoint.
    """
    try:
        arrays, notes = load_state(path)
    except NetError as exc:
        raise TrainingError(f"{exc}: delete it to start from scratch") from exc
    head = notes.get(_KEY)
    if head is None:
        raise TrainingError(f"{path}: is not a training checkpoint (weights only?)")
    digest, text = head[:64], head[64:]
    if digest != _digest(text, arrays):
        raise TrainingError(f"{path}: damaged checkpoint, its digest differs: delete it")
    state: dict[str, Any] = _unpacked(json.loads(text), arrays)
    return state


def _digest(text: str, arrays: Arrays) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name}{array.dtype}{array.shape}".encode())
        found.update(array.data if array.size else b"")
    return found.hexdigest()


def _packed(value: Any, path: str, arrays: Arrays) -> Any:
    """Return a value as JSON; its arrays are moved to ``arrays`` under their paths."""
    within = f"{path}." if path else ""
    if isinstance(value, np.ndarray):
        while path in arrays:  # {"a.b": x, "a": {"b": y}}
            path += "'"
        arrays[path] = value
        return {"array": path}
    if isinstance(value, Mapping):
        return {"dict": [[k, _packed(v, f"{within}{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(v, f"{within}{i}", arrays) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _unpacked(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, list):
        return [_unpacked(v, arrays) for v in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {key: _unpacked(v, arrays) for key, v in value["dict"]}
