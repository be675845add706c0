"""Kernel calls written down, so that threads can make them without Python's lock."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import int64, types

from nets.graph.ir import Array
from nets.kernels import crew
from vj.kernels.jit import Kernel
from vj.kernels.simd.notes import caller_of

LETTERS = {types.float32: "f4x", types.float64: "d", types.int64: "q"}


@cache
def _place(kind: types.Array) -> Callable[[Array], int]:
    """Address of arrays of this kind; others are refused with a TypeError."""
    return Kernel(crew.place.__wrapped__, int64(kind))


class Form:
    """How calls of one kernel are written down; see `vj.kernels.simd.notes`."""

    def __init__(self, kernel: Kernel) -> None:
        kinds = tuple(kernel.signature.args)
        self.code, self.caller = kernel.address, caller_of(kinds, kernel.band)
        self.places = [_place(k) if isinstance(k, types.Array) else None for k in kinds]
        letters = "".join(
            "q" * (1 + k.ndim) if isinstance(k, types.Array) else LETTERS[k] for k in kinds
        )
        self.row = struct.Struct(f"=q{letters}")

    def write(self, table: memoryview, at: int, args: Sequence[Any]) -> int:
        """Write a call into a table, from byte ``at`` on; where the next one may begin."""
        numbers: list[Any] = [self.code]
        for place, arg in zip(self.places, args, strict=True):
            if place is None:
                numbers.append(arg)
            else:
                numbers += (place(arg), *arg.shape)
        self.row.pack_into(table, at, *numbers)
        return at + self.row.size


@cache
def form_of(kernel: Kernel) -> Form:
    """The form for a kernel."""
    return Form(kernel)


class Table:
    """A job for a crew: notes of calls, and which of them make up each unit.

    The arrays of the calls stay alive until the table is cleared.
    """

    words: Array

    def __init__(self, words: int = 1 << 12) -> None:
        self._resize(np.zeros(0, np.int64), words)
        self.clear()

    def _resize(self, before: Array, words: int) -> None:
        self.words = np.zeros(words, np.int64)
        self.words[: before.size] = before
        self.bytes = memoryview(self.words.data).cast("B")
        self.address = int(crew.place(self.words))

    def clear(self) -> None:
        """Forget all calls."""
        self.end = 8 * crew.LINE  # in bytes; the first line is that of a job with one call
        self.lines: list[int] = []
        self.starts: list[int] = []  # of the units
        self.kept: list[Any] = []

    def _note(self, kernel: Kernel, args: Sequence[Any]) -> tuple[int, int]:
        """Write a call down; address of its caller and place of the note."""
        form, at = form_of(kernel), self.end
        while at + form.row.size > self.words.nbytes:
            self._resize(self.words, 2 * self.words.size)
        self.end = form.write(self.bytes, at, args)
        self.kept.append(args)
        return form.caller, at

    def one(self, kernel: Kernel, args: Sequence[Any]) -> None:
        """Make the job one call; its band is filled in by who makes it."""
        self.words[:2] = self._note(kernel, args)

    def unit(self) -> None:
        """Let the next calls belong to a unit of their own."""
        self.starts.append(len(self.lines))

    def add(self, kernel: Kernel, args: Sequence[Any]) -> None:
        """Append a call to the unit at hand."""
        band = args[kernel.band : kernel.band + 2] if kernel.band >= 0 else (0, 0)
        self.lines += (*self._note(kernel, args), *band)

    def finish(self) -> int:
        """Write down what the units are; the place of the first one's start."""
        first, spans = self.end // 8, self.end // 8 + len(self.lines)
        starts = [first + start for start in (*self.starts, len(self.lines))]
        while spans + len(starts) > self.words.size:
            self._resize(self.words, 2 * self.words.size)
        self.words[first:spans] = self.lines
        self.words[spans : spans + len(starts)] = starts
        return spans
