"""A training frame from parts: faces, and patches that are none, set into a picture.

Both kinds go through the same steps (occlusion, light, outline, turn, blur), so that a seam, an
outline or an odd colour tells nothing about what is inside.

Reference: Dwibedi, Misra & Hebert, Cut, paste and learn, ICCV 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nets.detectors.training.augment import RGBX, Frame, draw, move
from nets.detectors.training.faces import F32, Motion, face_box, settle
from nets.detectors.training.occlude import occlude
from nets.detectors.training.pixels import Rng, blur, compress, relight, saturate

SIDE = 96  # pixels of a crop
# Where the points of an upright face are in a crop, for patches that have none.
USUAL = np.array([[35, 40.5], [61, 40.5], [48, 55.5], [37, 68], [59, 68]], np.float32)
TRIES = 6  # places that are tried for a part before it is left out
WHOLE = np.array([0, 0, SIDE, SIDE], np.float32)


@dataclass(frozen=True, slots=True)
class Composing:
    """What is set into a picture, and how.

    Attributes
    ----------
    faces, others : (int, int)
        Least and largest number of faces and of patches without a face.
    size : (float, float)
        Size of a face (root of the area of its box) over the side of the frame, log-uniform.
    smallest : float
        Pixels of the smallest face.
    alike : float
        Share of the frames whose faces are of about one size, as in groups of people.
    roll : float
        Largest angle of a face in degrees; half of the faces are upright within some degrees.
    occluded, blurred : float
        Shares of the parts; of these every kind of occlusion unless ``occlusion`` names one.
    """

    faces: tuple[int, int] = (1, 6)
    others: tuple[int, int] = (0, 4)
    size: tuple[float, float] = (0.03, 1.3)
    smallest: float = 8.0
    alike: float = 0.5
    roll: float = 30.0
    occluded: float = 0.3
    occlusion: str | None = None
    blurred: float = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A square crop to be set in; ``landmarks`` are None where it shows no face."""

    image: Image.Image
    landmarks: F32 | None
    valid: F32


def compose(
    base: Frame,
    face: Callable[[], Part],
    other: Callable[[], Part],
    rng: Rng,
    how: Composing | None = None,
) -> Frame:
    """Set faces and other patches into a frame; what is there already is not covered.

    ``face`` and ``other`` are asked for a part each time that one is needed.
    """
    how = how or Composing()
    image, size = base.image.copy(), len(base.image)
    gray = _is_gray(base.image)
    taken = [*base.boxes, *base.ignore]
    boxes, landmarks = [*base.boxes], [*base.landmarks]
    counts = [int(rng.integers(low, high + 1)) for low, high in (how.faces, how.others)]
    common = _size(how, size, rng)
    alike = rng.random() < how.alike
    wanted = []
    for make, count in zip((face, other), counts, strict=True):
        for _ in range(count):
            apart = math.exp(0.25 * rng.standard_normal())
            wanted.append((make is other, common * apart if alike else _size(how, size, rng), make))
    # Faces choose their places first, or large patches would leave many frames without one.
    for _, extent, make in sorted(wanted, key=lambda w: (w[0], -w[1])):
        part, extent = make(), max(extent, how.smallest)
        points = USUAL if part.landmarks is None else part.landmarks
        motion = _place(points, extent, size, taken, how, rng)
        if motion is None:
            continue
        finished = _finish(part, points, gray, rng, how, extent)
        finished.putalpha(_outline(part.valid, points, rng))
        draw(np.asarray(finished), motion, image)
        moved = motion.points(points[None])[0]
        taken.append(face_box(moved))
        if part.landmarks is not None:
            boxes.append(taken[-1])
            landmarks.append(moved)
    return Frame(
        image,
        *settle(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(landmarks, np.float32).reshape(-1, 5, 2),
            base.ignore,
            size,
        ),
    )


def patch(pixels: RGBX, rng: Rng, box: Sequence[float] | None = None) -> Part:
    """A part without a face, from a random square of a picture or from one about ``box``."""
    rows, cols, _ = pixels.shape
    if box is None:
        side = min(rows, cols) * float(rng.uniform(0.15, 0.9))
        centre = side / 2 + rng.random(2) * (cols - side, rows - side)
    else:
        side = float(max(box[2] - box[0], box[3] - box[1])) * 1.25
        centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    motion = Motion(0.0, SIDE / side, centre, (SIDE / 2, SIDE / 2))
    crop = Image.fromarray(move(pixels, motion, SIDE, rng))
    # Crops of faces end where their sources did; so do these.
    low = rng.uniform(0, 20, 2) * (rng.random(2) < 0.6)
    high = SIDE - rng.uniform(0, 14, 2) * (rng.random(2) < 0.6)
    return Part(crop, None, np.array([*low, *high], np.float32))


