"""Where a crop lies in the picture that it was cut from, to carry its landmarks over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

F32 = NDArray[np.float32]


def locate(
    picture: Image.Image, box: F32, crop: Image.Image, landmarks: F32, scale: float
) -> F32 | None:
    """Landmarks of a crop in pixels of the picture that it was cut from, None if it is not there.

    The picture is shrunk to the scale of the crop, or, where it was reduced after the crop was
    cut, to the scales that the height of the box allows; the crop lies where they differ least.
    """
    inner = np.asarray(crop, np.float32)[16:80, 16:80]
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    guess = float(box[3] - box[1]) / (2.845 * float(np.hypot(*(mouth - eyes))))
    best: tuple[float, F32 | None] = (8.0, None)  # mean difference in gray levels
    for tried in (scale, *(guess * f for f in (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06))):
        size = (round(picture.width / tried), round(picture.height / tried))
        small = picture.convert("L").resize(size, Image.Resampling.BOX)
        start, error = _best_place(np.asarray(small, np.float32), inner, box / np.float32(tried))
        if error < best[0]:
            best = error, np.asarray((landmarks + start) * np.float32(tried), np.float32)
        if best[0] < 4:
            break
    return best[1]


def _best_place(gray: F32, crop: F32, box: F32, reach: int = 10) -> tuple[F32, float]:
    """Upper left corner of the whole crop of which ``crop`` is the inner part, and the error."""
    gray = np.pad(gray, 32, "edge")
    x, y = np.maximum(np.rint((box[:2] + box[2:]) / 2 - (32, 36)).astype(int) + 32 - reach, 0)
    area = gray[y : y + 64 + 2 * reach, x : x + 64 + 2 * reach]
    windows = np.lib.stride_tricks.sliding_window_view(area, (64, 64))[:, :, ::4, ::4]
    error = np.abs(windows - crop[::4, ::4]).mean((2, 3))
    dy, dx = np.unravel_index(int(error.argmin()), error.shape)
    return np.array([x + dx - 48, y + dy - 48], np.float32), float(error.min())
