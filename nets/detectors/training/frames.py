"""Training frames as the batches that `nets.training.fit` goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import nchw
from nets.detectors.facenet import SCALE
from nets.detectors.training.scenes import Scenes


def as_input(images: Array) -> Array:
    """Frames (N, H, W, 3) uint8 as the net takes them, (N, 3, H, W) float32."""
    return nchw(images.astype(np.float32) * np.float32(SCALE))


class Frames:
    """Batches (images, boxes, landmarks, ignored boxes, size, plain) in epochs.

    Parameters
    ----------
    scenes : Scenes
    batch_size : int
    batches : int
        Of an epoch.
    plain : int
        Batches at the beginning of the training that are assigned by size.
    workers : int
        Processes that make frames; they change nothing but the time.
    form : callable
        What the net is given of the (N, H, W, 3) uint8 pixels.
    """

    def __init__(
        self,
        scenes: Scenes,
        batch_size: int,
        batches: int,
        *,
        plain: int = 0,
        workers: int = 1,
        form: Callable[[Array], Array] = as_input,
    ) -> None:
        self.scenes, self.batch_size, self.batches = scenes, batch_size, batches
        self.plain, self.workers, self.form = plain, workers, form
        self.dataset = self  # what `nets.training.card` asks about the data

    def __len__(self) -> int:
        return self.batches

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch from the ``start``-th on; no frame comes twice."""
        first = number * self.batches
        made = self.scenes.batches(
            self.batches - start, first=first + start, batch_size=self.batch_size,
            workers=self.workers,
        )  # fmt: skip
        for k, batch in enumerate(made, first + start):
            yield self.form(batch.images), *batch[1:], self.scenes.size, k < self.plain

    def describe(self) -> dict[str, Any]:
        """What decides which batches come."""
        return {
            "batch_size": self.batch_size, "batches": self.batches, "plain": self.plain,
            "size": self.scenes.size, "seed": self.scenes.seed, "mean": 0.0, "std": 1 / SCALE,
            "augment": repr(self.scenes.mixture),
        }  # fmt: skip
