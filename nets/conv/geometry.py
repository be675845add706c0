"""Geometry of convolutions and transposed convolutions: the pixels each output reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

Pair = tuple[int, int]
Place = TypeVar("Place", bound=tuple[int, ...])  # (row, col, ...)
Border = tuple[int, int, int, int]  # top, left, bottom, right


class Geometry(NamedTuple):
    """Stride, padding and dilation of a convolution; pairs are (rows, cols)."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


class Tap(NamedTuple):
    """One kernel weight: its index, and the pixel it multiplies, relative to the output.

    Output number n of a phase reads pixel ``row + n * walk`` (and so along columns).
    """

    row: int
    col: int
    weight: int


class Taps(NamedTuple):
    """Outputs ``row + n * step``, and the taps each reads, in ascending pixel order."""

    row: int
    col: int
    taps: tuple[Tap, ...]


def along(side: int, stride: int, padding: int, dilation: int) -> list[list[tuple[int, int]]]:
    """Return (pixel, weight) pairs for each phase of a transposed convolution along an axis.

    Output ``q * stride + a`` sums the weights u for which ``a + padding - u * dilation`` is a
    multiple t of the stride, each times input ``q + t``.
    """
    phases = []
    for a in range(stride):
        shifts = [(a + padding - u * dilation, u) for u in range(side)]
        phases.append(sorted((t // stride, u) for t, u in shifts if t % stride == 0))
    return phases


def forward_taps(side: Pair, how: Geometry) -> tuple[Taps, ...]:
    """Return the taps of a convolution: a single phase."""
    taps = [
        Tap(u * how.dilation[0] - how.padding[0], v * how.dilation[1] - how.padding[1], n)
        for n, (u, v) in enumerate((u, v) for u in range(side[0]) for v in range(side[1]))
    ]
    return (Taps(0, 0, tuple(taps)),)


def transposed_taps(side: Pair, how: Geometry) -> tuple[Taps, ...]:
    """Return the taps of a transposed convolution: stride x stride phases."""
    axes = [along(side[i], how.stride[i], how.padding[i], how.dilation[i]) for i in range(2)]
    return tuple(
        Taps(a, b, tuple(Tap(r, c, u * side[1] + v) for r, u in rows for c, v in cols))
        for a, rows in enumerate(axes[0])
        for b, cols in enumerate(axes[1])
    )


def extent(phases: Sequence[Taps], size: Pair, out: Pair, step: Pair, walk: Pair) -> Border:
    """Return how far the taps read beyond an image of ``size``."""
    reach = [0, 0, 0, 0]
    for phase in phases:
        start = (phase.row, phase.col)
        for tap in phase.taps:
            for axis in range(2):
                count = -(-(out[axis] - start[axis]) // step[axis])
                if count > 0:
                    reach[axis] = max(reach[axis], -tap[axis])
                    last = tap[axis] + (count - 1) * walk[axis]
                    reach[axis + 2] = max(reach[axis + 2], last - (size[axis] - 1))
    return reach[0], reach[1], reach[2], reach[3]


@lru_cache(4096)
def halo(side: Pair, size: Pair, out: Pair, how: Geometry, transposed: bool = False) -> Border:
    """Return how far a convolution to ``out`` pixels reads beyond an image of ``size``."""
    if transposed:
        return extent(transposed_taps(side, how), size, out, how.stride, (1, 1))
    return extent(forward_taps(side, how), size, out, (1, 1), how.stride)


def adjacent(taps: Sequence[Place]) -> list[list[Place]]:
    """Return runs of adjacent taps in a row if all are equally long, else single taps."""
    runs: list[list[Place]] = []
    for tap in taps:
        if runs and tap[:2] == (runs[-1][-1][0], runs[-1][-1][1] + 1):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    if all(len(run) == len(runs[0]) for run in runs):
        return runs
    return [[tap] for tap in taps]
