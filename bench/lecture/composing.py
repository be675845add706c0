"""Pictures with faces composed into them, and their masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def compose(
    size: int, crops: Pixels, grounds: Pixels, rng: np.random.Generator
) -> tuple[Pixels, NDArray[np.int64]]:
    """One picture and its mask: crops (N, 96, 96, 3) of faces composed into a background."""
    start = Image.fromarray(grounds[rng.integers(len(grounds))])
    picture = np.asarray(start.resize((size, size), Image.Resampling.BILINEAR), np.float32)
    mask = np.zeros((size, size), np.int64)
    pieces = [False] * rng.integers(0, 3) + [True] * rng.choice(3, p=[0.1, 0.65, 0.25])
    for is_face in pieces:
        source = crops if is_face else grounds
        whole = rng.uniform(0.45, 1.15)  # side of the crop of 96, in sides of the picture
        k = max(8, round(whole * size))
        piece = Image.fromarray(source[rng.integers(len(source))])
        pixels = np.asarray(piece.resize((k, k), Image.Resampling.BILINEAR), np.float32)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        pixels = np.clip(pixels * rng.uniform(0.75, 1.25) + rng.uniform(-20, 20), 0, 255)
        alpha = _ellipse(k, rng)
        # The middle of the piece falls into the picture.
        y, x = (int(v) for v in rng.integers(0, size, 2) - k // 2)
        to = np.s_[max(y, 0) : min(y + k, size), max(x, 0) : min(x + k, size)]
        of = np.s_[max(-y, 0) : min(k, size - y), max(-x, 0) : min(k, size - x)]
        picture = picture.copy()
        picture[to] += alpha[of][..., None] * (pixels[of] - picture[to])
        mask[to] = np.where(alpha[of] >= 0.5, int(is_face), mask[to])
    return np.round(picture).astype(np.uint8), mask


def _ellipse(k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Opacity of a face crop scaled to k x k: 1 within the face, soft at its edge."""
    y, x = (np.mgrid[:k, :k] + 0.5) * (96 / k)
    across, along = rng.uniform(24, 27), rng.uniform(31, 35)
    away = np.hypot((x - 48) / across, (y - 51) / along)
    soft = rng.uniform(0.08, 0.25)
    return np.clip((1 - away) / soft + 0.5, 0, 1).astype(np.float32)
