"""Call descriptors: recorded kernel calls that threads execute without the GIL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import int64, types, void

from nets.arrays import Array
from nets.kernels import worker_pool
from vj.kernels.jit import Kernel, rw
from vj.kernels.simd import caller_of, places


class Encoding:
    """Encoding of the calls of one kernel; see `vj.kernels.simd.call_descriptors`."""

    def __init__(self, kernel: Kernel) -> None:
        kinds = tuple(kernel.signature.args)
        self.code, self.caller = kernel.address, caller_of(kinds, kernel.band)
        self.words, self.write = 1 + sum(map(places, kinds)), _writer(kinds)


@cache
def _writer(kinds: tuple[types.Type, ...]) -> Callable[..., None]:
    """Return the writer of ``(table, at, code, *args)``; args of other types are a TypeError."""
    descriptor = void(rw(int64, 1), int64, types.Tuple((int64, *kinds)))
    kernel = Kernel(getattr(worker_pool.describe, "py_func", worker_pool.describe), descriptor)
    kernel.compile()
    writer: Callable[..., None] = kernel.dispatcher
    return writer


@cache
def encoding_of(kernel: Kernel) -> Encoding:
    """Return the encoding of a kernel."""
    return Encoding(kernel)


class Table:
    """A job for a pool: call descriptors, grouped into units.

    The arrays of the calls stay alive until the table is cleared.
    """

    words: Array

    def __init__(self, words: int = 1 << 12) -> None:
        self._resize(np.zeros(0, np.int64), words)
        self.clear()

    def _resize(self, before: Array, words: int) -> None:
        self.words = np.zeros(words, np.int64)
        self.words[: before.size] = before
        self.address = int(worker_pool.place(self.words))

    def clear(self) -> None:
        """Remove all calls."""
        self.end = worker_pool.LINE  # the first row is for a job with a single call
        self.lines: list[int] = []
        self.starts: list[int] = []  # of the units
        self.kept: list[Any] = []

    def _describe(self, kernel: Kernel, args: Sequence[Any]) -> tuple[int, int]:
        """Record a call; return the address of its caller and the descriptor's offset in bytes."""
        encoding, at = encoding_of(kernel), self.end
        while at + encoding.words > self.words.size:
            self._resize(self.words, 2 * self.words.size)
        encoding.write(self.words, at, encoding.code, *args)
        self.end = at + encoding.words
        self.kept.append(args)
        return encoding.caller, 8 * at

    def one(self, kernel: Kernel, args: Sequence[Any]) -> None:
        """Make the job a single call; the executing thread fills in its band."""
        self.words[:2] = self._describe(kernel, args)

    def unit(self) -> None:
        """Start a new unit for the next calls."""
        self.starts.append(len(self.lines))

    def add(self, kernel: Kernel, args: Sequence[Any]) -> None:
        """Append a call to the current unit."""
        band = args[kernel.band : kernel.band + 2] if kernel.band >= 0 else (0, 0)
        self.lines += (*self._describe(kernel, args), *band)

    def finish(self) -> int:
        """Write the unit table; return the offset of its first entry."""
        first, spans = self.end, self.end + len(self.lines)
        starts = [first + start for start in (*self.starts, len(self.lines))]
        while spans + len(starts) > self.words.size:
            self._resize(self.words, 2 * self.words.size)
        self.words[first:spans] = self.lines
        self.words[spans : spans + len(starts)] = starts
        return spans
