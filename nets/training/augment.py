"""Data augmentation, drawn independently for every sample of a batch.

Each augmentation takes a batch (a tuple of arrays, uint8 images first) and a generator, and returns
a new batch. ``parts`` are the indices of the arrays transformed together, so that masks stay
aligned with their images. Training records store their ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nets.training.datasets import Sample
from vj.errors import ParameterError

Generator = np.random.Generator


class Augment(Protocol):
    """Interface of an augmentation."""

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Return a new batch; the given one is unchanged."""


@dataclass(frozen=True)
class Chain:
    """Several augmentations in sequence."""

    steps: tuple[Augment, ...]

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Apply all of them."""
        for step in self.steps:
            batch = step(batch, rng)
        return batch


@dataclass(frozen=True)
class Flip:
    """Horizontal flip with probability ``p``."""

    p: float = 0.5
    parts: tuple[int, ...] = (0,)

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Flip some samples."""
        chosen = rng.random(len(batch[0])) < self.p
        return _replaced(batch, self.parts, lambda part: _mirrored(part, chosen))


@dataclass(frozen=True)
class Crop:
    """Random crop of ``size`` (rows, cols)."""

    size: tuple[int, int]
    parts: tuple[int, ...] = (0,)

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Crop every sample."""
        n, height, width = batch[0].shape[:3]
        rows, cols = self.size
        if rows > height or cols > width:
            raise ParameterError(f"a crop of {self.size} does not fit images of {(height, width)}")
        y = rng.integers(0, height - rows + 1, n)[:, None, None] + np.arange(rows)[:, None]
        x = rng.integers(0, width - cols + 1, n)[:, None, None] + np.arange(cols)
        return _replaced(batch, self.parts, lambda part: part[np.arange(n)[:, None, None], y, x])


@dataclass(frozen=True)
class Light:
    """Random brightness (in units of 255) and contrast (a factor around the image mean)."""

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Change brightness and contrast of every sample."""
        pixels = batch[0].astype(np.float32)
        shape = (-1,) + (1,) * (pixels.ndim - 1)
        n = len(pixels)
        shift = rng.uniform(-self.brightness, self.brightness, n).reshape(shape) * 255
        factor = rng.uniform(1 - self.contrast, 1 + self.contrast, n).reshape(shape)
        mean = pixels.mean(tuple(range(1, pixels.ndim)), keepdims=True)
        changed = (pixels - mean) * factor + mean + shift
        return (np.clip(changed, 0, 255).astype(np.uint8), *batch[1:])


@dataclass(frozen=True)
class Erase:
    """Random erasing: a gray rectangle, sides up to ``share`` of the image's, probability ``p``.

    References
    ----------
    Zhong et al., Random erasing data augmentation, AAAI 2020.
    """

    p: float = 0.5
    share: float = 0.4

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Erase a rectangle of some samples."""
        pixels = batch[0].copy()
        height, width = pixels.shape[1:3]
        for i in np.flatnonzero(rng.random(len(pixels)) < self.p):
            rows = int(rng.integers(1, max(2, int(height * self.share) + 1)))
            cols = int(rng.integers(1, max(2, int(width * self.share) + 1)))
            y, x = rng.integers(0, height - rows + 1), rng.integers(0, width - cols + 1)
            pixels[i, y : y + rows, x : x + cols] = 128
        return (pixels, *batch[1:])


def _replaced(batch: Sample, parts: tuple[int, ...], change: Any) -> Sample:
    return tuple(change(part) if i in parts else part for i, part in enumerate(batch))


def _mirrored(part: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    out: NDArray[Any] = part.copy()
    out[chosen] = part[chosen][:, :, ::-1]
    return out
