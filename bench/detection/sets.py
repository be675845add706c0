"""Annotated pictures for `detectors`: any box file, and composed frames of held-out faces."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from nets.detectors.training.augment import Cropping
from nets.detectors.training.compose import Composing
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.scenes import Mixture, Scenes
from vj.datasets.annotations import boxes_from_xywh
from vj.evaluate import read_annotations
from vj.io.images import as_rgb

SIDE = 320  # of composed frames
BUCKETS = ((10, 20), (20, 40), (40, 80), (80, 160), (160, 300))
ROLLS = (10, 20, 30, 45)
EACH = 40  # frames of each composed set


@dataclass(frozen=True, eq=False)
class Case:
    """A picture with boxes in xyxy; ``kinds`` names the group of each face (size, roll, mask).

    ``strict`` holds the regions to ignore that a person drew, without those that a network added.
    """

    image: np.ndarray
    boxes: np.ndarray
    ignore: np.ndarray
    strict: np.ndarray
    source: str
    kinds: tuple[str, ...]


def shrunk(image: Image.Image, side: int) -> tuple[Image.Image, float]:
    """The picture scaled down to a longer side of ``side`` pixels (0: as it is), and the factor."""
    factor = min(1.0, side / max(image.size)) if side else 1.0
    if factor == 1:
        return image, 1.0
    size = tuple(max(1, round(n * factor)) for n in image.size)
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), factor


def annotated(path: Path, side: int = 0) -> Iterator[Case]:
    """The pictures of a box file or folder in any format of `vj.evaluate.read_annotations`."""
    by_hand = _ignored_by_hand(path)
    for picture in read_annotations(path):
        image, factor = shrunk(Image.fromarray(as_rgb(picture.read())), side)
        boxes, ignore = picture.boxes * factor, picture.ignore * factor
        strict = by_hand.get(picture.name)
        sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
        yield Case(
            np.asarray(image),
            boxes,
            ignore,
            ignore if strict is None else strict * factor,
            picture.source,
            tuple(map(bucket, sizes)),
        )


def _ignored_by_hand(path: Path) -> dict[str, np.ndarray]:
    """Regions to ignore by picture, where the format tells drawn ones from computed ones."""
    file = path / "annotations.json" if path.is_dir() else path
    items = json.loads(file.read_text(encoding="utf-8")) if file.suffix == ".json" else ()
    rows = items if isinstance(items, list) else ()
    return {item["file"]: boxes_from_xywh(item.get("ignore", [])) for item in rows}


def composed(folder: Path) -> Iterator[Case]:
    """Frames by face size, by roll and with masks, from held-out crops and backgrounds."""
    _, held_out = read_data(folder)
    plain = Composing(faces=(1, 1), others=(0, 2), alike=0, occluded=0, blurred=0.1, roll=10)
    for low, high in BUCKETS:
        how = replace(plain, size=(low / SIDE, high / SIDE), smallest=low)
        yield from frames(held_out, f"size {low}-{high}", how)
    yield from portraits(held_out)
    turned = replace(plain, size=(40 / SIDE, 80 / SIDE), roll=45, faces=(2, 2))
    yield from frames(held_out, "roll", turned, count=2 * EACH)
    half = replace(plain, size=(30 / SIDE, 120 / SIDE), faces=(2, 2))
    yield from frames(held_out, "no mask", half)
    yield from frames(held_out, "mask", replace(half, occluded=1.0, occlusion="mask"))


def frames(data: Data, name: str, how: Composing, count: int = EACH) -> Iterator[Case]:
    mixture = Mixture(kinds=(("composite", 1.0),), composing=how)
    yield from cases(Scenes(data, SIDE, seed=7, mixture=mixture), name, count)


def portraits(data: Data) -> Iterator[Case]:
    """Portraits cropped so that the face fills from half of the frame to more than all of it."""
    faces = [p for p in data.pictures if p.entry.source == "all_age_faces"]
    close = Cropping(about_faces=1, sized=1, faces=(0.55, 1.15), tilted=0)
    mixture = Mixture(kinds=(("picture", 1.0),), cropping=close)
    scenes = Scenes(replace(data, pictures=faces), SIDE, seed=7, mixture=mixture)
    yield from cases(scenes, "over half the frame", EACH)


def cases(scenes: Scenes, name: str, count: int) -> Iterator[Case]:
    for k in range(count):
        sample = scenes.sample(k)
        boxes = sample.boxes.astype(float)
        kinds = tuple(roll(points) for points in sample.landmarks) if name == "roll" else (
            (name,) * len(boxes)
        )  # fmt: skip
        yield Case(sample.image, boxes, sample.ignore, sample.ignore, "composed", kinds)


def roll(points: np.ndarray) -> str:
    angle = abs(math.degrees(math.atan2(*(points[1] - points[0])[::-1].tolist())))
    low = max((edge for edge in (0, *ROLLS[:-1]) if angle >= edge), default=0)
    return f"roll {low}-{ROLLS[[0, *ROLLS[:-1]].index(low)]}°"


def bucket(size: float) -> str:
    for low, high in BUCKETS:
        if low <= size < high:
            return f"{low}-{high} px"
    return f"under {BUCKETS[0][0]} px" if size < BUCKETS[0][0] else f"from {BUCKETS[-1][1]} px"
