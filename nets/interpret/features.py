"""What the layers of a model give for an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor, no_grad
from nets.nn.layers.modes import in_use
from nets.nn.layers.module import Module
from vj.errors import NetError


def layer_names(model: Module) -> list[str]:
    """Dotted names by which layers are looked into."""
    return [name for name, _ in model.named_modules() if name]


def feature_maps(model: Module, image: ArrayLike, layer: str) -> Array:
    """What a layer gives for one image.

    Parameters
    ----------
    model : Module
        Used as after training; afterwards as it was.
    image : (C, H, W) array_like
        As the model takes it.
    layer : str
        One of `layer_names`.

    Returns
    -------
    (c, h, w) float32
        The maps of a convolution, or the numbers of whatever the layer gives.

    Raises
    ------
    NetError
        There is no such layer, or the model does not call it.
    """
    with looking_into(model, layer) as seen, no_grad():
        model(Tensor(as_batch(image)))
    return np.ascontiguousarray(result_of(seen, layer).data[0])


def as_batch(image: ArrayLike) -> Array:
    """One image as a batch of one."""
    array: Array = np.asarray(image, np.float32)
    if array.ndim != 3:
        raise NetError(f"an image must have shape (C, H, W), got {array.shape}")
    return array[None]


def result_of(seen: list[Tensor], layer: str) -> Tensor:
    """What was seen of a layer, the last time that it was called."""
    if not seen:
        raise NetError(f"the model did not call the layer {layer!r} for this image")
    if not isinstance(seen[-1], Tensor):
        raise NetError(f"the layer {layer!r} gives {type(seen[-1]).__name__}, not one tensor")
    return seen[-1]


@contextmanager
def looking_into(model: Module, layer: str) -> Iterator[list[Any]]:
    """A list that fills with the results of a layer; the parameters get no gradients meanwhile."""
    modules = dict(model.named_modules())
    if layer not in modules:
        raise NetError(f"no layer {layer!r}, there are {', '.join(layer_names(model))}")
    seen: list[Any] = []
    watched = modules[layer]

    # A hook on every layer: layers that are watched are not fused with their neighbours.
    def note(module: Module, inputs: Any, result: Any) -> None:
        if module is watched:
            seen.append(result)

    removers = [module.register_forward_hook(note) for module in modules.values()]
    learnt = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in learnt:
            parameter.requires_grad = False
        with in_use(model):
            yield seen
    finally:
        for parameter in learnt:
            parameter.requires_grad = True
        for remove in removers:
            remove()
