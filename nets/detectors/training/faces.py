"""The box of a face from its landmarks, and boxes and points that are moved, turned, cut."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
SMALLEST = 6.0  # faces of fewer pixels are not learned
VISIBLE = 0.45  # nor are faces of which a smaller share is within the frame
POINTS = 2  # nor those with fewer of their landmarks in it, where these are known
MIRROR = (1, 0, 2, 4, 3)  # order of the landmarks in a mirrored picture

# Height, width and centre of a box, in distances between eyes and mouth: medians of the labels of
# boxes_train (portraits) and boxes_more (frontal faces), which differ by 4 % and lie on both sides.
HEIGHT, WIDTH, BELOW_EYES = 2.79, 2.16, 0.33
ASIDE = 0.5  # of what the nose is off the middle of the eyes


def face_box(landmarks: F32) -> F32:
    """Box of one face, forehead to chin, from its five points.

    The face is an ellipse about its axis; where that is tilted the box grows to contain it. The
    nose of a face that is turned away is off its centre, the head is on the other side.
    """
    (ax, ay), (bx, by), (nx, ny), (cx, cy), (dx, dy) = landmarks.tolist()
    ex, ey = (ax + bx) / 2, (ay + by) / 2
    x, y = (cx + dx) / 2 - ex, (cy + dy) / 2 - ey
    size = max(math.hypot(x, y), 1e-6)
    x, y = x / size, y / size  # down the face; (y, -x) is to its right
    between = max(math.hypot(bx - ax, by - ay), 1e-6)
    turned = ((nx - ex) * y - (ny - ey) * x) / between
    aside = ASIDE * min(max(-turned, -0.4), 0.4) * between
    mx, my = ex + x * BELOW_EYES * size + y * aside, ey + y * BELOW_EYES * size - x * aside
    wide, high = WIDTH * size / 2, HEIGHT * size / 2
    half_x, half_y = math.hypot(wide * y, high * x), math.hypot(wide * x, high * y)
    return np.array([mx - half_x, my - half_y, mx + half_x, my + half_y], np.float32)


def turned_half(half: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Half sizes (n, 2) of the boxes about ellipses that are turned by ``angle`` radians."""
    cos, sin = math.cos(angle) ** 2, math.sin(angle) ** 2
    turned: NDArray[np.float64] = np.sqrt(half**2 @ np.array([[cos, sin], [sin, cos]]))
    return turned


class Motion:
    """A turn, a zoom and a shift, mirrored or not: ``out = matrix @ point + shift``.

    Parameters
    ----------
    angle : float
        Radians, clockwise as seen in the picture.
    zoom : float
        Pixels of the result for one of the source.
    source, target : (x, y)
        The point ``source`` goes to ``target``.
    mirror : bool
        Left and right change places first.
    """

    def __init__(
        self,
        angle: float,
        zoom: float,
        source: tuple[float, float] | NDArray[np.floating],
        target: tuple[float, float] | NDArray[np.floating],
        mirror: bool = False,
    ) -> None:
        cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
        self.matrix = np.array([[cos, -sin], [sin, cos]])
        if mirror:
            self.matrix[:, 0] *= -1
        self.shift = np.asarray(target, np.float64) - self.matrix @ np.asarray(source, np.float64)
        self.angle, self.zoom, self.mirror = angle, zoom, mirror

    def points(self, points: F32) -> F32:
        """Landmarks (n, 5, 2), in the order that a mirrored face needs."""
        moved: F32 = (points @ self.matrix.T + self.shift).astype(np.float32)
        return moved[:, MIRROR] if self.mirror else moved

    def boxes(self, boxes: F32) -> F32:
        """Boxes (n, 4) about the ellipses in the given ones."""
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ self.matrix.T + self.shift
        half = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64) / 2 * self.zoom
        half = turned_half(half, self.angle)
        return np.concatenate([centre - half, centre + half], 1).astype(np.float32)

    def back(self) -> NDArray[np.float64]:
        """Six numbers that turn a point (x, y) of the result into (b0 x + b1 y + b2, ...)."""
        inverse = np.linalg.inv(self.matrix)
        numbers: NDArray[np.float64] = np.c_[inverse, -inverse @ self.shift].ravel()
        return numbers


def settle(boxes: F32, landmarks: F32, ignore: F32, size: int) -> tuple[F32, F32, F32]:
    """Cut annotations to a square frame; faces too small or hardly in it are ignored."""
    inside = np.clip(boxes, 0, size).astype(np.float32)
    extent = (inside[:, 2:] - inside[:, :2]).astype(np.float64)
    whole = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    there = extent.min(1, initial=np.inf) > 0
    # A face larger than the frame fills it: what counts then is the share of the frame.
    share = extent.prod(1) / np.maximum(np.minimum(whole, size).prod(1), 1e-6)
    with np.errstate(invalid="ignore"):  # NaN, for an unknown point, counts as outside
        seen = ((landmarks >= 0) & (landmarks < size)).all(2).sum(1) >= POINTS
    seen |= np.isnan(landmarks).any((1, 2))
    good = there & seen & (extent.min(1, initial=np.inf) >= SMALLEST) & (share >= VISIBLE)
    rest = np.concatenate([np.clip(ignore, 0, size), inside[there & ~good]]).astype(np.float32)
    rest = rest[(rest[:, 2:] - rest[:, :2]).min(1, initial=np.inf) > 0.5]
    return inside[good], landmarks[good].astype(np.float32), rest
