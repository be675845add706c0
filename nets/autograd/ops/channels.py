"""Per-channel sums and per-channel scaling, by the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import flat, unflat
from nets.kernels import batchnorm
from nets.runtime.memory import empty
from nets.runtime.threads import SMALL, Caller, share, share_kernel
from vj.kernels.jit import Kernel

FEW = 1 << 16  # values summed in one part
PARTS = 8  # parts of the sums of a large batch, independent of the number of threads
CLAMPS = {None: (-math.inf, math.inf), "relu": (0.0, math.inf), "relu6": (0.0, 6.0)}


class Channels:
    """Values x (N, C, ...), in one block or one block per image.

    Coefficients are arrays (blocks, C), or what broadcasts to it.
    """

    def __init__(self, x: Array, blocks: int, activation: str | None = None) -> None:
        self.shape, self.blocks, self.channels = x.shape, blocks, x.shape[1]
        self.image = x.shape if x.ndim in (2, 4) else (*x.shape[:2], x[0, 0].size, 1)
        self.x, self.clamp = self.like_x(x), CLAMPS[activation]
        self.fold = 16 // math.gcd(self.channels, 16)  # pixels in a row of the kernel
        self.period = self.channels * self.fold  # values in a row
        self.rows = -(-self.x.shape[1] // self.period)
        self.few, self.small = x.size < FEW, x.size < SMALL

    def moments(self) -> Array:
        """Return the means of x and of its squares (2, blocks, C)."""
        sums = self._total(self.parts(self.x, self._wide(0.0, 0.0), CLAMPS[None]))
        sums /= self.x.shape[1] // self.channels
        return sums

    def sums(self, g: Array, scale: Array, shift: Array) -> Array:
        """Return the sums of h and of h x (2, blocks, C); h is g where the activation passed x."""
        return self._total(self.parts(self.like_x(g), self._wide(scale, shift), self.clamp))

    def scaled(self, scale: Array, shift: Array) -> Array:
        """Return the activation of ``scale * x + shift``."""
        return self.scaled_by(self._wide(scale, shift))

    def grad(self, g: Array, *coef: Array | float) -> Array:
        """Return the gradient of x; coefficients as for `nets.kernels.batchnorm.channel_grad`."""
        return self.grad_by(self.like_x(g), self._wide(*coef))

    # The methods below take coefficients in kernel layout: (blocks, concatenated).

    def scaled_by(self, wide: Array) -> Array:
        """Do the same as `scaled`."""
        y = empty(*self.x.shape)
        self._each(
            batchnorm.channel_scale, lambda b: (self.x[b], wide[b], *self.clamp, y[b]), self.rows
        )
        return unflat(y.reshape(-1), self.image).reshape(self.shape)

    def grad_by(self, g: Array, wide: Array) -> Array:
        """Do the same as `grad`, for gradients in the layout of `like_x`."""
        y = empty(*self.x.shape)
        self._each(
            batchnorm.channel_grad,
            lambda b: (self.x[b], g[b], wide[b], *self.clamp, y[b]),
            self.rows,
        )
        return unflat(y.reshape(-1), self.image).reshape(self.shape)

    def parts(self, g: Array, wide: Array, clamp: tuple[float, float]) -> Array:
        """Return the partial sums (blocks, parts * 2 * period) of `nets.kernels.batchnorm`."""
        parts = 1 if self.few or self.blocks > 1 else PARTS
        sums = np.empty((self.blocks, parts * 2 * self.period))
        self._each(
            batchnorm.channel_sums,
            lambda b: (self.x[b], g[b], wide[b], *clamp, sums[b], parts),
            parts,
        )
        return sums

    def like_x(self, x: Array) -> Array:
        """Return an array in the memory order of x, in blocks."""
        numbers = flat(x.reshape(self.image)).astype(np.float32, copy=False)
        return numbers.reshape(self.blocks, -1)

    def _wide(self, *coef: Array | float) -> Array:
        wide = np.empty((self.blocks, len(coef), self.fold, self.channels), np.float32)
        for k, c in enumerate(coef):
            wide[:, k] = c[:, None] if isinstance(c, np.ndarray) and c.ndim == 2 else c
        return wide.reshape(self.blocks, -1)

    def _total(self, sums: Array) -> Array:
        whole = sums.reshape(self.blocks, -1, 2, self.fold, self.channels)
        total: Array = whole.sum((1, 3)).swapaxes(0, 1)
        return total

    def _each(self, kernel: Kernel, given: Callable[[int], tuple[Any, ...]], units: int) -> None:
        """Distribute blocks, or the units of a single block, over threads.

        `given` returns the arguments of a block.
        """
        if self.blocks == 1:
            share_kernel(kernel, given(0), units, small=self.small)
            return

        def some(call: Caller, first: int, last: int) -> None:
            for b in range(first, last):
                call(kernel, *given(b), 0, units)

        share(self.blocks, some, small=self.small)
