"""Run the scan of a packed cascade over a pyramid, on one thread or several: the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.detect import pyramid
from vj.detect.packing import PackedCascade
from vj.detect.pyramid import Level
from vj.detect.threads import call_in_threads
from vj.kernels import pyramid as columns
from vj.kernels import scan

_ROOM = 1 << 15  # windows that one call of the kernel can report, if there are so many
_CHUNKS = 8  # pieces of work a thread


class Scanner:
    """A packed cascade ready to scan; immutable, so that any number of threads may share it."""

    def __init__(self, packed: PackedCascade) -> None:
        self.packed = packed
        self._kernel = scan.scan_haar if packed.is_haar else scan.scan_lbp
        # images of one size need the same offsets
        self._offsets = lru_cache(maxsize=4)(self._place_corners)

    def __reduce__(self) -> tuple[Any, ...]:
        return Scanner, (self.packed,)

    def _place_corners(self, where: tuple[int, ...]) -> tuple[NDArray[np.int32], ...]:
        packed = self.packed
        return pyramid.place_corners(packed.corners, packed.tilted, np.array(where))

    def candidates(
        self, gray: NDArray[np.uint8], levels: Sequence[Level], n_jobs: int = 1
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Windows that pass every stage, in the order of level, row and column.

        Parameters
        ----------
        gray : (H, W) uint8, C-contiguous
        levels : from ``vj.detect.pyramid.levels`` for the shape of `gray`
        n_jobs : int
            Threads; the result does not depend on it.

        Returns
        -------
        rects : (n, 4) int32
            ``x, y, w, h`` in the image, as rounded by OpenCV, not clipped.
        weights : (n,) float64
            Sum of the last stage.
        """
        if not levels:
            return np.empty((0, 4), np.int32), np.empty(0)
        packed = self.packed
        table = pyramid.bands(levels, packed.window)
        where = pyramid.layout(levels, table, packed.window, packed.is_haar, packed.has_tilted)
        chunks = _share_out(table, _CHUNKS * n_jobs if n_jobs > 1 else 1)
        found: list[Any] = [None] * len(chunks)
        waiting = iter(enumerate(chunks))
        lock = Lock()

        def work() -> None:
            space = _Workspace(gray, table, where, packed)
            while True:
                with lock:
                    job = next(waiting, None)
                if job is None:
                    return
                found[job[0]] = self._scan(gray, job[1], where, space)

        call_in_threads(work, min(n_jobs, len(chunks)))
        windows = np.concatenate([windows for windows, _ in found])
        weights = np.concatenate([weights for _, weights in found])
        return _to_image(windows, levels), weights

    def _scan(
        self,
        gray: NDArray[np.uint8],
        table: NDArray[np.int64],
        where: NDArray[np.int64],
        space: _Workspace,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        packed = self.packed
        offsets = self._offsets(tuple(where.tolist()))
        windows, weights = [space.out[0][:0]], [space.out[1][:0]]
        first = 0
        while first < len(table):
            n, done = self._kernel(
                gray, table[first:], where, packed.model, offsets, packed.norm,
                space.fill, space.lists, space.out,
            )  # fmt: skip
            windows.append(space.out[0][:n].copy())
            weights.append(space.out[1][:n].copy())
            first += done
        return np.concatenate(windows), np.concatenate(weights)


class _Workspace:
    """Scratch memory of one thread, a few rows of the image in size."""

    def __init__(
        self,
        gray: NDArray[np.uint8],
        table: NDArray[np.int64],
        where: NDArray[np.int64],
        packed: PackedCascade,
    ) -> None:
        pitch, plane = int(where[columns.PITCH]), int(where[columns.PLANE])
        planes = 1 + packed.is_haar + packed.has_tilted
        self.fill = (
            np.empty(pitch + 16, np.int32),
            np.empty(pitch + 16, np.int32),
            np.empty(gray.shape[1] + 16, np.uint32),
            np.empty(2 * pitch + 16, np.int32),
            np.empty(planes * plane + 64, np.int32),
        )
        batch = int(table[:, columns.BATCH].max())
        nf_pitch = int(where[columns.NF_PITCH])
        blocks = int((table[:, columns.BATCH] * (table[:, columns.COLS] // 8 + 5)).max())
        self.lists = (
            np.zeros(batch * nf_pitch + 64, np.float32),
            np.empty(32 * packed.stack, np.float32),
            np.empty(blocks, np.int64),
            np.empty(blocks, np.int64),
            np.empty(blocks, np.uint32),
        )
        windows = table[:, columns.ROWS] * table[:, columns.COLS]
        room = min(int(windows.sum()), max(_ROOM, int(windows.max())))
        self.out = np.empty((room, 3), np.int32), np.empty(room)


def _share_out(table: NDArray[np.int64], n: int) -> list[NDArray[np.int64]]:
    """The bands in at most n runs of about equal work."""
    work = np.cumsum(table[:, columns.ROWS] * table[:, columns.COLS])
    cuts = np.searchsorted(work, work[-1] * np.arange(1, n) / n)
    return [part for part in np.split(table, np.unique(cuts)) if len(part)]


def _to_image(windows: NDArray[np.int32], levels: Sequence[Level]) -> NDArray[np.int32]:
    out = np.empty((len(windows), 4), np.int32)
    starts = np.searchsorted(windows[:, 0], np.arange(len(levels) + 1))
    for k, level in enumerate(levels):
        part = slice(starts[k], starts[k + 1])
        if part.start < part.stop:
            out[part] = level.to_image(windows[part, 1], windows[part, 2])
    return out
