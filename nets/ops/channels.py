"""Sums over the pixels of every channel, and numbers scaled by channel, by the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nets.graph.ir import Array
from nets.kernels import batchnorm
from nets.ops.base import flat, unflat
from nets.ops.memory import empty
from nets.ops.threads import SMALL, share

PARTS = 8  # sums of large batches are made in so many pieces, whatever the number of threads
CLAMPS = {None: (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


class Channels:
    """Numbers x (N, C, ...), in one block or in one for each image.

    Coefficients are arrays (blocks, C), or what broadcasts to it.
    """

    def __init__(self, x: Array, blocks: int, activation: str | None = None) -> None:
        self.shape, self.blocks, self.channels = x.shape, blocks, x.shape[1]
        self.image = x.shape if x.ndim in (2, 4) else (*x.shape[:2], x[0, 0].size, 1)
        self.x, self.clamp = self._blocks(x), CLAMPS[activation]
        self.fold = 16 // math.gcd(self.channels, 16)  # pixels in a row of the kernel
        self.rows = -(-self.x.shape[1] // (self.channels * self.fold))
        self.small = x.size < SMALL

    def moments(self) -> Array:
        """Means of x and of its squares (2, blocks, C)."""
        sums = self._sums(self.x, self._wide(0.0, 0.0), CLAMPS[None])
        sums /= self.x.shape[1] // self.channels
        return sums

    def sums(self, g: Array, scale: Array, shift: Array) -> Array:
        """Sums of h and of h x (2, blocks, C); h is g where the activation let x through."""
        return self._sums(self._blocks(g), self._wide(scale, shift), self.clamp)

    def scaled(self, scale: Array, shift: Array) -> Array:
        """The activation of ``scale * x + shift``."""
        y, wide = empty(*self.x.shape), self._wide(scale, shift)

        def task(b: int, first: int, last: int) -> None:
            batchnorm.channel_scale(self.x[b], wide[b], *self.clamp, y[b], first, last)

        self._each(self.rows, task)
        return unflat(y.reshape(-1), self.image).reshape(self.shape)

    def grad(self, g: Array, *coef: Array | float) -> Array:
        """Gradient of x; coefficients as `nets.kernels.batchnorm.channel_grad` has them."""
        numbers, y, wide = self._blocks(g), empty(*self.x.shape), self._wide(*coef)

        def task(b: int, first: int, last: int) -> None:
            given = self.x[b], numbers[b], wide[b], *self.clamp, y[b]
            batchnorm.channel_grad(*given, first, last)

        self._each(self.rows, task)
        return unflat(y.reshape(-1), self.image).reshape(self.shape)

    def _blocks(self, x: Array) -> Array:
        numbers = flat(x.reshape(self.image)).astype(np.float32, copy=False)
        return numbers.reshape(self.blocks, -1)

    def _wide(self, *coef: Array | float) -> Array:
        """Coefficients (blocks, all of them one after the other) for whole rows."""
        wide = np.empty((self.blocks, len(coef), self.fold, self.channels), np.float32)
        for k, c in enumerate(coef):
            wide[:, k] = c[:, None] if isinstance(c, np.ndarray) and c.ndim == 2 else c
        return wide.reshape(self.blocks, -1)

    def _sums(self, g: Array, wide: Array, clamp: tuple[float, float]) -> Array:
        parts = 1 if self.small or self.blocks > 1 else PARTS
        sums = np.empty((self.blocks, parts * 2 * self.fold * self.channels))

        def task(b: int, first: int, last: int) -> None:
            given = self.x[b], g[b], wide[b], *clamp, sums[b], parts
            batchnorm.channel_sums(*given, first, last)

        self._each(parts, task)
        whole = sums.reshape(self.blocks, parts, 2, self.fold, self.channels)
        total: Array = whole.sum((1, 3)).swapaxes(0, 1)
        return total

    def _each(self, units: int, task: Callable[[int, int, int], None]) -> None:
        """Share out the units of the only block, or the blocks."""
        if self.blocks == 1:
            share(units, lambda first, last: task(0, first, last), small=self.small)
            return

        def some(first: int, last: int) -> None:
            for b in range(first, last):
                task(b, 0, units)

        share(self.blocks, some, small=self.small)
