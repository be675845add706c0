"""Saliency maps: the pixels that a class score depends on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.interpret.features import observed
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
    """Saliency map of a class score: the maximum over channels of |gradient|.

    Parameters
    ----------
    model : Module
        Maps images to (N, classes) scores; run in evaluation mode.
    images : (N, C, H, W) array_like
        Preprocessed as the model expects.
    classes : (N,) int, optional
        Class of each image; by default the one with the highest score.
    draws, noise : int, float
        If ``noise`` (a standard deviation) is not 0, average over ``draws`` noisy copies
        (SmoothGrad).
    seed : int
        Seed of the noise.

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
    with observed(model, ""):
        for _ in range(draws):
            grain = noise * rng.standard_normal(pixels.shape, np.float32) if noise else 0
            x = Tensor(pixels + grain, requires_grad=True)
            scores = model(x)
            if scores.ndim != 2:
                raise NetError(
                    f"saliency needs a model that returns (N, classes), got {scores.shape}"
                )
            if chosen is None:
                chosen = np.argmax(scores.data, 1)
            scores[np.arange(len(pixels)), chosen].sum().backward()
            if x.grad is not None:
                total += x.grad
    strength: Array = np.abs(total / draws).max(1)
    return strength
