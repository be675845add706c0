"""Batches of a dataset, in an order fixed by a seed, prefetched by threads.

A batch depends only on the seed, the epoch and its position in the epoch: it is the same for any
number of threads, and after a resume.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nets.autograd.ops.base import nchw
from nets.training.augment import Augment
from nets.training.datasets import Arrays, Dataset, Sample
from vj.errors import ParameterError, TrainingError


class Batches(Protocol):
    """Interface of the training data of `fit`, implemented by `Loader`."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """Iterate over the batches of an epoch from ``start`` on, always the same ones."""

    def describe(self) -> dict[str, Any]:
        """Return the settings that determine the batches, JSON-serialisable."""


class Loader:
    """Batches of samples.

    Parameters
    ----------
    dataset : Dataset or array_like
        An array is a dataset of inputs alone.
    batch_size : int
    shuffle : bool
        If True, use a new order in every epoch.
    augment : callable, optional
        ``augment(batch, generator)`` returns a new batch (`nets.training.augment`).
    mean, std : float or one per channel
        uint8 images are normalised to ``(pixel / 255 - mean) / std``.
    seed : int
        Seed of the order and of ``augment``.
    drop_last : bool
        If True, drop an incomplete last batch.
    workers : int
        Threads that decode and augment ahead; 0 does it in the calling thread.
    ahead : int, optional
        Maximum number of prefetched batches; twice the workers by default.

    Raises
    ------
    TrainingError
        There are no samples, or fewer than a batch with ``drop_last``.
    """

    def __init__(
        self,
        dataset: Dataset | ArrayLike,
        batch_size: int,
        *,
        shuffle: bool = False,
        augment: Augment | None = None,
        mean: ArrayLike = 0.0,
        std: ArrayLike = 1.0,
        seed: int = 0,
        drop_last: bool = False,
        workers: int = 0,
        ahead: int | None = None,
    ) -> None:
        self.dataset = dataset if isinstance(dataset, Dataset) else Arrays(dataset)
        if batch_size < 1:
            raise ParameterError(f"`batch_size` must be at least 1, got {batch_size}")
        if workers < 0:
            raise ParameterError(f"`workers` must be at least 0, got {workers}")
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        self.seed, self.drop_last = seed, drop_last
        self.workers, self.ahead = workers, 2 * workers if ahead is None else ahead
        if not len(self.dataset):
            raise TrainingError("the dataset is empty: training needs at least one sample")
        if not len(self):
            raise TrainingError(
                f"{len(self.dataset)} samples do not fill a batch of {batch_size}: "
                "lower `batch_size` or set `drop_last` to False"
            )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Sample]:
        """Iterate over the batches of an epoch from ``start`` on.

        The first part is float32 (N, C, H, W) for uint8 images, otherwise unchanged.
        """
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        places = range(start, len(self))
        if not self.workers:
            yield from (self._batch(order, number, place) for place in places)
            return
        with ThreadPoolExecutor(self.workers, "loader") as pool:
            waiting = deque(
                pool.submit(self._batch, order, number, place)
                for place in places[: max(self.ahead, 1)]
            )
            try:
                for place in range(start + len(waiting), len(self) + len(waiting)):
                    batch = waiting.popleft().result()
                    if place < len(self):
                        waiting.append(pool.submit(self._batch, order, number, place))
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()

    def _batch(self, order: NDArray[np.intp], epoch: int, place: int) -> Sample:
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        parts = self.dataset.batch(chosen)
        if self.augment is not None:
            parts = self.augment(parts, np.random.default_rng([self.seed, epoch, place]))
        return (self.as_input(parts[0]), *parts[1:])

    def as_input(self, images: NDArray[Any]) -> NDArray[Any]:
        """Normalise uint8 images (N, H, W) or (N, H, W, C) to network input."""
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            return images
        pixels = images[..., None] if images.ndim == 3 else images
        scale = np.float32(1 / 255) / self.std
        return nchw(np.ascontiguousarray(pixels * scale - self.mean / self.std, np.float32))

    def describe(self) -> dict[str, Any]:
        """Return the settings that determine the batches; they must not change on resume."""
        return {
            **self.dataset.describe(),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "augment": re.sub(" at 0x[0-9a-fA-F]+", "", repr(self.augment)),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "seed": self.seed,
            "drop_last": self.drop_last,
        }
