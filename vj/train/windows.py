"""The windows of a picture that pass a cascade, found by the detector's own scan.

Scales and steps are the detector's, so that the share of windows that pass is the false-alarm rate
that a user will meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.datasets.annotations import Boxes
from vj.detect import pyramid
from vj.detect.packing import pack
from vj.detect.scanner import Scanner
from vj.detect.window import make_level
from vj.errors import VJError
from vj.io.images import Pixels, as_gray
from vj.train.sources import Scene

SCALE_FACTOR = 1.1
OVERLAP = 0.3  # a window that meets an object by this IoU is no negative
VIEWS = 8  # a scene as it is, mirrored, and both turned by quarters


@dataclass(frozen=True, slots=True, eq=False)
class Survivors:
    """Windows of one scene that pass: ``patches`` of ``passed``, out of ``visited``."""

    patches: Pixels
    visited: int
    passed: int
    problem: str = ""


class WindowFinder:
    """Scans scenes with a cascade, or draws windows at random where there is none yet."""

    def __init__(self, cascade: Cascade | None, window: tuple[int, int], contrast: bool) -> None:
        self._window, self._contrast = window, contrast
        self._scanner = Scanner(pack(cascade)) if cascade is not None else None

    def find(
        self, scene: Scene, view: int, most: int | None, rng: np.random.Generator
    ) -> Survivors:
        """At most ``most`` of the windows that pass, drawn at random; all for None."""
        empty = np.empty((0, *self._window), np.uint8)
        try:
            gray = as_gray(scene.read())
        except VJError as exc:
            return Survivors(empty, 0, 0, str(exc))
        boxes, ignore = (_turn(b, gray.shape, view) for b in (scene.boxes, scene.ignore))
        gray = _view(gray, view)
        levels = _levels(gray, self._window)
        if not levels:
            size = f"{gray.shape[1]}x{gray.shape[0]}"
            return Survivors(empty, 0, 0, f"{scene.name}: {size} px is smaller than the window")
        visited = sum(level.window_rows * level.window_cols for level in levels)
        if self._scanner is None:
            places = _random_places(levels, 4 * (most or 1000), rng)
        else:
            rects, _ = self._scanner.candidates(gray, levels)
            places = _places(rects, levels)
        keep = _outside(_rects(places, levels), boxes, ignore)
        places = places[keep]
        passed = len(places) if self._scanner is not None else visited
        if most is not None and len(places) > most and self._scanner is not None:
            places = places[np.sort(rng.choice(len(places), most, replace=False))]
        patches = self._cut(gray, levels, places)
        if self._scanner is None:
            if self._contrast:
                inner = patches[:, 1:-1, 1:-1].reshape(len(patches), -1).astype(np.float64)
                patches = patches[inner.std(axis=1) > 10]
            patches = patches[:most]
        return Survivors(patches, visited, passed)

    def accepted(self, scene: Scene) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Windows of a scene that pass, but at its objects: (n, 4) x, y, w, h, and their sums.

        Raises
        ------
        ImageError, SourceError
            The scene cannot be read.
        """
        assert self._scanner is not None
        gray = as_gray(scene.read())
        levels = _levels(gray, self._window)
        rects, sums = self._scanner.candidates(gray, levels)
        if not len(rects):
            return rects, sums
        keep = _outside(_rects(_places(rects, levels), levels), scene.boxes, scene.ignore)
        return rects[keep], sums[keep]

    def _cut(
        self, gray: Pixels, levels: Sequence[pyramid.Level], places: NDArray[np.int64]
    ) -> Pixels:
        rows, cols = self._window
        out = np.empty((len(places), rows, cols), np.uint8)
        for k in np.unique(places[:, 0]):
            level = make_level(gray, levels[k].factor)
            views = np.lib.stride_tricks.sliding_window_view(level, (rows, cols))
            mine = places[:, 0] == k
            out[mine] = views[places[mine, 2], places[mine, 1]]
        return out


def _levels(gray: Pixels, window: tuple[int, int]) -> list[pyramid.Level]:
    """The detector's levels; of those whose windows are equally wide (tiny windows) the first."""
    every = pyramid.levels(gray.shape, window, SCALE_FACTOR, None, None)
    return [b for a, b in zip([None, *every], every, strict=False)
            if a is None or b.window[1] > a.window[1]]  # fmt: skip


def _random_places(
    levels: Sequence[pyramid.Level], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """``count`` windows of the pyramid as level, x, y: every window is equally likely."""
    many = np.array([level.window_rows * level.window_cols for level in levels])
    at = np.sort(rng.integers(many.sum(), size=count))
    start = np.concatenate([[0], np.cumsum(many)[:-1]])
    level = np.searchsorted(np.cumsum(many), at, side="right")
    width = np.array([lv.window_cols for lv in levels])[level]
    step = np.array([lv.step for lv in levels])[level]
    y, x = np.divmod(at - start[level], width)
    places = np.unique(np.stack([level, x * step, y * step], axis=1), axis=0)
    return rng.permutation(places)


def _places(rects: NDArray[np.int32], levels: Sequence[pyramid.Level]) -> NDArray[np.int64]:
    """Level, x, y of candidates, which come level by level."""
    sizes = np.array([level.window[1] for level in levels])
    level = np.searchsorted(sizes, rects[:, 2])
    factor = np.array([lv.factor for lv in levels], np.float64)[level]
    # A position was rounded after a product with a factor >= 1: rounding the quotient restores it.
    x, y = (np.rint(rects[:, k] / factor).astype(np.int64) for k in (0, 1))
    return np.stack([level, x, y], axis=1)


def _rects(places: NDArray[np.int64], levels: Sequence[pyramid.Level]) -> Boxes:
    factor = np.array([lv.factor for lv in levels], np.float64)[places[:, 0]]
    size = np.array([[lv.window[1], lv.window[0]] for lv in levels])[places[:, 0]]
    low = places[:, 1:] * factor[:, None]
    return np.concatenate([low, low + size], axis=1)


def _outside(rects: Boxes, boxes: Boxes, ignore: Boxes) -> NDArray[np.bool_]:
    """Windows that meet no object, and lie by less than half in any region to ignore."""
    keep = np.ones(len(rects), bool)
    area = (rects[:, 2:] - rects[:, :2]).prod(axis=1)
    for kind, others in (("box", boxes), ("ignore", ignore)):
        for other in others:
            size = np.minimum(rects[:, 2:], other[2:]) - np.maximum(rects[:, :2], other[:2])
            inter = np.maximum(size, 0).prod(axis=1)
            both = area + (other[2:] - other[:2]).prod() - inter
            if kind == "box":
                keep &= inter < OVERLAP * both
            else:
                keep &= (inter < area / 2) & (inter < OVERLAP * both)
    return keep


def _view(gray: Pixels, view: int) -> Pixels:
    turned = np.rot90(gray[:, ::-1] if view % 2 else gray, view // 2)
    return np.ascontiguousarray(turned)


def _turn(boxes: Boxes, shape: tuple[int, ...], view: int) -> Boxes:
    """Boxes of a picture of ``shape`` in the picture that `_view` makes of it."""
    rows, cols = shape[:2]
    if view % 2:
        boxes = np.stack([cols - boxes[:, 2], boxes[:, 1], cols - boxes[:, 0], boxes[:, 3]], axis=1)
    for _ in range(view // 2):  # counterclockwise, as np.rot90: (x, y) goes to (y, cols - x)
        boxes = np.stack([boxes[:, 1], cols - boxes[:, 2], boxes[:, 3], cols - boxes[:, 0]], axis=1)
        rows, cols = cols, rows
    return boxes
