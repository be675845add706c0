"""The numbers of a model in a file: safetensors, written so that a crash leaves the old file."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from nets.graph.ir import Array
from vj.errors import NetError


def save_state(
    path: str | os.PathLike[str],
    state: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays by name.

    The file appears under its name when it is complete, or not at all.

    Parameters
    ----------
    path : str or path
        Of the file; an older one is replaced.
    state : dict of arrays
        As `Module.state_dict` gives it.
    metadata : dict of str, optional
        Text that travels along.

    Raises
    ------
    NetError
        The file cannot be written, or metadata is not text.
    """
    path = Path(path)
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise NetError(f"{path}: metadata must be text, got {key!r}: {text!r}")
    arrays = {name: np.asarray(array, order="C") for name, array in state.items()}
    with written(path) as temporary:
        safetensors.numpy.save_file(arrays, temporary, notes or None)


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to; what was written gets the name ``path`` at the end, if all went well.

    Raises
    ------
    NetError
        It cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, safetensors.SafetensorError) as exc:
        raise NetError(f"{path}: cannot be written: {exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Read arrays and metadata.

    Returns
    -------
    (dict of arrays, dict of str)
        In the order of the file.

    Raises
    ------
    NetError
        The file is missing, truncated or no safetensors file, or holds bfloat16.
    """
    path = Path(path)
    if not path.is_file():
        raise NetError(f"{path}: there is no such file")
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
        raise NetError(f"{path}: is truncated, damaged or no safetensors file: {exc}") from exc
