"""Pictures to judge detectors on: boxes_dev, and frames composed of faces nobody trained on."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from nets.detectors.training.augment import Cropping
from nets.detectors.training.compose import Composing
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.scenes import Mixture, Scenes

SIDE = 320  # of composed frames
BUCKETS = ((10, 20), (20, 40), (40, 80), (80, 160), (160, 300))
ROLLS = (10, 20, 30, 45)
EACH = 40  # frames of each composed set


@dataclass(frozen=True, eq=False)
class Case:
    """A picture; ``kind`` names the set of each face, boxes in xyxy."""

    image: np.ndarray
    boxes: np.ndarray
    ignore: np.ndarray
    strict: np.ndarray  # what is ignored when machine-made regions do not count
    source: str
    kinds: tuple[str, ...]


def shrunk(image: Image.Image, side: int) -> tuple[Image.Image, float]:
    """The picture with a longer side of at most ``side`` pixels; 0 leaves it as it is."""
    factor = min(1.0, side / max(image.size)) if side else 1.0
    if factor == 1:
        return image, 1.0
    size = tuple(max(1, round(n * factor)) for n in image.size)
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), factor


def development(folder: Path, side: int) -> Iterator[Case]:
    """The pictures of boxes_dev, shrunk."""
    items = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    with zipfile.ZipFile(folder / "images.zip") as archive:
        for item in items:
            image = Image.open(io.BytesIO(archive.read(item["file"]))).convert("RGB")
            image, factor = shrunk(image, side)
            boxes, ignore, auto = (
                xyxy(item.get(key, [])) * factor for key in ("boxes", "ignore", "ignore_auto")
            )
            sizes = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
            yield Case(
                np.asarray(image),
                boxes,
                np.concatenate([ignore, auto]),
                ignore,
                item["source"],
                tuple(map(bucket, sizes)),
            )


def composed(folder: Path) -> Iterator[Case]:
    """Frames by size, by roll and with masks, from the crops and backgrounds held out."""
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
    """Photographs of one person, cut so that the face takes half of the frame or more than all."""
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


def xyxy(rows) -> np.ndarray:
    boxes = np.array(rows, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
