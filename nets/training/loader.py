"""Batches of a dataset, in an order that a seed fixes, made ahead of the training by threads.

A batch depends on the seed, the epoch and its place in the epoch, on nothing else: however many
threads work, wherever a training goes on after an interruption, it is the same.
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
    """What `fit` learns from: a `Loader`, or anything else that is asked in the same way."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """The batches of an epoch from the ``start``-th on, the same whenever asked."""

    def describe(self) -> dict[str, Any]:
        """What decides which batches come, for JSON."""


class Loader:
    """Batches of samples.

    Parameters
    ----------
    dataset : Dataset or array_like
        Arrays are taken as a dataset of inputs alone.
    batch_size : int
    shuffle : bool
        Another order in every epoch.
    augment : callable, optional
        ``augment(batch, generator)`` gives a new batch (`nets.training.augment`).
    mean, std : float or one a channel
        uint8 images reach the net as ``(pixel / 255 - mean) / std``.
    seed : int
        Of the order and of what ``augment`` draws.
    drop_last : bool
        Leave out the batch that is not full, at the end of an epoch.
    workers : int
        Threads that decode and augment ahead; 0 does it where the batch is asked for.
    ahead : int, optional
        Batches that may wait; twice the workers by default.

    Raises
    ------
    TrainingError
        No samples, or fewer than a batch with ``drop_last``.
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
                f"{len(self.dataset)} samples make no full batch of {batch_size}: "
                "lower `batch_size` or set `drop_last` to False"
            )

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + bool(rest and not self.drop_last)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Sample]:
        """The batches of an epoch from the ``start``-th on.

        The first part is float32 (N, C, H, W) for uint8 images, and as it is for all else.
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
        """What the net gets for uint8 images (N, H, W) or (N, H, W, C)."""
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            return images
        pixels = images[..., None] if images.ndim == 3 else images
        scale = np.float32(1 / 255) / self.std
        return nchw(np.ascontiguousarray(pixels * scale - self.mean / self.std, np.float32))

    def describe(self) -> dict[str, Any]:
        """What decides which batches come: of a resumed training it must be the same."""
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
