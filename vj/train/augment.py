"""Variants of one object: turned, moved, lit, blurred. Seeded: variant k is always the same."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError
from vj.io.images import Pixels

_UNIT = ("flip", "point_sampled", "blur", "jpeg", "occlusion")


@dataclass(frozen=True, slots=True)
class Augment:
    """How far variants of an object differ from it.

    Attributes
    ----------
    flip : float
        Share of mirrored variants; 0 for objects whose mirror image never occurs (text).
    shift, scale : float
        Standard deviations, in parts of the window and of the natural logarithm of its size.
    rotation : float
        Standard deviation in degrees.
    unroll : float
        Share of the known roll of an object that is taken back.
    contrast, gamma, noise : float
        Standard deviations: of the logarithms of contrast and gamma, and in gray levels.
    blur, jpeg, occlusion : float
        Shares of variants that are blurred, compressed, or partly covered by a bar.
    point_sampled : float
        Share of variants shrunk by bilinear point sampling, as a detector's pyramid does it, and
        not by area averages.
    """

    flip: float = 0.5
    shift: float = 0.025
    scale: float = 0.04
    rotation: float = 3.0
    unroll: float = 0.6
    contrast: float = 0.15
    gamma: float = 0.12
    noise: float = 1.5
    blur: float = 0.15
    jpeg: float = 0.1
    occlusion: float = 0.0
    point_sampled: float = 0.5

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            top = 1 if item.name in _UNIT else math.inf
            if not 0 <= value <= top:
                limit = "0 to 1" if top == 1 else "at least 0"
                raise ParameterError(f"`{item.name}` must be {limit}, got {value}")

    def reach(self) -> float:
        """Side of the region that variants may need, in sides of the window."""
        turn = math.sin(math.radians(min(3 * self.rotation + 12, 45)))
        return (1 + turn) * math.exp(3 * self.scale) + 6 * self.shift


PLAIN = Augment(0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
"""No change at all, but the roll taken back."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An object with some of its surroundings.

    ``centre`` and ``size`` are x, y and width, height of the window in pixels of the crop, ``roll``
    is degrees clockwise, ``group`` names what the crop shows (copies of it share the name),
    ``where`` its annotation, ``picture`` the file it is from.
    """

    pixels: Pixels
    centre: tuple[float, float]
    size: tuple[float, float]
    roll: float
    group: str
    where: str
    picture: str = ""


def variant(
    crop: Crop, window: tuple[int, int], augment: Augment, rng: np.random.Generator
) -> Pixels:
    """One (rows, cols) variant of the object.

    Every random number is drawn whatever the settings, so that changing one of them changes
    nothing else.
    """
    chance, normal = rng.random(8), rng.standard_normal(8)
    mirror = -1.0 if chance[0] < augment.flip else 1.0
    zoom = math.exp(augment.scale * normal[0])
    angle = math.radians(augment.unroll * crop.roll + augment.rotation * normal[1])
    width, height = crop.size[0] * zoom, crop.size[1] * zoom
    x = crop.centre[0] + augment.shift * crop.size[0] * normal[2]
    y = crop.centre[1] + augment.shift * crop.size[1] * normal[3]
    cos, sin = math.cos(angle), math.sin(angle)
    along = (mirror * cos * width, mirror * sin * width)  # the window's upper edge in the crop
    down = (-sin * height, cos * height)
    point = chance[1] < augment.point_sampled
    patch = _sample(crop.pixels, window, (x, y), along, down, point)
    return _light(patch, augment, chance, normal, rng)


def _sample(
    pixels: Pixels,
    window: tuple[int, int],
    centre: tuple[float, float],
    along: tuple[float, float],
    down: tuple[float, float],
    point: bool,
) -> Pixels:
    """Window spanned by the vectors ``along`` and ``down`` about ``centre``."""
    from PIL import Image

    rows, cols = window
    shrink = math.hypot(*along) / cols
    fine = 1 if point else min(max(math.ceil(shrink), 1), 6)
    # Output pixel (u, v) comes from start + u * step_u + v * step_v.
    step_u = (along[0] / (cols * fine), along[1] / (cols * fine))
    step_v = (down[0] / (rows * fine), down[1] / (rows * fine))
    start = (centre[0] - (along[0] + down[0]) / 2, centre[1] - (along[1] + down[1]) / 2)
    matrix = (step_u[0], step_v[0], start[0], step_u[1], step_v[1], start[1])
    picture = Image.fromarray(pixels).transform(
        (cols * fine, rows * fine),
        Image.Transform.AFFINE,
        matrix,
        Image.Resampling.BILINEAR,
    )
    return np.asarray(picture if fine == 1 else picture.reduce(fine))


def _light(
    patch: Pixels,
    augment: Augment,
    chance: NDArray[np.float64],
    normal: NDArray[np.float64],
    rng: np.random.Generator,
) -> Pixels:
    """Occlusion, gamma, contrast, blur, noise and compression, in the order of a camera."""
    from PIL import Image, ImageFilter

    value = patch.astype(np.float64)
    rows, cols = patch.shape
    if chance[2] < augment.occlusion:
        height, width = (int(side * rng.uniform(0.15, 0.4)) + 1 for side in (rows, cols))
        top, left = rng.integers(rows - height + 1), rng.integers(cols - width + 1)
        value[top : top + height, left : left + width] = rng.uniform(0, 255)
    if augment.gamma:
        value = 255 * (value / 255) ** math.exp(augment.gamma * normal[4])
    if augment.contrast:
        mean = value.mean()
        value = mean + (value - mean) * math.exp(augment.contrast * normal[5])
        value += 40 * augment.contrast * normal[6]
    if chance[3] < augment.blur:
        soft = Image.fromarray(np.clip(value, 0, 255).astype(np.uint8))
        value = np.asarray(
            soft.filter(ImageFilter.GaussianBlur(float(0.3 + 0.6 * chance[4]))), np.float64
        )
    if augment.noise:
        value = value + rng.normal(0, augment.noise * chance[5], value.shape)
    out = np.clip(np.rint(value), 0, 255).astype(np.uint8)
    if chance[6] < augment.jpeg:
        buffer = io.BytesIO()
        Image.fromarray(out).save(buffer, "JPEG", quality=int(40 + 50 * chance[7]))
        out = np.asarray(Image.open(buffer))
    return np.ascontiguousarray(out)
