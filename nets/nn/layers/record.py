"""Record the forward pass of a model, op by op."""

from __future__ import annotations

from typing import Any

import numpy as np

from nets.autograd.recording import Recording
from nets.autograd.tensor import Tensor, no_grad, recording
from nets.nn.layers.modes import ModuleLike, in_use
from vj.errors import NetError


def record(model: ModuleLike, *inputs: Any) -> Recording:
    """Run a model once in evaluation mode and record its ops.

    Parameters
    ----------
    model : Module
        Its modes (training or not) are restored afterwards.
    inputs : arrays
        Arguments of the model: float32 arrays are passed as tensors, others unchanged.

    Raises
    ------
    NetError
        The inputs do not fit, or the model does not return a tensor or a group of tensors.
    """
    given = tuple(Tensor(x) if np.asarray(x).dtype.kind == "f" else np.asarray(x) for x in inputs)
    names = {id(array): name for name, array in reversed(model.state_dict().items())}
    found = Recording(given, names)
    with in_use(model), no_grad(), recording(found):
        found.outputs = _named(model(*given))
    return found


def _named(result: Any) -> dict[str, Tensor]:
    """Name the outputs: the keys of a mapping, or "output" and a number."""
    if isinstance(result, dict):
        found = {str(name): value for name, value in result.items()}
    else:
        flat = list(_flat(result))
        found = {f"output{i}" if len(flat) > 1 else "output": x for i, x in enumerate(flat)}
    for value in found.values():
        if not isinstance(value, Tensor):
            raise NetError(f"a model must return tensors, got {type(value).__name__}")
    return found


def _flat(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from _flat(part)
    else:
        yield result
