"""Objects to learn: cut out of pictures, split without leaks, and varied without end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Boxes, Picture
from vj.errors import TrainingError, VJError
from vj.io.images import Pixels, as_gray
from vj.train.augment import Augment, Crop, variant
from vj.train.workers import Workers

KEPT_DETAIL = 3.0  # crops keep this many pixels for a pixel of the window
SMALLEST = 0.8  # boxes of fewer pixels for a pixel of the window are left out
ENOUGH = 4  # objects for each that a stage learns from: more would hardly ever be looked at


@dataclass(slots=True, eq=False)
class Findings:
    """What was seen while reading: problems that a training survives, and sizes."""

    unreadable: list[str] = field(default_factory=list)
    too_small: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    sizes: list[tuple[float, float]] = field(default_factory=list)
    hashes: dict[bytes, str] = field(default_factory=dict)


def fit_window(box: NDArray[np.float64], window: tuple[int, int], margin: float) -> Boxes:
    """The box grown (never squashed) to the window's aspect, then by ``margin``, same centre."""
    rows, cols = window
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    unit = max(size[0] / cols, size[1] / rows) * margin
    half = np.array([cols, rows]) * unit / 2
    return np.concatenate([centre - half, centre + half])


def draw_pictures(
    pictures: Sequence[Picture],
    window: tuple[int, int],
    *,
    count: int,
    memory: int,
    margin: float,
    reach: float,
    seed: int,
) -> list[Picture]:
    """Those that are worth reading: drawn at random, so that their objects are ``count`` at most.

    Their crops fit into ``memory`` bytes. Pictures without boxes stay; so does the order.
    """
    rows, cols = window
    boxes = np.concatenate([np.empty((0, 4)), *(picture.boxes for picture in pictures)])
    of = np.repeat(np.arange(len(pictures)), [len(picture.boxes) for picture in pictures])
    detail = ((boxes[:, 2:] - boxes[:, :2]) / [cols, rows]).max(axis=1, initial=0) * margin
    detail[np.isinf(detail)] = 1.5 * KEPT_DETAIL  # whole pictures, of sizes that nobody knows yet
    used = detail >= SMALLEST
    detail /= np.maximum(detail // KEPT_DETAIL, 1)
    size = rows * cols * (detail * reach) ** 2 * used
    many, size = (np.bincount(of, values, len(pictures)) for values in (used, size))
    order = np.random.default_rng([seed, 10]).permutation(len(pictures))
    fits = (np.cumsum(many[order]) <= count) & (np.cumsum(size[order]) <= memory)
    keep = np.array([not len(picture.boxes) for picture in pictures], bool)
    keep[order[: max(int(fits.sum()), 1)]] = True
    return [picture for picture, mine in zip(pictures, keep, strict=True) if mine]


def read_crops(
    pictures: Sequence[Picture],
    window: tuple[int, int],
    *,
    arrays: Sequence[tuple[str, Pixels]] = (),
    margin: float = 1.0,
    reach: float = 1.5,
    workers: Workers | None = None,
) -> tuple[list[Crop], Findings]:
    """Cut out every object with ``reach`` windows of its surroundings.

    Parameters
    ----------
    arrays : sequence of (name, (H, W) uint8)
        Images each of which is an object.
    margin : float
        Side of the window over the side of the (grown) box.

    Returns
    -------
    crops, findings
        In the order of pictures and boxes; identical objects once.
    """
    crops: list[Crop] = []
    findings = Findings()
    seen: dict[bytes, str] = {}

    def read(picture: Picture) -> Pixels | str:
        try:
            return as_gray(picture.read())
        except VJError as exc:
            return str(exc)

    grays = (workers or Workers()).map(read, pictures)
    whole = np.array([[0.0, 0.0, np.inf, np.inf]])
    made = [Picture(name, Path(name), whole, where=name) for name, _ in arrays]
    every = chain(zip(pictures, grays, strict=True), zip(made, (a for _, a in arrays), strict=True))
    for picture, gray in every:
        if isinstance(gray, str):
            findings.unreadable.append(gray)
            continue
        source = picture.where or picture.name
        findings.hashes.setdefault(digest(gray), source)
        height, width = gray.shape
        for k, box in enumerate(np.minimum(picture.boxes, _limits(picture.boxes, width, height))):
            where = f"{source}, box {k + 1}"
            w, h = box[2:] - box[:2]
            findings.sizes.append((float(w), float(h)))
            if (box[:2] >= [width, height]).any() or (box[2:] <= 0).any():
                findings.outside.append(f"{where} in {width}x{height}")
                continue
            if (box[:2] < -1).any() or box[2] > width + 1 or box[3] > height + 1:
                findings.clipped.append(f"{where} leaves the picture of {width}x{height}")
            region = fit_window(box, window, margin)
            if region[2] - region[0] < SMALLEST * window[1]:
                findings.too_small.append(f"{where}: {w:.0f}x{h:.0f} px")
                continue
            group = picture.groups[k] if k < len(picture.groups) else source
            roll = picture.rolls[k] if k < len(picture.rolls) else 0.0
            crop = cut(gray, region, window, reach, roll, group, where, picture.name)
            first = seen.setdefault(digest(crop.pixels), where)
            if first is where:
                crops.append(crop)
            else:
                findings.duplicates.append(f"{where} repeats {first}")
    return crops, findings


def _limits(boxes: Boxes, width: int, height: int) -> Boxes:
    """Upper bounds that turn the box `WHOLE` into the picture and leave others as they are."""
    size = np.array([width, height, width, height])
    return np.where(np.isinf(boxes), size, np.inf)


def digest(pixels: Pixels) -> bytes:
    """Identity of an image's content."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def cut(
    gray: Pixels,
    region: Boxes,
    window: tuple[int, int],
    reach: float,
    roll: float,
    group: str,
    where: str,
    picture: str = "",
) -> Crop:
    """The region times ``reach``, border pixels repeated outside, shrunk to the detail needed."""
    from PIL import Image

    centre, size = (region[:2] + region[2:]) / 2, region[2:] - region[:2]
    low = np.floor(centre - size * reach / 2).astype(int)
    high = np.ceil(centre + size * reach / 2).astype(int)
    height, width = gray.shape
    rows = np.clip(np.arange(low[1], high[1]), 0, height - 1)
    cols = np.clip(np.arange(low[0], high[0]), 0, width - 1)
    pixels = gray[rows[:, None], cols]
    centre = centre - low
    shrink = int(size[0] / (KEPT_DETAIL * window[1]))
    if shrink > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(shrink))
        centre, size = centre / shrink, size / shrink
    return Crop(
        np.ascontiguousarray(pixels),
        (float(centre[0]), float(centre[1])),
        (float(size[0]), float(size[1])),
        roll,
        group,
        where,
        picture,
    )


def split_groups(
    groups: Sequence[str], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the items to train on and of those held out; a group is never divided.

    Of a single group both parts are everything.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        every = np.arange(len(groups))
        return every, every
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    held = {names[k] for k in order[:count]}
    out = np.array([group in held for group in groups])
    return np.flatnonzero(~out), np.flatnonzero(out)


class PatchStream:
    """An endless sequence of variants of crops; patch k is the same whenever it is asked for.

    The first pass takes each crop once, in an order that ``seed`` shuffles, the second pass again
    in another variant, and so on.
    """

    def __init__(
        self, crops: Sequence[Crop], window: tuple[int, int], augment: Augment, seed: int
    ) -> None:
        if not crops:
            raise TrainingError("no objects to learn: no box is readable and large enough")
        self.crops, self.window, self.augment, self.seed = crops, window, augment, seed
        self._order = np.random.default_rng([seed, 2]).permutation(len(crops))

    def __len__(self) -> int:
        """Patches of one pass: crops that take part."""
        return len(self._order)

    def leave_out(self, crops: Iterable[int]) -> None:
        """Take no more variants of these crops; patch k becomes another one."""
        self._order = self._order[~np.isin(self._order, list(crops))]

    def source(self, first: int, count: int) -> NDArray[np.int32]:
        """(count,) numbers of the crops that patches ``first`` and following are variants of."""
        return self._order[np.arange(first, first + count) % len(self)].astype(np.int32)

    def take(self, first: int, count: int, workers: Workers | None = None) -> Pixels:
        """(count, rows, cols) patches ``first`` and following."""
        out = np.empty((count, *self.window), np.uint8)

        def fill(start: int) -> None:
            for k in range(start, min(start + 256, count)):
                copy, place = divmod(first + k, len(self))
                crop = int(self._order[place])
                rng = np.random.default_rng([self.seed, 3, crop, copy])
                out[k] = variant(self.crops[crop], self.window, self.augment, rng)

        list((workers or Workers()).map(fill, range(0, count, 256)))
        return out
