"""Changes that leave a picture's meaning alone, drawn anew for every sample of a batch.

Each is called with a batch (a tuple of arrays, uint8 images first) and a generator, and gives a new
batch. ``parts`` names the arrays that are moved together, so that a mask stays on its picture. A
training's record says what was done by their ``repr``.
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
    """A change of a batch."""

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """A new batch; the given one is left as it is."""


@dataclass(frozen=True)
class Chain:
    """One change after the other."""

    steps: tuple[Augment, ...]

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """All of them."""
        for step in self.steps:
            batch = step(batch, rng)
        return batch


@dataclass(frozen=True)
class Flip:
    """Left and right swapped, with probability ``p``."""

    p: float = 0.5
    parts: tuple[int, ...] = (0,)

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Some samples mirrored."""
        chosen = rng.random(len(batch[0])) < self.p
        return _replaced(batch, self.parts, lambda part: _mirrored(part, chosen))


@dataclass(frozen=True)
class Crop:
    """A window of ``size`` (rows, cols) at a random place of each picture."""

    size: tuple[int, int]
    parts: tuple[int, ...] = (0,)

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Every sample cut."""
        n, height, width = batch[0].shape[:3]
        rows, cols = self.size
        if rows > height or cols > width:
            raise ParameterError(f"a crop of {self.size} does not fit images of {(height, width)}")
        y = rng.integers(0, height - rows + 1, n)[:, None, None] + np.arange(rows)[:, None]
        x = rng.integers(0, width - cols + 1, n)[:, None, None] + np.arange(cols)
        return _replaced(batch, self.parts, lambda part: part[np.arange(n)[:, None, None], y, x])


@dataclass(frozen=True)
class Light:
    """Other brightness (in shares of 255) and contrast (a factor about the mean of the picture)."""

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Every sample brighter or darker, harder or softer."""
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
    """A gray rectangle with sides up to ``share`` of the picture's, with probability ``p``.

    References
    ----------
    Zhong et al., Random erasing data augmentation, AAAI 2020.
    """

    p: float = 0.5
    share: float = 0.4

    def __call__(self, batch: Sample, rng: Generator) -> Sample:
        """Some samples with a hole."""
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
