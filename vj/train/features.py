"""All features of a window, and their responses on tables of samples.

A `Bank` knows the features of one kind (Haar or LBP) and how to bin, evaluate and export them; the
boosting above it never asks which kind it is, only whether bins are ``ordered``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vj.errors import TrainingError
from vj.features.haar import HaarFeatures, enumerate_haar
from vj.features.lbp import enumerate_lbp
from vj.io.images import Pixels
from vj.kernels import responses as kernels

MAX_AREA = (2**24 - 1) // 255  # sums of larger windows are not exact in float32


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Integral images of n samples in the layout of `vj.kernels.responses`.

    ``norms`` is 0 where the detector refuses the window for its low contrast.
    """

    n: int
    data: NDArray[np.float32]
    norms: NDArray[np.float32]

    @classmethod
    def of(cls, patches: Pixels, tilted: bool = False) -> Table:
        """Table of (n, rows, cols) patches."""
        n, rows, cols = patches.shape
        blocks = max(-(-n // kernels.BLOCK), 1)
        points = (rows + 1) * (cols + 1) * (2 if tilted else 1)
        data = np.empty((blocks, points, kernels.BLOCK), np.float32)
        norms = np.empty(blocks * kernels.BLOCK, np.float32)
        kernels.tabulate(np.ascontiguousarray(patches), tilted, data, norms)
        return cls(n, data, norms)

    def pick(self, which: NDArray[np.intp]) -> Table:
        """Table of the samples ``which``, repetitions allowed."""
        n = len(which)
        lanes = np.zeros(-(-max(n, 1) // kernels.BLOCK) * kernels.BLOCK, np.intp)
        lanes[:n] = which
        block, lane = np.divmod(lanes.reshape(-1, kernels.BLOCK), kernels.BLOCK)
        data = np.ascontiguousarray(self.data[block, :, lane].transpose(0, 2, 1))
        return Table(n, data, self.norms[lanes])

    @property
    def width(self) -> int:
        """Number of lanes: n rounded up to whole blocks."""
        return len(self.norms)


class Bank(Protocol):
    """The features of a window."""

    window: tuple[int, int]
    kind: str
    ordered: bool
    tilted: bool

    def __len__(self) -> int: ...

    def calibrate(self, table: Table) -> None:
        """Choose the quantisation of every feature from typical samples."""

    def bins(self, table: Table, which: NDArray[np.intp]) -> NDArray[np.uint8]:
        """(F, table.width) bins of the features ``which``."""

    def values(self, table: Table, which: NDArray[np.intp]) -> NDArray[Any]:
        """(F, table.n) exact values (float32) or codes (uint8) of the features ``which``."""

    def export(self, which: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """Arrays ``rects``, ``weights``, ``tilted`` of a `Cascade` with these features."""


class HaarBank:
    """Haar features of a window."""

    kind, ordered = "HAAR", True

    def __init__(self, window: tuple[int, int], mode: str = "BASIC") -> None:
        self.window = window
        self.features = enumerate_haar(window, mode)
        self.tilted = bool(self.features.tilted.any())
        self._boxes = _box_corners(self.features, window)
        self._corners, self._signs, self._counts = _merged(self._boxes, self.features.weights)
        self._low = np.full(len(self), -1, np.float32)
        self._scale = np.full(len(self), 128, np.float32)

    def __len__(self) -> int:
        return len(self.features)

    def calibrate(self, table: Table) -> None:
        """Spread 256 bins over four standard deviations on either side of each mean."""
        for first in range(0, len(self), 4096):
            part = slice(first, first + 4096)
            values = self.values(table, np.arange(len(self))[part])
            mean, std = values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)
            self._low[part] = mean - 4 * std
            self._scale[part] = np.float32(32) / std

    def bins(self, table: Table, which: NDArray[np.intp]) -> NDArray[np.uint8]:
        """As `Bank.bins`."""
        out = np.empty((len(which), table.width), np.uint8)
        rows = (self._corners, self._signs, self._counts, self._low, self._scale)
        kernels.haar_bins(table.data, table.norms, *(array[which] for array in rows), out)
        return out

    def values(self, table: Table, which: NDArray[np.intp]) -> NDArray[np.float32]:
        """As `Bank.values`."""
        out = np.empty((len(which), table.width), np.float32)
        weights = self.features.weights[which]
        kernels.haar_values(table.data, table.norms, self._boxes[which], weights, out)
        return out[:, : table.n]

    def export(self, which: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """As `Bank.export`."""
        chosen = self.features[which]
        return {"rects": chosen.rects, "weights": chosen.weights, "tilted": chosen.tilted}


class LBPBank:
    """Multi-block local binary patterns of a window."""

    kind, ordered, tilted = "LBP", False, False

    def __init__(self, window: tuple[int, int]) -> None:
        self.window = window
        self.blocks: NDArray[np.int32] = enumerate_lbp(window)
        self._boxes = _cell_corners(self.blocks, window)

    def __len__(self) -> int:
        return len(self.blocks)

    def calibrate(self, table: Table) -> None:
        """Codes need no quantisation."""

    def bins(self, table: Table, which: NDArray[np.intp]) -> NDArray[np.uint8]:
        """As `Bank.bins`."""
        out = np.empty((len(which), table.width), np.uint8)
        kernels.lbp_bins(table.data, self._boxes[which], out)
        return out

    def values(self, table: Table, which: NDArray[np.intp]) -> NDArray[np.uint8]:
        """As `Bank.values`."""
        return self.bins(table, which)[:, : table.n]

    def export(self, which: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
        """As `Bank.export`."""
        return {
            "rects": self.blocks[which][:, None, :],
            "weights": np.empty((0, 3), np.float32),
            "tilted": np.empty(0, np.bool_),
        }


def make_bank(window: tuple[int, int], features: str) -> Bank:
    """Bank of ``features``: "BASIC", "CORE", "ALL" (Haar) or "LBP".

    Raises
    ------
    TrainingError
        The window is too large for exact sums or too small for any feature.
    """
    rows, cols = window
    if rows * cols > MAX_AREA or min(rows, cols) < 6:
        raise TrainingError(
            f"`window` {cols}x{rows}: sides start at 6 pixels and the area ends at {MAX_AREA}"
        )
    return LBPBank(window) if features == "LBP" else HaarBank(window, features)


def _box_corners(features: HaarFeatures, window: tuple[int, int]) -> NDArray[np.int32]:
    """(F, 12) table rows of the corners (+ - - +) of the boxes of each feature."""
    rows, cols = window
    pitch = cols + 1
    x, y, w, h = np.moveaxis(features.rects, -1, 0)
    upright = [y * pitch + x, y * pitch + x + w, (y + h) * pitch + x, (y + h) * pitch + x + w]
    start = (rows + 1) * pitch
    lean = [
        start + y * pitch + x,
        start + (y + h) * pitch + x - h,
        start + (y + w) * pitch + x + w,
        start + (y + w + h) * pitch + x + w - h,
    ]
    corners = np.where(features.tilted[:, None, None], np.stack(lean, -1), np.stack(upright, -1))
    return np.ascontiguousarray(corners.reshape(-1, 12), np.int32)


def _merged(boxes: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """Distinct corners with their summed factors: (F, 9), (F, 9) and how many (6, 8 or 9)."""
    signs = weights[:, :, None] * np.array([1, -1, -1, 1], np.float32)
    signs = signs.reshape(-1, 12)
    order = np.argsort(boxes, axis=1, kind="stable")
    at, sign = np.take_along_axis(boxes, order, 1), np.take_along_axis(signs, order, 1)
    # Equal corners are neighbours now: number the runs, add up each of them.
    run = np.concatenate([np.zeros((len(at), 1), np.intp), np.cumsum(np.diff(at) != 0, axis=1)], 1)
    row = np.repeat(np.arange(len(at)), 12)
    total, place = np.zeros((len(at), 12), np.float32), np.zeros((len(at), 12), np.int32)
    np.add.at(total, (row, run.ravel()), sign.ravel())
    place[row, run.ravel()] = at.ravel()
    # Those that cancel, and the (0, 0) of an absent third box, go to the end.
    order = np.argsort(total == 0, axis=1, kind="stable")[:, : kernels.MAX_CORNERS]
    counts = (total != 0).sum(axis=1)
    counts = np.select([counts <= 6, counts <= 8], [6, 8], kernels.MAX_CORNERS)
    corners, factors = np.take_along_axis(place, order, 1), np.take_along_axis(total, order, 1)
    return np.ascontiguousarray(corners), np.ascontiguousarray(factors), counts.astype(np.int32)


def _cell_corners(blocks: NDArray[np.int32], window: tuple[int, int]) -> NDArray[np.int32]:
    """(F, 36) table rows of the corners of the centre and of its neighbours clockwise."""
    pitch = window[1] + 1
    cells: Sequence[tuple[int, int]] = (
        (1, 1), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)
    )  # fmt: skip
    out = []
    for cx, cy in cells:
        x, y = blocks[:, 0] + cx * blocks[:, 2], blocks[:, 1] + cy * blocks[:, 3]
        w, h = blocks[:, 2], blocks[:, 3]
        out += [y * pitch + x, y * pitch + x + w, (y + h) * pitch + x, (y + h) * pitch + x + w]
    return np.ascontiguousarray(np.stack(out, axis=1), np.int32)
