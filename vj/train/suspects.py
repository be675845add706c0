"""Samples that do not seem to be what they are said to be.

A background that shows the object teaches that the object is none; a box beside its object holds
the threshold of every stage down. Both can be told from the others once a few stages are trained:

- An object that is none gets low sums in every stage, also in those that were trained with it. A
  threshold that keeps 99.5 % of the objects lets it pass.
- Windows about an unmarked object get sums as high as objects do. They are sought with a stricter
  copy of the cascade, which only part of the objects pass: a background is suspected that has far
  more of them in one place than others have.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.detect.grouping import group_rectangles, nms
from vj.errors import VJError
from vj.io.images import Pixels
from vj.train.assemble import TrainedStage, assemble
from vj.train.augment import PLAIN, Crop, variant
from vj.train.features import Bank, Table
from vj.train.sources import Scene
from vj.train.trees import sum_scores
from vj.train.windows import WindowFinder
from vj.train.workers import Workers

FIRST = 3  # stages before anything is suspected, unless one misses its goal
INNER, OUTER = 1.5, 2.0  # ranges between the quartiles: of a stage, of the mean of all
LOW = 0.25  # medians of a stage: an object with more is none to suspect
MOST = 0.75  # share of the stages
STRICT = 0.65  # share of the objects that pass the stricter cascade
FAR, LEAST = 7, 5  # windows in one place: times the third quartile of the backgrounds; at least
SEVERAL = 8  # backgrounds, at least, to compare one with
BUDGET = 50_000_000  # windows of a search through the backgrounds
SHOWN = 6  # windows of a background on the contact sheet
_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Suspect:
    """A sample that looks wrong.

    Attributes
    ----------
    kind : {"background", "object", "held"}
        A scene; an object that is learned, or one that is held out.
    index : int
        Place among those of its kind.
    name, why : str
        Where it is from; what it does.
    boxes : tuple of (x, y, w, h)
        Windows of a background that look most like objects, in pixels of the picture.
    """

    kind: str
    index: int
    name: str
    why: str
    boxes: tuple[tuple[int, int, int, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> Suspect:
        """The inverse of `to_dict`."""
        boxes = tuple(tuple(int(v) for v in box) for box in row["boxes"])
        return cls(row["kind"], row["index"], row["name"], row["why"], boxes)  # type: ignore[arg-type]


def plain_patches(crops: Sequence[Crop], window: tuple[int, int]) -> Pixels:
    """(n, rows, cols) the objects as they are."""
    rng = np.random.default_rng(0)
    return np.stack([variant(crop, window, PLAIN, rng) for crop in crops])


def stage_sums(
    bank: Bank, patches: Pixels, stages: Sequence[TrainedStage], workers: Workers
) -> NDArray[np.float64]:
    """(stages, n) sums of every stage for each patch; -inf where no Haar cascade looks at it."""

    def sums(first: int) -> NDArray[np.float64]:
        table = Table.of(patches[first : first + _BATCH], bank.tilted)
        out = np.stack([sum_scores(bank, table, stage.trees) for stage in stages])
        if bank.ordered:
            out[:, table.norms[: table.n] <= 0] = -np.inf
        return out

    parts = workers.map(sums, range(0, len(patches), _BATCH))
    return np.concatenate([np.empty((len(stages), 0)), *parts], axis=1)


def suspect_objects(
    bank: Bank,
    crops: Mapping[str, Sequence[Crop]],
    patches: Pixels,
    stages: Sequence[TrainedStage],
    workers: Workers,
) -> list[Suspect]:
    """Of objects by kind those whose sums lie far below those of the others.

    ``patches`` are their `plain_patches`, kind after kind. A sum counts in medians of its stage.
    Suspects lie below a fence of the quartiles (Tukey, Exploratory data analysis, 1977) in most
    stages, and with their mean below a farther one: how much good objects differ depends on what
    they are.
    """
    every = [(kind, k, crop) for kind, mine in crops.items() for k, crop in enumerate(mine)]
    sums = stage_sums(bank, patches, stages, workers)
    seen = np.isfinite(sums).all(axis=0)  # objects of no contrast are told before the training
    if not seen.any():
        return []
    sums /= np.maximum(np.median(sums[:, seen], axis=1, keepdims=True), 1e-9)
    mean = sums.mean(axis=0)
    failed = sum((row < _fence(row[seen], INNER)).astype(int) for row in sums)
    wrong = seen & (failed >= MOST * len(stages)) & (mean < _fence(mean[seen], OUTER))
    return [
        Suspect(
            kind,
            k,
            _named(crop.picture, crop.where),
            f"{count} of {len(stages)} stages find it far less like the objects than the others",
        )
        for (kind, k, crop), count, here in zip(every, failed, wrong, strict=True)
        if here
    ]


def _fence(values: NDArray[np.float64], ranges: float) -> float:
    """So many ranges between the quartiles below the first one, but no higher than `LOW`."""
    first, third = np.quantile(values, (0.25, 0.75))
    return float(min(LOW, first - ranges * (third - first)))


def _named(file: str, where: str) -> str:
    """Where a sample is from, with the name of its file in any case."""
    return where if file in where else f"{file} ({where})"


def stricter(
    bank: Bank, stages: Sequence[TrainedStage], objects: Pixels, workers: Workers
) -> Cascade:
    """The cascade with thresholds that only `STRICT` of the objects pass, an equal share each."""
    sums = stage_sums(bank, objects, stages, workers)
    low, high = 0.0, 1.0
    for _ in range(20):
        share = (low + high) / 2
        limits = np.quantile(sums, share, axis=1)
        if (sums >= limits[:, None]).all(axis=0).mean() >= STRICT:
            low = share
        else:
            high = share
    limits = np.quantile(sums, low, axis=1)
    return assemble(
        bank,
        [TrainedStage(s.trees, np.float32(v)) for s, v in zip(stages, limits, strict=True)],
    )


def suspect_scenes(
    cascade: Cascade,
    scenes: Sequence[Scene],
    which: Sequence[int],
    workers: Workers,
    deadline: float = math.inf,
) -> list[Suspect]:
    """Of the scenes ``which`` those with far more windows that pass in one place than the others.

    Parameters
    ----------
    cascade : Cascade
        A stricter one.
    deadline : float
        Of `time.monotonic`; nothing is suspected after it.
    """
    finder = WindowFinder(cascade, cascade.window, contrast=True)

    def look(k: int) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        with contextlib.suppress(VJError):  # told by mining
            if time.monotonic() <= deadline:
                return finder.accepted(scenes[k])
        return np.empty((0, 4), np.int32), np.empty(0)

    found = list(workers.map(look, which))
    count = np.array([_together(rects) for rects, _ in found])
    if len(count) < SEVERAL or time.monotonic() > deadline:
        return []
    usual = int(np.quantile(count, 0.75))
    return [
        Suspect(
            "background",
            which[k],
            _named(getattr(scenes[which[k]].path, "name", ""), scenes[which[k]].name),
            f"{count[k]} windows in one place look like an object, in most backgrounds {usual}",
            _best(*found[k]),
        )
        for k in np.flatnonzero(count >= max(LEAST, FAR * usual + 1)).tolist()
    ]


def _together(rects: NDArray[np.int32]) -> int:
    """Windows of the largest group of those that a detector would merge."""
    nothing = np.zeros(len(rects), np.int32)
    groups = group_rectangles(rects, 1, 0.2, nothing, nothing.astype(np.float64))
    return int(groups.counts.max(initial=min(len(rects), 1)))


def _best(
    rects: NDArray[np.int32], sums: NDArray[np.float64]
) -> tuple[tuple[int, int, int, int], ...]:
    """The surest of windows that overlap, and of those the best."""
    xyxy = np.concatenate([rects[:, :2], rects[:, :2] + rects[:, 2:]], axis=1)
    keep = nms(xyxy.astype(np.float32), sums.astype(np.float32), 0.2)[:SHOWN]
    return tuple((int(x), int(y), int(w), int(h)) for x, y, w, h in rects[keep])


def chunk(count: int, stage: int, share: float, seed: int) -> list[int]:
    """Numbers of the scenes that are searched after stage ``stage``: the next ``share`` of all."""
    size = min(max(math.ceil(count * share), SEVERAL), count)
    order = np.random.default_rng([seed, 11]).permutation(count)
    first = (stage // FIRST - 1) * size
    return sorted(int(order[k % count]) for k in range(first, first + size))


def in_words(suspects: Sequence[Suspect]) -> str:
    """What is suspected, in one line."""
    parts = []
    for scenes, what in (
        (False, "objects that are unlike the others (is the box on the object?)"),
        (True, "backgrounds that seem to show the object"),
    ):
        mine = [s.name for s in suspects if (s.kind == "background") == scenes]
        if mine:
            more = f" and {len(mine) - 5} more" if len(mine) > 5 else ""
            parts.append(f"{what}: {'; '.join(mine[:5])}{more}")
    return ". ".join(parts)
