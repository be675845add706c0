"""Outputs of individual layers for an image."""

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
    """Return the dotted names of all layers."""
    return [name for name, _ in model.named_modules() if name]


def feature_maps(model: Module, image: ArrayLike, layer: str) -> Array:
    """Return the output of a layer for one image.

    Parameters
    ----------
    model : Module
        Run in evaluation mode; its mode is restored afterwards.
    image : (C, H, W) array_like
        Preprocessed as the model expects.
    layer : str
        One of `layer_names`.

    Returns
    -------
    (c, h, w) float32
        The feature maps of a convolution; other shapes for other layers.

    Raises
    ------
    NetError
        There is no such layer, or the model does not call it.
    """
    with observed(model, layer) as results, no_grad():
        model(Tensor(as_batch(image)))
    return np.ascontiguousarray(result_of(results, layer).data[0])


def as_batch(image: ArrayLike) -> Array:
    """Return one image as a batch of one."""
    array: Array = np.asarray(image, np.float32)
    if array.ndim != 3:
        raise NetError(f"an image must have shape (C, H, W), got {array.shape}")
    return array[None]


def result_of(results: list[Tensor], layer: str) -> Tensor:
    """Return the most recent output of a layer."""
    if not results:
        raise NetError(f"the model did not call the layer {layer!r} for this image")
    if not isinstance(results[-1], Tensor):
        raise NetError(f"the layer {layer!r} returns {type(results[-1]).__name__}, not one tensor")
    return results[-1]


@contextmanager
def observed(model: Module, layer: str) -> Iterator[list[Any]]:
    """Context manager yielding a list of a layer's outputs; parameters get no gradients in it."""
    modules = dict(model.named_modules())
    if layer not in modules:
        raise NetError(f"no layer {layer!r}, there are {', '.join(layer_names(model))}")
    results: list[Any] = []
    target = modules[layer]

    # A hook on every layer prevents fusion, so that every layer is called by itself.
    def record(module: Module, inputs: Any, result: Any) -> None:
        if module is target:
            results.append(result)

    removers = [module.register_forward_hook(record) for module in modules.values()]
    trainable = [p for p in model.parameters() if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad = False
        with in_use(model):
            yield results
    finally:
        for parameter in trainable:
            parameter.requires_grad = True
        for remove in removers:
            remove()
