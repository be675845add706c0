"""Which pixels a decision hangs on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.interpret.features import looking_into
from nets.nn.layers.module import Module
from vj.errors import NetError


def saliency(
    model: Module,
    images: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    draws: int = 1,
    noise: float = 0.0,
    seed: int = 0,
) -> Array:
    """How much the score of a class changes with each pixel: the largest channel of |gradient|.

    Parameters
    ----------
    model : Module
        From images to (N, classes) scores; used as after training.
    images : (N, C, H, W) array_like
        As the model takes them.
    classes : (N,) int, optional
        Whose score; the highest one by default.
    draws, noise : int, float
        With noise (its standard deviation) the mean over so many draws, which is less grainy.
    seed : int
        Of the noise.

    Returns
    -------
    (N, H, W) float32

    References
    ----------
    Simonyan et al., Deep inside convolutional networks, ICLR workshop 2014; Smilkov et al.,
    SmoothGrad, 2017.
    """
    pixels: Array = np.asarray(images, np.float32)
    if pixels.ndim != 4:
        raise NetError(f"`images` must have shape (N, C, H, W), got {pixels.shape}")
    rng = np.random.default_rng(seed)
    chosen = None if classes is None else np.asarray(classes, np.intp)
    total = np.zeros(pixels.shape, np.float32)
    with looking_into(model, ""):
        for _ in range(draws):
            grain = noise * rng.standard_normal(pixels.shape, np.float32) if noise else 0
            x = Tensor(pixels + grain, requires_grad=True)
            scores = model(x)
            if scores.ndim != 2:
                raise NetError(f"saliency needs a model that gives (N, classes): {scores.shape}")
            if chosen is None:
                chosen = np.argmax(scores.data, 1)
            scores[np.arange(len(pixels)), chosen].sum().backward()
            if x.grad is not None:
                total += x.grad
    strength: Array = np.abs(total / draws).max(1)
    return strength