def head(rng: Rng) -> Part:
    """A part that looks like a head without a face: a blank of skin, hair or any colour."""
    skin = np.array([210, 165, 140]) * rng.uniform(0.25, 1.15) + rng.normal(0, 10, 3)
    ramp = np.linspace(rng.uniform(0.6, 1), rng.uniform(0.6, 1), SIDE)
    plane = skin * ramp[:, None, None] * ramp[None, ::-1, None] + rng.normal(0, 4, (SIDE, SIDE, 1))
    image = Image.fromarray(np.clip(plane, 0, 255).astype(np.uint8))
    return Part(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 2)))), None, WHOLE)


def _size(how: Composing, size: int, rng: Rng) -> float:
    """Fewer of the very large ones: they take all the room."""
    low, high = how.size
    share = rng.random() ** 1.3
    return size * low * math.exp(share * math.log(high / low))


def _place(
    points: F32, extent: float, size: int, taken: list[F32], how: Composing, rng: Rng
) -> Motion | None:
    """A motion that brings a part to a free place of the frame."""
    box = face_box(points).astype(np.float64)
    own = math.atan2(*(points[1] - points[0])[::-1].tolist())
    mirror = bool(rng.random() < 0.5)
    roll = rng.uniform(-1, 1) * how.roll if rng.random() < 0.5 else rng.normal(0, how.roll / 5)
    angle = math.radians(min(max(roll, -how.roll), how.roll)) + (own if mirror else -own)
    zoom = extent / math.sqrt(float((box[2:] - box[:2]).prod()))
    middle = (box[:2] + box[2:]) / 2
    for _ in range(TRIES):
        # Large faces near the middle, small ones anywhere, some of them cut by the border.
        slack = max(size - 0.6 * extent, 0.25 * size)
        target = size / 2 + (rng.random(2) - 0.5) * slack
        half = (box[2:] - box[:2]) / 2 * zoom
        there = np.concatenate([target - half, target + half])
        if not taken or _covered(there, np.array(taken)) < 0.15:
            return Motion(angle, zoom, middle, target, mirror)
    return None


def _covered(box: NDArray[np.float64], others: F32) -> float:
    """Largest share of the smaller one of two boxes that overlap."""
    side = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(side, 0).prod(1)
    areas = np.minimum((others[:, 2:] - others[:, :2]).prod(1), (box[2:] - box[:2]).prod())
    return float((both / np.maximum(areas, 1e-6)).max())


def _finish(
    part: Part, points: F32, gray: bool, rng: Rng, how: Composing, extent: float
) -> Image.Image:
    """The part as it is set in: occluded, lit, blurred, compressed."""
    image, chance = part.image, rng.random(6)
    if chance[0] < how.occluded * (1.0 if part.landmarks is not None else 0.5):
        image = occlude(image, points, rng, how.occlusion)
    if gray and chance[1] < 0.9:
        image = saturate(image, 0.0)
    image = relight(image, rng, 0.7)
    if chance[2] < 0.3:
        image = Image.composite(image, image.point(_darker(float(chance[3]))), _side_light(rng))
    if chance[4] < how.blurred:  # pixels of the crop that one pixel of the frame shows
        image = blur(image, rng, min(max(SIDE / max(extent * 1.4, 1), 0.5) * 1.3, 6))
    if chance[5] < 0.12:
        image = compress(image, int(rng.integers(30, 80)))
    return image


def _outline(valid: F32, points: F32, rng: Rng) -> Image.Image:
    """Opacity of a part: what is valid of the whole crop, of an oval or of a rounded square."""
    soft = float(rng.uniform(1, 8))
    x = np.arange(SIDE) + 0.5
    low, high = valid[:2], valid[2:]
    ramps = [
        np.clip((x - low[k]) / soft, 0, 1) * np.clip((high[k] - x) / soft, 0, 1) for k in (0, 1)
    ]
    alpha = ramps[1][:, None] * ramps[0]
    kind = rng.random()
    if kind < 0.75:
        box = face_box(points)
        middle = (box[:2] + box[2:]) / 2
        half = (box[2:] - box[:2]) / 2 * rng.uniform(1.0, 1.4, 2)
        power = 2 if kind < 0.5 else 4
        ring = np.abs((x - middle[0]) / half[0]) ** power
        ring = (ring + np.abs((x - middle[1]) / half[1])[:, None] ** power) ** (1 / power)
        alpha = alpha * np.clip((1 - ring) * half.mean() / soft, 0, 1)
    return Image.fromarray(np.rint(alpha * 255).astype(np.uint8))


def _is_gray(image: NDArray[np.uint8]) -> bool:
    return bool(np.ptp(image[::16, ::16].astype(np.int16), axis=2).mean() < 6)


def _darker(share: float) -> list[int]:
    return [int(v * (0.25 + 0.5 * share)) for v in range(256)] * 3


@cache
def _ramps() -> list[Image.Image]:
    """Light from eight sides."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    turns = np.arange(8) * np.pi / 4
    planes = [np.clip(0.6 + 0.7 * (x * np.cos(t) + y * np.sin(t)), 0, 1) * 255 for t in turns]
    return [Image.fromarray(plane.astype(np.uint8)) for plane in planes]


def _side_light(rng: Rng) -> Image.Image:
    return _ramps()[rng.integers(8)]
