"""What in an image excites a filter: its activation, led back to the pixels.

A deconvnet goes back through the layers: unpooling puts a number where the switch says that the
maximum stood, rectification keeps what is positive, transposed filters spread it over what they
had looked at. The way back of the tape does the first and the third already (the gradient of a
maximum goes to its place, that of a convolution is the transposed convolution), and only the
rectification differs from that of the gradient:

============  ======================================
rule          what passes a ReLU on the way back
============  ======================================
"gradient"    ``g`` where its input was positive
"deconvnet"   ``g`` where g itself is positive
"guided"      ``g`` where both are positive
============  ======================================

Where windows of a pooling overlap, what comes from several of them to one place is added up.

References: Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
section 2.1; Springenberg et al., Striving for simplicity, ICLR workshop 2015, figure 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.recording import Call, Recording
from nets.autograd.tensor import Grads, Needs, Tensor, Vjp, recording
from nets.interpret.features import as_batch, looking_into, result_of
from nets.nn.layers.module import Module
from nets.training.evaluation import predict
from vj.errors import NetError

RULES = ("deconvnet", "guided", "gradient")


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An activation, led back to the image.

    Attributes
    ----------
    pixels : (C, H, W) float32
        What excited (positive) or damped (negative) the filter, and where.
    value : float
        The activation.
    at : (row, col)
        Where in the feature map; () where the layer gives vectors.
    box : (x0, y0, x1, y1)
        The part of the image beyond which ``pixels`` is 0.
    image : int
        Number of the image, where there were several.
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
    """Lead one activation of a filter back to the pixels.

    Parameters
    ----------
    model : Module
        Used as after training; afterwards as it was.
    image : (C, H, W) array_like
        As the model takes it.
    layer : str
        Dotted name (`layer_names`).
    channel : int
        The filter.
    at : (row, col), optional
        Where in its feature map; where it is strongest by default.
    rule : {"deconvnet", "guided", "gradient"}

    Returns
    -------
    Projection

    Raises
    ------
    NetError
        No such layer, channel, place or rule.
    """
    if rule not in RULES:
        raise NetError(f"`rule` must be one of {', '.join(RULES)}, got {rule!r}")
    pixels = Tensor(as_batch(image), requires_grad=True)
    taken = Recording((pixels,), {})
    with looking_into(model, layer) as seen:
        with recording(taken):
            model(pixels)
        result = result_of(seen, layer)
        place = _place(result.data, layer, channel, at)
        for call in taken.calls:
            _change_way_back(rule, call)
        value = float(result.data[place])
        start = np.zeros(result.shape, np.float32)
        start[place] = value if rule != "gradient" else 1.0
        result.backward(start)
    back = np.zeros(pixels.shape, np.float32) if pixels.grad is None else pixels.grad
    led = np.ascontiguousarray(back[0])
    return Projection(led, value, tuple(int(i) for i in place[2:]), _box(led))


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
    """The images that excite a filter most, each led back from where it is strongest.

    Parameters
    ----------
    model, layer, channel, rule
        As for `project`.
    images : (N, C, H, W) array_like
    top : int
        How many.

    Returns
    -------
    list of Projection
        The strongest first; of equal ones the earlier image.
    """
    stack: Array = np.asarray(images, np.float32)
    peaks: list[Array] = []
    with looking_into(model, layer) as seen:
        for first in range(0, len(stack), batch_size):
            predict(model, stack[first : first + batch_size], batch_size)
            maps = result_of(seen, layer).data
            _place(maps, layer, channel, None)
            peaks.append(maps[:, channel].reshape(len(maps), -1).max(1))
            seen.clear()
    order = np.argsort(-np.concatenate(peaks), kind="stable")[:top]
    found = []
    for index in order.tolist():
        led = project(model, stack[index], layer, channel, rule=rule)
        found.append(Projection(led.pixels, led.value, led.at, led.box, index))
    return found


def _change_way_back(rule: str, call: Call) -> None:
    """Put the rectification of the rule into an op that rectifies."""
    source = call.outputs[0].source
    if rule == "gradient" or source is None or source.vjp is None:
        return
    original = source.vjp
    if call.op in ("relu", "relu6"):
        source.vjp = _rectified(original if rule == "guided" else lambda g, needs: (g,))
    elif call.op == "batch_norm" and call.options.get("activation"):
        if rule == "deconvnet":  # the factor alone, without the gate that is fused to it
            x, weight = call.inputs[:2]
            variance = np.asarray(call.options["running"][1])
            factor = weight.data / np.sqrt(variance + call.options.get("eps", 1e-5))
            wide = factor.reshape(1, -1, *[1] * (x.ndim - 2)).astype(np.float32)
            source.vjp = _rectified(lambda g, needs: (g * wide, None, None))
        else:
            source.vjp = _rectified(original)


def _rectified(way: Callable[[Array, Needs], Grads]) -> Vjp:
    return lambda g, needs: way(np.maximum(g, 0), needs)


def _place(maps: Array, layer: str, channel: int, at: tuple[int, ...] | None) -> tuple[int, ...]:
    """Index of an activation of the first image."""
    if maps.ndim < 2:
        raise NetError(f"the layer {layer!r} has no channels: it gives {maps.shape}")
    if not 0 <= channel < maps.shape[1]:
        raise NetError(f"`channel` must be below {maps.shape[1]} in {layer!r}, got {channel}")
    sizes = maps.shape[2:]
    if at is None:
        at = tuple(int(i) for i in np.unravel_index(np.argmax(maps[0, channel]), sizes))
    if len(at) != len(sizes) or any(not 0 <= i < n for i, n in zip(at, sizes, strict=True)):
        raise NetError(f"`at` must be a place in a map of {sizes}, got {at}")
    return (0, channel, *at)


def _box(pixels: Array) -> tuple[int, int, int, int]:
    rows, cols = (np.flatnonzero(np.any(pixels != 0, axis)) for axis in ((0, 2), (0, 1)))
    if not len(rows):
        return 0, 0, 0, 0
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1
