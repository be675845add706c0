"""Project a filter's activation back to the pixels that cause it.

A deconvnet runs the layers in reverse: unpooling places values at the recorded positions of the
maxima, rectification keeps positive values, and transposed filters spread them over their receptive
fields. The backward pass already does the first and the third (the gradient of max pooling is
unpooling, that of a convolution is the transposed convolution); only the rectification differs:

============  ======================================
rule          what passes a ReLU backwards
============  ======================================
"gradient"    ``g`` where its input was positive
"deconvnet"   ``g`` where g itself is positive
"guided"      ``g`` where both are positive
============  ======================================

Where pooling windows overlap, their contributions to a pixel are summed.

References: Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
section 2.1; Springenberg et al., Striving for simplicity, ICLR workshop 2015, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.recording import Call, Recording
from nets.autograd.tensor import Grads, Needs, Tensor, Vjp, recording
from nets.interpret.features import as_batch, observed, result_of
from nets.nn.layers.module import Module
from nets.training.evaluation import predict
from vj.errors import NetError

RULES = ("deconvnet", "guided", "gradient")


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An activation projected back to the image.

    Attributes
    ----------
    pixels : (C, H, W) float32
        Contribution of each pixel to the activation, excitatory (positive) or inhibitory.
    value : float
        The activation.
    at : (row, col)
        Position in the feature map; () if the layer returns vectors.
    box : (x0, y0, x1, y1)
        Bounding box of the non-zero ``pixels``.
    image : int
        Index of the image among several.
    """

    pixels: Array
    value: float
    at: tuple[int, ...]
    box: tuple[int, int, int, int]
    image: int = 0


def project(
    model: Module,
    image: ArrayLike,
    layer: str,
    channel: int,
    *,
    at: tuple[int, ...] | None = None,
    rule: str = "deconvnet",
) -> Projection:
    """Project one activation of a filter back to the pixels.

    Parameters
    ----------
    model : Module
        Run in evaluation mode; its mode is restored afterwards.
    image : (C, H, W) array_like
        Preprocessed as the model expects.
    layer : str
        Dotted name (`layer_names`).
    channel : int
        The filter.
    at : (row, col), optional
        Position in its feature map; by default that of the maximum.
    rule : {"deconvnet", "guided", "gradient"}

    Returns
    -------
    Projection

    Raises
    ------
    NetError
        There is no such layer, channel, position or rule.
    """
    if rule not in RULES:
        raise NetError(f"`rule` must be one of {', '.join(RULES)}, got {rule!r}")
    pixels = Tensor(as_batch(image), requires_grad=True)
    taken = Recording((pixels,), {})
    with observed(model, layer) as results:
        with recording(taken):
            model(pixels)
        result = result_of(results, layer)
        place = _place(result.data, layer, channel, at)
        for call in taken.calls:
            _replace_vjp(rule, call)
        value = float(result.data[place])
        start = np.zeros(result.shape, np.float32)
        start[place] = value if rule != "gradient" else 1.0
        result.backward(start)
    gradient = np.zeros(pixels.shape, np.float32) if pixels.grad is None else pixels.grad
    pixels_back = np.ascontiguousarray(gradient[0])
    return Projection(pixels_back, value, tuple(int(i) for i in place[2:]), _box(pixels_back))


def strongest(
    model: Module,
    images: ArrayLike,
    layer: str,
    channel: int,
    *,
    top: int = 9,
    rule: str = "deconvnet",
    batch_size: int = 64,
) -> list[Projection]:
    """Find the images that activate a filter most, and project each maximum back.

    Parameters
    ----------
    model, layer, channel, rule
        As for `project`.
    images : (N, C, H, W) array_like
    top : int
        Number of images.

    Returns
    -------
    list of Projection
        In descending order of activation; ties by image index.
    """
    stack: Array = np.asarray(images, np.float32)
    peaks: list[Array] = []
    with observed(model, layer) as results:
        for first in range(0, len(stack), batch_size):
            predict(model, stack[first : first + batch_size], batch_size)
            maps = result_of(results, layer).data
            _place(maps, layer, channel, None)
            peaks.append(maps[:, channel].reshape(len(maps), -1).max(1))
            results.clear()
    order = np.argsort(-np.concatenate(peaks), kind="stable")[:top]
    found = []
    for index in order.tolist():
        projection = project(model, stack[index], layer, channel, rule=rule)
        found.append(replace(projection, image=index))
    return found


def _replace_vjp(rule: str, call: Call) -> None:
    """Replace the vjp of a rectifying op by that of the rule."""
    source = call.outputs[0].source
    if rule == "gradient" or source is None or source.vjp is None:
        return
    original = source.vjp
    if call.op in ("relu", "relu6"):
        source.vjp = _rectified(original if rule == "guided" else lambda g, needs: (g,))
    elif call.op == "batch_norm" and call.options.get("activation"):
        if rule == "deconvnet":  # the scale alone, without the fused ReLU gate
            x, weight = call.inputs[:2]
            variance = np.asarray(call.options["running"][1])
            factor = weight.data / np.sqrt(variance + call.options.get("eps", 1e-5))
            scale = factor.reshape(1, -1, *[1] * (x.ndim - 2)).astype(np.float32)
            source.vjp = _rectified(lambda g, needs: (g * scale, None, None))
        else:
            source.vjp = _rectified(original)


def _rectified(way: Callable[[Array, Needs], Grads]) -> Vjp:
    return lambda g, needs: way(np.maximum(g, 0), needs)


def _place(maps: Array, layer: str, channel: int, at: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the index of an activation of the first image."""
    if maps.ndim < 2:
        raise NetError(f"the layer {layer!r} has no channels: its output has shape {maps.shape}")
    if not 0 <= channel < maps.shape[1]:
        raise NetError(f"`channel` must be below {maps.shape[1]} in {layer!r}, got {channel}")
    sizes = maps.shape[2:]
    if at is None:
        at = tuple(int(i) for i in np.unravel_index(np.argmax(maps[0, channel]), sizes))
    if len(at) != len(sizes) or any(not 0 <= i < n for i, n in zip(at, sizes, strict=True)):
        raise NetError(f"`at` must be a position in a map of {sizes}, got {at}")
    return (0, channel, *at)


def _box(pixels: Array) -> tuple[int, int, int, int]:
    rows, cols = (np.flatnonzero(np.any(pixels != 0, axis)) for axis in ((0, 2), (0, 1)))
    if not len(rows):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
