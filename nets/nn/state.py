"""Model state in safetensors files, written atomically: a crash leaves the old file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from nets.arrays import Array
from vj.errors import NetError
from vj.io.files import replacing
from vj.records import brief


def save_state(
    path: str | os.PathLike[str],
    state: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Save arrays by name.

    The file is renamed into place when it is complete; until then an older one is untouched.

    Parameters
    ----------
    path : str or path
        An existing file is replaced.
    state : dict of arrays
        As returned by `Module.state_dict`.
    metadata : dict of str, optional
        Text stored with the arrays.

    Raises
    ------
    NetError
        Metadata is not text.
    SinkError
        The file cannot be written.
    """
    path = Path(path)
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise NetError(f"{path}: metadata must be text, got {key!r}: {text!r}")
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    with replacing(path) as file:
        file.write(_in_order(safetensors.numpy.save(arrays, notes or None)))


def _in_order(data: bytes) -> bytes:
    """Return the file with its metadata sorted: the library writes them in arbitrary order."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Load arrays and metadata.

    Returns
    -------
    (dict of arrays, dict of str)
        In file order.

    Raises
    ------
    NetError
        The file is missing, truncated or not a safetensors file, or holds bfloat16.
    """
    path = Path(path)
    if not path.is_file():
        raise NetError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, "numpy") as file:
            names = list(file.keys())
            for name in names:
                if file.get_slice(name).get_dtype() == "BF16":
                    raise NetError(f"{path}: {name} is bfloat16: save it as float32")
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except OSError as exc:
        raise NetError(f"{path}: cannot be read: {exc}") from exc
    except safetensors.SafetensorError as exc:
        raise NetError(
            f"{path}: is truncated, damaged or not a safetensors file: {brief(exc)}"
        ) from exc
