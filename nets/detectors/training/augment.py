"""A training frame from an annotated picture: a random square of it, perhaps mirrored and tilted.

The square is 0.3 to 1.5 times as wide as the shorter side of the picture, as in the recipes of
RetinaFace and YuNet; most squares are laid around a face, and some are chosen so that this face
gets a certain size, since most faces of most pictures are small.

References: Deng et al., RetinaFace, CVPR 2020, section 4.1; Tang et al., PyramidBox, ECCV 2018,
section 3.3 (data-anchor-sampling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nets.detectors.training.data import Picture
from nets.detectors.training.faces import F32, Motion, settle
from nets.detectors.training.pixels import Rng
from nets.detectors.training.store import as_image
from nets.kernels.warp import warp_into

RGBX = NDArray[np.uint8]  # (H, W, 4)


@dataclass(frozen=True, slots=True)
class Cropping:
    """How squares are cut out of pictures.

    Attributes
    ----------
    scale : (float, float)
        Side of the square over the shorter side of the picture, log-uniform in between.
    about_faces : float
        Share of the squares that are laid around a face; the others are anywhere.
    sized : float
        Share of the former whose face gets a log-uniform size ``faces``, in shares of the frame.
    tilted, tilt : float
        Share of tilted squares, and the largest angle in degrees.
    magnify : float
        No picture is enlarged more than so many times.
    """

    scale: tuple[float, float] = (0.3, 1.5)
    about_faces: float = 0.85
    sized: float = 0.35
    faces: tuple[float, float] = (0.03, 0.7)
    tilted: float = 0.3
    tilt: float = 30.0
    magnify: float = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A square image, (size, size, 3) uint8, with its annotation as `Picture` has it."""

    image: NDArray[np.uint8]
    boxes: F32
    landmarks: F32
    ignore: F32


def crop_picture(
    picture: Picture, pixels: RGBX, size: int, rng: Rng, how: Cropping | None = None
) -> Frame:
    """Cut one frame of ``size`` pixels; ``pixels`` are the picture's."""
    how = how or Cropping()
    rows, cols = picture.size
    chance, place = rng.random(5), rng.random(2)
    side = min(rows, cols) * _between(how.scale, rng.random())
    centre = place * (cols, rows)
    angle = 0.0
    if chance[0] < how.tilted:
        angle = math.radians(how.tilt) * rng.uniform(-1, 1)
    about = len(picture.boxes) > 0 and chance[1] < how.about_faces
    if about:
        box = picture.boxes[int(chance[2] * len(picture.boxes))].astype(np.float64)
        if chance[3] < how.sized:
            face = math.sqrt(max(float((box[2:] - box[:2]).prod()), 1.0))
            side = face / _between(how.faces, rng.random())
    side = min(max(side, size / how.magnify), how.scale[1] * min(rows, cols))
    if about:
        centre = (box[:2] + box[2:]) / 2 + (place - 0.5) * side * 0.9
    # Of the square as much as possible lies in the picture, or the picture in the square.
    limits = np.sort([[side / 2] * 2, [cols - side / 2, rows - side / 2]], axis=0)
    centre = np.clip(centre, *limits)
    zoom = size / side
    motion = Motion(angle, zoom, centre, (size / 2, size / 2), bool(chance[4] < 0.5))
    return Frame(
        move(pixels, motion, size, rng),
        *settle(
            motion.boxes(picture.boxes),
            motion.points(picture.landmarks),
            motion.boxes(picture.ignore),
            size,
        ),
    )


def move(pixels: RGBX, motion: Motion, size: int, rng: Rng) -> NDArray[np.uint8]:
    """The square frame that a motion makes of a picture; outside it is of one colour."""
    frame = np.empty((size, size, 3), np.uint8)
    frame[0] = _outside(rng)
    frame[1:] = frame[0]  # a tenth of the time of setting each pixel
    draw(pixels, motion, frame)
    return frame


def draw(pixels: RGBX, motion: Motion, frame: NDArray[np.uint8]) -> None:
    """Draw pixels with their opacity into a frame; one that is shrunk is the mean of its area."""
    rows, cols, _ = pixels.shape
    corners = np.array([[0, 0], [cols, 0], [0, rows], [cols, rows]], np.float64)
    corners = corners @ motion.matrix.T + motion.shift
    low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)), (frame.shape[1], frame.shape[0])).astype(int)
    # Between 1 and 2 source pixels a pixel, bilinear reading alone is what cameras and players do.
    reduced = max(int(1 / motion.zoom), 1)
    if reduced > 1:
        pixels = np.asarray(as_image(pixels).reduce(reduced))
    back = motion.back() / reduced
    warp_into(np.ascontiguousarray(pixels).view(np.uint32)[..., 0], back, *low, *high, frame)


def _outside(rng: Rng) -> NDArray[np.int64]:
    """Colour beyond the border of a picture: black bars, gray, or anything."""
    kind = rng.random()
    if kind < 0.4:
        return np.zeros(3, np.int64)
    return np.full(3, 114) if kind < 0.6 else rng.integers(0, 256, 3)


def _between(limits: tuple[float, float], share: float) -> float:
    low, high = limits
    return low * math.exp(share * math.log(high / low))
