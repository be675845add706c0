"""Things in front of faces, as flat shapes: masks, glasses, hands, hats, bars.

All are placed by the five landmarks and drawn into the crop. Landmarks stay where they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nets.detectors.training.pixels import Rng

F32 = NDArray[np.float32]
MASKS = ((235, 238, 240), (150, 190, 215), (95, 150, 190), (30, 30, 34), (200, 205, 205))


def occlude(image: Image.Image, landmarks: F32, rng: Rng, kind: str | None = None) -> Image.Image:
    """A copy with one thing of `KINDS` in front of the face, a random one by default."""
    image = image.copy()
    pen = ImageDraw.Draw(image)
    name = kind or str(rng.choice(list(KINDS), p=list(CHANCES)))
    KINDS[name](pen, _Frame(landmarks, image), rng)
    return image


class _Frame:
    """Points of a face by its own axes: (0, 0) between the eyes, (0, 1) between the mouth corners.

    ``at(1, 0)`` lies one distance of eyes and mouth to the right of the eyes, about at the ear.
    """

    def __init__(self, landmarks: F32, image: Image.Image) -> None:
        self.image, self.landmarks = image, landmarks
        self.origin = landmarks[:2].mean(0)
        self.down = landmarks[3:].mean(0) - self.origin
        self.right = np.array([self.down[1], -self.down[0]])
        self.unit = float(np.hypot(*self.down))

    def at(self, x: float, y: float) -> tuple[float, float]:
        point = self.origin + x * self.right + y * self.down
        return float(point[0]), float(point[1])

    def shape(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        return [self.at(*point) for point in points]

    def skin(self, rng: Rng) -> tuple[int, ...]:
        """Colour of the cheeks, a little changed."""
        x, y = np.clip(self.at(0.45, 0.5), 0, np.array(self.image.size) - 1).astype(int).tolist()
        seen = np.array(self.image.getpixel((x, y)), float)
        return _rgb(seen * rng.uniform(0.75, 1.15) + rng.normal(0, 6, 3))


def _rgb(values: NDArray[np.floating]) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(values, 0, 255))


def _any(rng: Rng) -> tuple[int, ...]:
    """Any colour, half of them gray."""
    level = np.full(3, rng.integers(0, 256), float)
    return _rgb(level if rng.random() < 0.5 else level + rng.normal(0, 50, 3))


def _mask(pen: ImageDraw.ImageDraw, face: _Frame, rng: Rng) -> None:
    usual = rng.random() < 0.75
    base = np.array(MASKS[rng.integers(len(MASKS))], float) if usual else np.array(_any(rng), float)
    colour = _rgb(base + rng.normal(0, 8, 3))
    top, low = rng.uniform(0.3, 0.62), rng.uniform(1.5, 1.8)
    wide, chin = rng.uniform(0.75, 0.98), rng.uniform(0.4, 0.6)
    outline = face.shape(
        (-wide, top + 0.14), (0, top - 0.08), (wide, top + 0.14),
        (wide * 0.92, 1.1), (chin, low), (-chin, low), (-wide * 0.92, 1.1),
    )  # fmt: skip
    pen.polygon(outline, fill=colour)
    shade = _rgb(base * rng.uniform(0.7, 0.92))
    for fold in np.linspace(top + 0.3, low - 0.25, int(rng.integers(0, 4))):
        pen.line(face.shape((-wide * 0.8, fold), (wide * 0.8, fold)), fill=shade, width=1)
    if rng.random() < 0.7:  # loops around the ears
        for side in (-1, 1):
            loop = face.shape((side * wide, top + 0.14), (side * 1.05, 0.1))
            pen.line(loop, fill=shade, width=1)


def _glasses(pen: ImageDraw.ImageDraw, face: _Frame, rng: Rng) -> None:
    colour = _rgb(np.full(3, rng.integers(0, 90), float) + rng.normal(0, 12, 3))
    radius = face.unit * rng.uniform(0.26, 0.42)
    dark = rng.random() < 0.6
    for x, y in face.landmarks[:2].tolist():
        lens = (x - radius, y - radius * 0.8, x + radius, y + radius * 0.9)
        if rng.random() < 0.5:
            pen.ellipse(lens, fill=colour if dark else None, outline=colour, width=2)
        else:
            pen.rounded_rectangle(lens, radius / 3, colour if dark else None, colour, 2)
    (ax, ay), (bx, by) = face.landmarks[:2].tolist()
    pen.line((ax + radius, ay, bx - radius, by), fill=colour, width=2)
    for end, side in ((ax - radius, -1), (bx + radius, 1)):
        pen.line([(end, ay if side < 0 else by), face.at(side * 1.0, -0.05)], fill=colour, width=2)


def _hand(pen: ImageDraw.ImageDraw, face: _Frame, rng: Rng) -> None:
    colour = face.skin(rng)
    side = rng.choice([-1.0, 1.0])
    x, y = side * rng.uniform(0.35, 0.9), rng.uniform(0.7, 1.5)
    width = face.unit * rng.uniform(0.18, 0.26)
    tilt = rng.uniform(-0.5, 0.5) - side * 0.3
    for finger in range(int(rng.integers(2, 5))):
        start = (x + finger * 0.24 * -side, y + 0.1 * finger)
        end = (start[0] + tilt, start[1] - rng.uniform(0.5, 0.9))
        shade = _rgb(np.array(colour) * (1 - 0.05 * finger))
        pen.line(face.shape(start, end), fill=shade, width=max(int(width), 1))
        cx, cy = face.at(*end)
        pen.ellipse((cx - width / 2, cy - width / 2, cx + width / 2, cy + width / 2), fill=shade)
    palm = face.shape((x + 0.25, y - 0.15), (x - 0.65, y - 0.15), (x - 0.5, y + 1.1), (x, y + 1.1))
    pen.polygon(palm, fill=colour)


def _hat(pen: ImageDraw.ImageDraw, face: _Frame, rng: Rng) -> None:
    brim, wide = rng.uniform(-0.75, -0.3), rng.uniform(0.9, 1.2)
    colour = _any(rng)
    pen.polygon(face.shape((-wide, brim), (wide, brim), (wide, -2.5), (-wide, -2.5)), fill=colour)
    if rng.random() < 0.4:  # a hood or long hair at the sides too
        for side in (-1, 1):
            inner = side * rng.uniform(0.7, 0.95)
            pen.polygon(
                face.shape((inner, brim), (side * 2.5, brim), (side * 2.5, 2.5), (inner, 2.0)),
                fill=colour,
            )


def _bar(pen: ImageDraw.ImageDraw, face: _Frame, rng: Rng) -> None:
    x, y = rng.uniform(-1.0, 1.0), rng.uniform(-0.8, 1.6)
    reach, thick = rng.uniform(0.4, 2.5), face.unit * rng.uniform(0.12, 0.45)
    angle = rng.uniform(0, np.pi)
    end = (x + reach * np.cos(angle), y + reach * np.sin(angle))
    pen.line(face.shape((x, y), end), fill=_any(rng), width=max(int(thick), 1))


KINDS = {"mask": _mask, "glasses": _glasses, "hand": _hand, "hat": _hat, "bar": _bar}
CHANCES = (0.4, 0.2, 0.15, 0.1, 0.15)
